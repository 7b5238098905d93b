"""Owns runs on DynamoDB: each transition is one conditional write, the two big ones transactions."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from pynamodb.exceptions import DoesNotExist
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.models import Model, _ModelFuture
from pynamodb.transactions import TransactGet, TransactWrite

from chatcore.adapters.dynamo.faults import ConditionFailed, translated
from chatcore.adapters.dynamo.items import (
    ChatItem,
    LedgerItem,
    RunItem,
    UsageItem,
    UsageMap,
    active_at,
)
from chatcore.adapters.dynamo.scans import scan_page
from chatcore.adapters.dynamo.tables import Tables
from chatcore.adapters.dynamo.versions import VERSION, changes
from chatcore.domain import lease
from chatcore.domain import ledger as accounts
from chatcore.domain.admission import Admission, Send, View
from chatcore.domain.calendar import Calendar
from chatcore.domain.chat import Chat, answer_of
from chatcore.domain.errors import Conflict, StoreUnavailable
from chatcore.domain.ledger import Ledger
from chatcore.domain.run import ACTIVE, Ending, Event, Kind, Run, Status, Usage, ended, sources
from chatcore.domain.stream import Checkpoint
from chatcore.domain.usage import RETENTION_S, day_of
from chatcore.ports import ActiveRuns, Claim, Claimed, Held, Over

_Item = TypeVar("_Item", bound=Model)

CLAIM_TRIES = 3


@dataclass(frozen=True, slots=True)
class DynamoRuns:
    tables: Tables

    def view(self, send: Send) -> View:
        user_id = send.user.user_id
        with translated(), TransactGet(connection=self.tables.connection) as read:
            chat = read.get(self.tables.chat, user_id, send.target_chat_id)
            run = read.get(self.tables.run, send.run_id)
            ledger = read.get(self.tables.ledger, user_id)
            calendar = read.get(self.tables.calendar, str(send.user.tier))
        found_chat, found_run, found_ledger = _found(chat), _found(run), _found(ledger)
        found_calendar = _found(calendar)
        run_is_gone = found_run is not None and bool(found_run.is_gone)
        return View(
            chat=None if found_chat is None else found_chat.chat(),
            run=None if found_run is None or run_is_gone else found_run.run(),
            ledger=Ledger(user_id) if found_ledger is None else found_ledger.ledger(),
            calendar=(
                Calendar(send.user.tier) if found_calendar is None else found_calendar.calendar()
            ),
            run_is_gone=run_is_gone,
        )

    def admit(self, admission: Admission) -> None:
        with translated(), TransactWrite(connection=self.tables.connection) as write:
            write.save(self.tables.run.of(admission.run), condition=RunItem.run_id.does_not_exist())
            write.save(self.tables.message.of(admission.message))
            self._admit_chat(write, admission)
            former = admission.former_ledger_version
            ledger = self.tables.ledger.of(admission.ledger)
            write.update(
                ledger,
                actions=changes(ledger),
                condition=(
                    LedgerItem.version == former if former else LedgerItem.user_id.does_not_exist()
                ),
            )

    def _admit_chat(self, write: TransactWrite, admission: Admission) -> None:
        chat = admission.chat
        if admission.former_chat is None:
            write.save(self.tables.chat.of(chat), condition=ChatItem.chat_id.does_not_exist())
            return
        # An update, not a put: a title may have been set meanwhile, a summary begun or committed.
        write.update(
            self.tables.chat(chat.user_id, chat.chat_id),
            actions=[
                ChatItem.active_run_id.set(admission.run.run_id),
                ChatItem.last_seq.set(chat.last_seq),
                *active_at(chat.last_active_ms),
                *_watched(admission.former_chat, chat),
            ],
            condition=(
                (ChatItem.last_seq == admission.former_chat.last_seq)
                & ChatItem.active_run_id.does_not_exist()
                & ChatItem.deleted_ms.does_not_exist()
            ),
        )

    def put(self, run: Run) -> bool:
        try:
            with translated():
                self.tables.run.of(run).save(condition=RunItem.run_id.does_not_exist())
        except ConditionFailed:
            return False
        return True

    def get(self, run_id: str) -> Run | None:
        item = self._item(run_id)
        return None if item is None else item.run()

    def claim(self, run_id: str, worker_id: str, inbox: str, now_ms: int) -> Claim:
        claim_id = secrets.token_hex(4)
        mine: list[Action] = [
            RunItem.status.set(str(Status.RUNNING)),
            RunItem.epoch.set(RunItem.epoch + 1),
            RunItem.worker_id.set(worker_id),
            RunItem.inbox.set(inbox),
            RunItem.claim_id.set(claim_id),
            RunItem.lease_until_ms.set(lease.until(now_ms)),
            RunItem.started_ms.set(RunItem.started_ms | now_ms),
        ]
        # What is too new for this release is not touched: `get`, below, says that it is.
        readable: Condition = RunItem.v.does_not_exist() | (RunItem.v <= VERSION)
        queued = self._update(run_id, mine, (RunItem.status == str(Status.QUEUED)) & readable)
        if queued is not None:
            return Claimed(queued)
        # Not queued: over, held, or left behind by a worker whose lease ran out. Or this very claim has
        # succeeded, its answer was lost, and it was the repeat that found the run taken.
        for _ in range(CLAIM_TRIES):
            item = self._item(run_id)
            if item is None:
                return Over()
            run = item.run()
            if run.status not in ACTIVE:
                return Over()
            if run.status is Status.RUNNING and item.claim_id == claim_id:
                return Claimed(run)
            if run.status is Status.RUNNING and not lease.may_take_over(now_ms, run.lease_until_ms):
                return Held(run.lease_until_ms)
            fault = 1 if run.status is Status.RUNNING else 0
            seen = (
                (RunItem.status == str(run.status))
                & (RunItem.epoch == run.epoch)
                & (RunItem.lease_until_ms == run.lease_until_ms)
            )
            died: list[Action] = [
                RunItem.attempts.add(fault),
                RunItem.lost.set(accounts.lost_with(run)),
                RunItem.charged.set(0),
            ]
            claimed = self._update(run_id, [*mine, *died], seen)
            if claimed is not None:
                return Claimed(claimed)
        raise Conflict(run_id)

    def renew(self, run_id: str, epoch: int, lease_until_ms: int, charged: int = 0) -> Run | None:
        # A renewal that was given up may still come, after the one that followed it: it must not take
        # away from a lease that its holder counts on.
        longer = RunItem.lease_until_ms <= lease_until_ms
        return self._update(
            run_id,
            [RunItem.lease_until_ms.set(lease_until_ms), RunItem.charged.set(charged)],
            _in_epoch(Event.COMPLETE, epoch) & longer,
        )

    def hand_back(
        self, run_id: str, epoch: int, spent: Usage, fault: bool = False, preempted: bool = False
    ) -> bool:
        actions: list[Action] = [
            RunItem.status.set(str(Status.QUEUED)),
            RunItem.attempts.add(1 if fault else 0),
            RunItem.preemptions.add(1 if preempted else 0),
            RunItem.spent.set(UsageMap.of(spent)),
            RunItem.charged.set(0),
            RunItem.lease_until_ms.set(0),
            RunItem.worker_id.remove(),
            RunItem.inbox.remove(),
        ]
        return self._update(run_id, actions, _in_epoch(Event.HAND_BACK, epoch)) is not None

    def end(self, run: Run, ending: Ending) -> bool:
        if run.status not in sources(ending.event):
            return False
        if run.kind is not Kind.ANSWER:
            return self._end_background(run)
        answer = answer_of(run, ending)
        cost = accounts.cost_tokens(ending.usage)
        after_it: list[Action] = [
            ChatItem.active_run_id.remove(),
            *active_at(ending.ended_ms),
            *_added(ChatItem, ending.usage),
        ]
        if ending.context_tokens is not None:
            after_it.append(ChatItem.context_tokens.set(ending.context_tokens))
        if run.worker_id is not None:
            after_it.append(ChatItem.worker_id.set(run.worker_id))
        if ending.gone:
            after_it.append(ChatItem.watchers.delete(set(ending.gone)))
        try:
            with translated(), TransactWrite(connection=self.tables.connection) as write:
                over = self.tables.run.of(ended(run, ending))
                write.update(over, actions=changes(over), condition=_as_seen(run))
                if answer is not None:
                    write.save(self.tables.message.of(answer))
                write.update(
                    self.tables.chat(run.user_id, run.chat_id),
                    actions=after_it,
                    condition=ChatItem.active_run_id == run.run_id,
                )
                write.update(
                    self.tables.ledger(run.user_id),
                    actions=[
                        LedgerItem.active[run.run_id].remove(),
                        LedgerItem.charged[run.run_id].remove(),
                        LedgerItem.settled_tokens.add(cost),
                        LedgerItem.settled_runs.add(1 if cost else 0),
                        LedgerItem.served.add(accounts.virtual(cost, run.weight) + run.lost),
                        LedgerItem.version.add(1),
                    ],
                    condition=LedgerItem.active[run.run_id].exists(),
                )
                self._count(write, run, ending)
        except ConditionFailed:
            return False
        return True

    def _end_background(self, run: Run) -> bool:
        try:
            with translated():
                self.tables.run(run.run_id).delete(condition=_as_seen(run))
        except ConditionFailed:
            return False
        return True

    def _count(self, write: TransactWrite, run: Run, ending: Ending) -> None:
        """Beside the other writes of an end, so that a run is counted once, whatever dies."""
        if ending.usage == Usage():
            return
        write.update(
            self.tables.usage(run.user_id, day_of(ending.ended_ms)),
            actions=[
                UsageItem.runs.add(1),
                *_added(UsageItem, ending.usage),
                UsageItem.expires_at.set(ending.ended_ms // 1000 + RETENTION_S),
            ],
        )

    def add_viewer(self, run_id: str, connection_id: str) -> Run | None:
        active = RunItem.status.is_in(*sorted(ACTIVE))
        return self._update(run_id, [RunItem.viewers.add({connection_id})], active)

    def note_requeued(self, run: Run, now_ms: int) -> bool:
        if run.status not in ACTIVE:
            return False
        seen = _as_seen(run) & (RunItem.requeued_ms == run.requeued_ms)
        noted = self._update(run.run_id, [RunItem.requeued_ms.set(now_ms)], seen)
        return noted is not None

    def active(self, limit: int, after_id: str) -> ActiveRuns:
        answers = RunItem.kind.does_not_exist() | (RunItem.kind == str(Kind.ANSWER))
        wanted = RunItem.status.is_in(*sorted(ACTIVE)) & answers
        page = scan_page(self.tables.run, wanted, limit, after_id)
        return ActiveRuns(page.looked_at, page.next_id, [item.run() for item in page.items])

    def request_cancel(self, run_id: str) -> Run | None:
        running = RunItem.status == str(Status.RUNNING)
        return self._update(run_id, [RunItem.cancel_requested.set(True)], running)

    def remove(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            with translated():
                pieces = list(self.tables.checkpoint.query(run_id, consistent_read=True))
                with self.tables.checkpoint.batch_write() as batch:
                    for piece in pieces:
                        batch.delete(piece)
            try:
                with translated():
                    over = RunItem.expires_at.exists()
                    self.tables.run(run_id).update(RunItem.emptied(), condition=over)
            except ConditionFailed:
                with translated():
                    self.tables.run(run_id).delete()

    def put_checkpoints(self, checkpoints: Sequence[Checkpoint], now_ms: int) -> None:
        # Below pynamodb's batches, which try again without a pause what DynamoDB had no room for.
        puts = [self.tables.checkpoint.of(piece, now_ms).serialize() for piece in checkpoints]
        with translated():
            answer = self.tables.checkpoint._get_connection().batch_write_item(put_items=puts)
        left = answer.get("UnprocessedItems")
        if left:
            raise StoreUnavailable("BatchWriteItem left some out")

    def checkpoints(self, run_id: str) -> Sequence[Checkpoint]:
        with translated():
            found = self.tables.checkpoint.query(run_id, consistent_read=True)
            return [item.checkpoint() for item in found]

    def _item(self, run_id: str) -> RunItem | None:
        try:
            with translated():
                item = self.tables.run.get(run_id, consistent_read=True)
        except DoesNotExist:
            return None
        return None if item.is_gone else item

    def _update(self, run_id: str, actions: list[Action], condition: Condition) -> Run | None:
        """The run as updated, or None where the condition does not hold."""
        item = self.tables.run(run_id)
        try:
            with translated():
                item.update(actions, condition=condition)
        except ConditionFailed:
            return None
        return item.run()


def _found(future: "_ModelFuture[_Item]") -> _Item | None:
    try:
        return future.get()
    except DoesNotExist:
        return None


def _added(item: type[ChatItem] | type[UsageItem], usage: Usage) -> list[Action]:
    return [
        item.input_tokens.add(usage.input_tokens),
        item.cached_tokens.add(usage.cached_tokens),
        item.output_tokens.add(usage.output_tokens),
    ]


def _watched(former: Chat, chat: Chat) -> list[Action]:
    """Added to where it can be: another may have been noted meanwhile."""
    new = chat.watchers - former.watchers
    if not new:
        return []
    if former.watchers <= chat.watchers:
        return [ChatItem.watchers.add(set(new))]
    return [ChatItem.watchers.set(set(chat.watchers))]


def _as_seen(run: Run) -> Condition:
    seen: Condition = (RunItem.epoch == run.epoch) & (RunItem.status == str(run.status))
    return seen


def _in_epoch(event: Event, epoch: int) -> Condition:
    allowed = sorted(str(status) for status in sources(event))
    condition: Condition = (RunItem.epoch == epoch) & RunItem.status.is_in(*allowed)
    return condition
