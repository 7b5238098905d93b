"""Owns deliberate faults in the product, each of which the simulation has to find.

One that it does not find would be a fault that it does not see: then the simulation is too weak.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from chatcore.adapters.memory.stores import MemoryLedgers, MemoryRuns
from chatcore.domain import admission, lease
from chatcore.domain import ledger as accounts
from chatcore.domain.admission import Admission
from chatcore.domain.chat import answer_of
from chatcore.domain.ledger import Ledger
from chatcore.domain.run import ACTIVE, Ending, Run, ended
from chatcore.domain.slots import Slots
from chatcore.domain.stream import Checkpoint, Place
from chatcore.domain.tiers import Tier
from chatcore.domain.waiting import Reason, Wait
from chatcore.ports import Claim, Over
from chatcore.protocol.queue import Attach, job_for
from chatcore.protocol.websocket import Event, started_for
from chatcore.services import attach, cancel, claim, dispatch, purge, submit
from chatcore.services.offer import offer
from gpu_service.worker import worker
from gpu_service.worker.answer import Maker
from gpu_service.worker.broadcast import Broadcast
from gpu_service.worker.delivery import Delivery
from gpu_service.worker.live import LiveRun, Stop
from gpu_service.worker.placing import Placing
from gpu_service.worker.pull import Puller
from gpu_service.worker.worker import Worker
from tests.simulation.threads import pause

Change = tuple[Any, str, Any]
"""Where, the name there, and what stands under it instead."""


@dataclass(frozen=True, slots=True)
class Mutation:
    name: str
    changes: Callable[[], Iterable[Change]]

    @contextlib.contextmanager
    def switched_on(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for where, name, instead in self.changes():
                stack.enter_context(mock.patch.object(where, name, instead))
            yield


BY_NAME: dict[str, Mutation] = {}


def mutation(changes: Callable[[], Iterable[Change]]) -> Callable[[], Iterable[Change]]:
    BY_NAME[changes.__name__] = Mutation(changes.__name__, changes)
    return changes


# ── fencing ──


@mutation
def an_end_asks_for_no_epoch() -> Iterable[Change]:
    """A worker that lost its lease may still end the run."""
    end = MemoryRuns.end

    def unfenced(self: MemoryRuns, run: Run, ending: Ending) -> bool:
        stored = self.database.runs.get(run.run_id)
        return end(self, run if stored is None else replace(run, epoch=stored.epoch), ending)

    return [(MemoryRuns, "end", unfenced)]


@mutation
def a_claim_asks_for_no_lease() -> Iterable[Change]:
    def always(now_ms: int, lease_until_ms: int) -> bool:
        return True

    def unconditional(
        self: MemoryRuns, run_id: str, worker_id: str, inbox: str, now_ms: int
    ) -> Claim:
        run = self.database.runs.get(run_id)
        if run is None or run.status not in ACTIVE:
            return Over()
        with mock.patch.object(lease, "may_take_over", always):
            return claim_with(self, run_id, worker_id, inbox, now_ms)

    claim_with = MemoryRuns.claim
    return [(MemoryRuns, "claim", unconditional)]


@mutation
def a_zombie_may_speak() -> Iterable[Change]:
    return [(LiveRun, "may_speak", lambda self: True)]


@mutation
def clocks_are_trusted() -> Iterable[Change]:
    return [(lease, "SKEW_MARGIN_MS", 0)]


@mutation
def clocks_are_trusted_to_three_seconds() -> Iterable[Change]:
    """Six seconds between two of them: too little for what the simulation's clocks are off."""
    return [(lease, "SKEW_MARGIN_MS", 3_000)]


@mutation
def a_late_renewal_makes_a_lease_shorter() -> Iterable[Change]:
    def renew(
        self: MemoryRuns, run_id: str, epoch: int, lease_until_ms: int, charged: int
    ) -> Run | None:
        run = self._running(run_id, epoch)
        renewed = run and replace(run, lease_until_ms=lease_until_ms, charged=charged)
        return renewed and self._store(renewed)

    return [(MemoryRuns, "renew", renew)]


# ── checkpoints and rewinds ──


@mutation
def late_checkpoints_are_believed() -> Iterable[Change]:
    """Pieces of all epochs are read as if they were one's."""

    def joined(checkpoints: Iterable[Checkpoint]) -> str:
        text = ""
        for piece in sorted(checkpoints, key=lambda piece: (piece.offset, piece.epoch)):
            if piece.offset <= len(text):
                text = text[: piece.offset] + piece.text
        return text

    return [(module, "durable_text", joined) for module in (attach, cancel, claim)]


@mutation
def what_was_taken_over_is_not_written() -> Iterable[Change]:
    return [(claim, "taken_over", lambda run_id, epoch, text: [])]


@mutation
def viewers_keep_what_they_were_shown() -> Iterable[Change]:
    """Resumed from what was shown instead of from what is durable."""

    def shown(place: Place, epoch: int, base: int, length: int) -> tuple[int, bool]:
        return min(place.offset, length), place.offset > length

    return [(module, "resume_at", shown) for module in (attach, worker)]


@mutation
def every_epoch_begins_anew() -> Iterable[Change]:
    """What is durable is not gone on from."""
    return [(claim, "durable_text", lambda checkpoints: "")]


# ── ends, bills and slots ──


@mutation
def the_bill_is_settled_after_the_end() -> Iterable[Change]:
    """Not in the transaction that ends the run: the process may die in between."""

    def end(self: MemoryRuns, run: Run, ending: Ending) -> bool:
        stored = self.database.runs.get(run.run_id)
        if stored is None or (stored.epoch, stored.status) != (run.epoch, run.status):
            return False
        self.database.runs[run.run_id] = ended(stored, ending)
        answer = answer_of(run, ending)
        if answer is not None:
            self.database.messages[answer.chat_id, answer.seq] = answer
        chat = self.database.chats[run.user_id, run.chat_id]
        self.database.chats[run.user_id, run.chat_id] = replace(
            chat, active_run_id=None, usage=chat.usage + ending.usage
        )
        self._count(run, ending)
        pause(0.05)
        settled = accounts.settle(
            self.database.ledgers.get(run.user_id, Ledger(run.user_id)),
            run.run_id,
            accounts.cost_tokens(ending.usage),
            run.weight,
        )
        if settled is not None:
            self.database.ledgers[run.user_id] = settled
        return True

    return [(MemoryRuns, "end", end)]


@mutation
def use_is_counted_beside_the_end() -> Iterable[Change]:
    """By whoever asks for the end, also where the run has been ended before."""
    end = MemoryRuns.end

    def counted(self: MemoryRuns, run: Run, ending: Ending) -> bool:
        happened = end(self, run, ending)
        if not happened:
            self._count(run, ending)
        return happened

    return [(MemoryRuns, "end", counted)]


@mutation
def a_hand_back_frees_the_reservation() -> Iterable[Change]:
    hand_back = MemoryRuns.hand_back

    def freeing(self: MemoryRuns, run_id: str, *args: Any) -> bool:
        if not hand_back(self, run_id, *args):
            return False
        run = self.database.runs[run_id]
        freed = accounts.settle(self.database.ledgers[run.user_id], run_id, 0, run.weight)
        if freed is not None:
            self.database.ledgers[run.user_id] = freed
        return True

    return [(MemoryRuns, "hand_back", freeing)]


@mutation
def former_epochs_are_not_billed() -> Iterable[Change]:
    return [(LiveRun, "total", lambda self: self.usage)]


@mutation
def the_end_is_told_before_it_is_stored() -> Iterable[Change]:
    settle = Maker._settle

    async def told(self: Maker, delivery: Delivery, live: LiveRun, ending: Ending) -> None:
        live.ended = ended(live.run, ending)
        live.changed()
        await asyncio.sleep(0)
        await settle(self, delivery, live, ending)

    return [(Maker, "_settle", told)]


@mutation
def a_job_is_acknowledged_before_its_end() -> Iterable[Change]:
    answer = Maker._answer

    async def hasty(self: Maker, delivery: Delivery, *args: Any) -> None:
        await delivery.acknowledge()
        await answer(self, delivery, *args)

    return [(Maker, "_answer", hasty)]


@mutation
def a_slot_leaks() -> Iterable[Change]:
    """A run that was turned down, or met a fault, keeps its slot."""
    release = Puller.released

    def leaking(self: Puller, tier: Tier) -> None:
        if len(self.answers) < 2:
            release(self, tier)

    return [(Puller, "released", leaking)]


@mutation
def a_slot_is_freed_twice() -> Iterable[Change]:
    release = Puller.released

    def generous(self: Puller, tier: Tier) -> None:
        release(self, tier)
        release(self, tier)

    return [(Puller, "released", generous)]


# ── cancels ──


@mutation
def a_cancel_only_hides() -> Iterable[Change]:
    """The engine goes on with what nobody is shown any more."""
    break_off = LiveRun.break_off

    def hide(self: LiveRun, why: Stop) -> None:
        if why is not Stop.CANCEL:
            break_off(self, why)
        elif self.stop is None:
            self.stop = why

    return [(LiveRun, "break_off", hide)]


@mutation
def a_cancel_is_not_noted() -> Iterable[Change]:
    """It is only told to the worker, which may be dead."""

    def told_only(self: MemoryRuns, run_id: str) -> Run | None:
        run = self.database.runs.get(run_id)
        return run if run is not None and run.status == "running" else None

    return [(MemoryRuns, "request_cancel", told_only)]


# ── sends, attaches, deletes ──


@mutation
def a_worker_tells_itself_to_attach() -> Iterable[Change]:
    """A run that it holds without knowing: the attach goes round until the lease is over."""
    elsewhere = Worker._attach_elsewhere

    async def told(self: Worker, control: Attach) -> bool:
        stranger = Worker("somebody-else", self.parts, self.limits)
        return await elsewhere(stranger, control)

    return [(Worker, "_attach_elsewhere", told)]


@mutation
def a_repeated_send_gets_a_run_of_its_own() -> Iterable[Change]:
    numbers = itertools.count()

    def fresh(user_id: str, message_id: str) -> str:
        return f"r_{message_id}-{next(numbers)}"

    return [(admission, "run_id_for", fresh)]


@mutation
def a_repeated_send_puts_no_job() -> Iterable[Change]:
    def nothing(*args: Any) -> None:
        pass

    return [(submit, "enqueue", nothing), (attach, "enqueue_again", nothing)]


@mutation
def an_attach_replays_nothing() -> Iterable[Change]:
    def silent(run: Run, text: str, base: int, place: Place) -> Sequence[Event]:
        return [started_for(run, len(text))]

    return [(attach, "replay", silent)]


@mutation
def two_posts_are_in_flight() -> Iterable[Change]:
    watch = Broadcast.watch

    def twice(self: Broadcast, live: LiveRun, connection_id: str, *args: Any) -> None:
        watch(self, live, connection_id, *args)
        connection = self._connections[connection_id]
        self.second = asyncio.create_task(self._pump(connection))  # type: ignore[attr-defined]

    return [(Broadcast, "watch", twice)]


@mutation
def a_purge_waits_for_nobody() -> Iterable[Change]:
    def ended_already(*args: Any) -> Run:
        run: Run = mock.create_autospec(Run, instance=True, status="cancelled")
        return run

    return [(purge, "cancel", ended_already)]


@mutation
def a_deleted_run_can_be_sent_again() -> Iterable[Change]:
    remove = MemoryRuns.remove

    def without_trace(self: MemoryRuns, run_ids: Sequence[str]) -> None:
        remove(self, run_ids)
        self.database.gone_run_ids.clear()

    return [(MemoryRuns, "remove", without_trace)]


# ── turns ──


@mutation
def a_users_next_run_is_not_put_in() -> Iterable[Change]:
    """It is the first to wait, and nobody takes it before somebody looks."""

    def noted_only(stores: Any, lanes: Any, calendar: Any, account: Ledger, now_ms: int) -> Ledger:
        return account

    return [(dispatch, "_next_put", noted_only)]


@mutation
def a_users_next_run_is_put_in_when_it_is_noted() -> Iterable[Change]:
    """Not before: the worker may die in between."""
    put = MemoryLedgers.put
    next_put = dispatch._next_put

    def first_noted(stores: Any, lanes: Any, calendar: Any, account: Ledger, now_ms: int) -> Ledger:
        stores.ledgers.put(account, account.version - 1)
        next_put(stores, lanes, calendar, account, now_ms)
        return account

    def again(self: MemoryLedgers, ledger: Ledger, former_version: int) -> None:
        if self.get(ledger.user_id) != ledger:
            put(self, ledger, former_version)

    return [(dispatch, "_next_put", first_noted), (MemoryLedgers, "put", again)]


@mutation
def a_job_is_acknowledged_before_the_dispatch() -> Iterable[Change]:
    async def at_once(self: Maker, live: LiveRun) -> None:
        pass

    return [(Maker, "_until_dispatched", at_once)]


@mutation
def a_job_that_is_over_passes_no_turn_on() -> Iterable[Change]:
    """Its user's next run waits behind one that will never be taken."""

    async def let_go(self: Placing, delivery: Delivery, outcome: Any) -> None:
        if isinstance(outcome, Over):
            await delivery.acknowledge()
        else:
            await turned_down(self, delivery, outcome)

    turned_down = Placing.turned_down
    return [(Placing, "turned_down", let_go)]


@mutation
def a_preempted_run_is_put_nowhere() -> Iterable[Change]:
    hand_back = Maker._hand_back

    async def forgetful(
        self: Maker, delivery: Delivery, live: LiveRun, fault: Exception | None
    ) -> None:
        async def gone(self: Delivery, lane: Any, delay_s: int = 0) -> None:
            await self.acknowledge()

        if live.stop is Stop.PREEMPT:
            delivery = type("Gone", (Delivery,), {"move": gone, "__slots__": ()})(
                **{name: getattr(delivery, name) for name in Delivery.__dataclass_fields__}
            )
        await hand_back(self, delivery, live, fault)

    return [(Maker, "_hand_back", forgetful)]


@mutation
def an_offered_run_has_no_twin() -> Iterable[Change]:
    """The worker's inbox is the only place where it is."""

    def told_only(
        stores: Any, lanes: Any, inboxes: Any, admission: Admission, wait: Wait, now_ms: int
    ) -> None:
        job = job_for(admission.run)
        if wait.reason is Reason.STARTING:
            text = admission.message.text
            if offer(stores, inboxes, job, text, now_ms, lambda twin: None) is not None:
                return
        lanes.send(admission.lane, job)

    return [(submit, "_put", told_only)]


@mutation
def a_settlement_forgets_what_was_served() -> Iterable[Change]:
    settle = accounts.settle

    def forgetful(ledger: Ledger, *args: Any) -> Ledger | None:
        settled = settle(ledger, *args)
        return settled and replace(settled, served=ledger.served)

    return [(accounts, "settle", forgetful)]


@mutation
def a_tier_takes_more_than_its_extra_slots() -> Iterable[Change]:
    return [(Slots, "_is_full_for", lambda self, tier: False)]
