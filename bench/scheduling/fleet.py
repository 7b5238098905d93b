"""A fleet of workers on shared lanes, from event to event: sends, slots, preemptions, refusals.

What decides is the product's own code: admission's limits and its refusal of a queue that is too old,
accounts and calendar within a tier, turns, room and overcommit between tiers, who has to leave, and how
fast a worker thinks that the line moves. Played
are time, the engines (`machine`), and what a hand-over costs; the backlog is published every few seconds,
as in the product. Budgets are left out: they are of five hours, and this is of minutes.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from bench.scheduling.azure import Send
from bench.scheduling.machine import Machine
from bench.scheduling.ours import Shared, run_of
from chatcore.domain import ledger as accounts
from chatcore.domain.beat import Beat, expected_starts_per_s
from chatcore.domain.calendar import weights_beside
from chatcore.domain.errors import Refusal
from chatcore.domain.lanes import BY_PRIORITY
from chatcore.domain.ledger import Ledger
from chatcore.domain.preemption import Candidate, victim
from chatcore.domain.slots import Slots
from chatcore.domain.tiers import DEFAULTS, Tier
from chatcore.domain.waiting import too_old, wait_of
from gpu_service.worker.pace import Pace

HANDOVER_S = 0.03
"""From a free slot, or from a job that comes to a standing poll, until the engine has the prompt: a
receive, a claim and the history. A job that is moved to a later lane costs as much once more."""

PUBLISH_EVERY_S = 5.0
"""The backlog; running answers are charged as often, as leases are renewed."""

MAX_WAIT_S = DEFAULTS[Tier.FREE].max_wait_s
"""The same for every tier, by default."""

DUE_S = attrgetter("due_s")


@dataclass(slots=True)
class Use:
    """slot_s: of slots there were; waited_s: the same while work waited in the lanes; busy_s: slots with
    a run in the engine; busy_waited_s: the same while work waited."""

    slot_s: float = 0.0
    busy_s: float = 0.0
    waited_s: float = 0.0
    busy_waited_s: float = 0.0


@dataclass(eq=False)
class Fleet:
    """slots: of a worker, for all tiers; max_wait_s: infinite for no refusals at all; on_end: told of
    each run that is over; on_tick: as often as the backlog is published."""

    slots: int
    seed: int = 0
    max_wait_s: float = MAX_WAIT_S
    on_end: Callable[[Send], None] = lambda send: None
    on_tick: Callable[[], None] = lambda: None
    now_s: float = 0.0
    use: Use = field(default_factory=Use)
    machines: list[Machine] = field(default_factory=list)
    draining: set[Machine] = field(default_factory=set)
    tiers: dict[Tier, Shared] = field(init=False)
    admitted: list[Send] = field(default_factory=list)
    refused: list[Send] = field(default_factory=list)
    _rng: random.Random = field(init=False)
    _work: list[Tier] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _sent_s: dict[tuple[int, Tier], float] = field(default_factory=dict)
    _handovers: list[tuple[float, int, Machine, Send]] = field(default_factory=list)
    _given_s: dict[Send, float] = field(default_factory=dict)
    _pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        self.tiers = {tier: Shared(tier, DEFAULTS[tier].weight) for tier in BY_PRIORITY}
        self._rng = random.Random(self.seed)
        self._pace = Pace(lambda: self.now_s)

    def add_workers(self, count: int) -> None:
        for _ in range(count):
            self.machines.append(Machine(next(self._numbers), Slots(self.slots)))

    def drain_workers(self, count: int) -> None:
        """The ones with the least to do take nothing more, and leave when they have nothing left."""
        staying = [each for each in self.machines if each not in self.draining]
        self.draining.update(sorted(staying, key=lambda each: len(each.aheads))[:count])
        self._bury()

    def serve(self, sends: Sequence[Send], until_s: float = 0.0) -> None:
        """All of them, in the order of their arrival, and at least until then."""
        arriving = deque(sends)
        tick_s = 0.0
        while arriving or self.now_s < until_s or self.is_busy():
            machine = min(self.machines, key=DUE_S)
            next_s = min(
                machine.due_s,
                tick_s,
                arriving[0].arrival_s if arriving else tick_s,
                self._handovers[0][0] if self._handovers else tick_s,
            )
            self._pass(next_s)
            if self._handovers and self._handovers[0][0] <= next_s:
                _, _, where, send = heapq.heappop(self._handovers)
                self._reach(where, send)
            elif arriving and arriving[0].arrival_s <= next_s:
                self.arrive(arriving.popleft())
            elif machine.due_s <= next_s:
                self._go_on(machine)
            else:
                tick_s += PUBLISH_EVERY_S
                self._publish()
                self.on_tick()
            self._dispatch()

    def is_busy(self) -> bool:
        return bool(self._work) or any(each.aheads for each in self.machines)

    def arrive(self, send: Send) -> None:
        """Admitted to its tier's lanes, or refused."""
        shared = self.tiers[send.tier]
        if self.max_wait_s < float("inf"):
            send.refused = self._refusal(send, shared)
        if send.refused:
            self.refused.append(send)
            return
        self.admitted.append(send)
        shared.arrive(send)

    def _refusal(self, send: Send, shared: Shared) -> str:
        ledger = shared.ledgers.get(send.client, Ledger(send.client))
        now_ms = round(self.now_s * 1000)
        run = run_of("new", send.client, send.tier, now_ms)
        reserved = accounts.reserve(ledger, run.run_id, 0, DEFAULTS[send.tier], now_ms)
        if isinstance(reserved, Refusal):
            return str(reserved.code)
        wait = wait_of(run, reserved, shared.calendar, now_ms)
        refusal = too_old(wait, self.max_wait_s, now_ms, "")
        return str(refusal.code) if refusal else ""

    def _publish(self) -> None:
        now_ms = round(self.now_s * 1000)
        beat = Beat(
            "fleet",
            "",
            now_ms,
            slots=self.slots * len(self.machines),
            free_slots=0,
            starts_per_s=self._pace.starts_per_s(),
            slot_s=self._pace.slot_s(),
        )
        for tier, shared in self.tiers.items():
            calendars = {each: line.calendar for each, line in self.tiers.items()}
            weights = weights_beside(tier, calendars, DEFAULTS)
            shared.now_s = self.now_s
            shared.publish(expected_starts_per_s([beat], tier, weights, now_ms))
        for machine in self.machines:
            for send in machine.here():
                self.tiers[send.tier].charge(send)

    def _dispatch(self) -> None:
        """Until no worker with room finds work that is its turn."""
        self._work = self._with_work()
        while self._work:
            asking = [each for each in self.machines if self._asks(each)]
            self._rng.shuffle(asking)
            taken = [each for each in asking if self._take(each)]
            if not taken:
                return

    def _asks(self, machine: Machine) -> bool:
        return machine not in self.draining and any(map(machine.slots.has_room, self._work))

    def _take(self, machine: Machine) -> bool:
        """A worker gets its next job. Whose standing poll that comes to is chance."""
        waited_s = {
            tier: self.now_s - self._sent_s.get((machine.number, tier), self.now_s)
            for tier in self._work
        }
        slots = machine.slots
        for tier in slots.turns.order(waited_s):
            if not slots.has_room(tier) or not slots.is_turn_of(tier, waited_s):
                continue
            shared = self.tiers[tier]
            shared.now_s = self.now_s
            moved = shared.moves
            send = shared.pull()
            if not isinstance(send, Send):
                continue
            self._sent_s[machine.number, tier] = send.arrival_s
            self._pace.began(tier)
            self._given_s[send] = self.now_s
            grant = slots.give(tier, self._work)
            machine.aheads[send] = grant.ahead
            detours = shared.moves - moved + self._bounces(tier)
            at_s = self.now_s + HANDOVER_S * (1 + detours)
            heapq.heappush(self._handovers, (at_s, next(self._numbers), machine, send))
            if grant.crowded:
                self._preempt(machine, tier)
            self._work = self._with_work()
            return True
        return False

    def _bounces(self, tier: Tier) -> int:
        """Polls that still stand at workers which have begun to read a lower tier's prompt meanwhile: the
        job comes to some of them first and is given back."""
        reading = sum(each.slots.reads_below(tier) for each in self.machines)
        bounces = 0
        while self._rng.random() < reading / (len(self.machines) + 1) and bounces < reading:
            bounces += 1
        return bounces

    def _reach(self, machine: Machine, send: Send) -> None:
        if send.left_s:
            send.pauses_s.append(self.now_s - send.left_s)
            send.left_s = 0.0
        machine.put(send, self.now_s)

    def _preempt(self, machine: Machine, tier: Tier) -> None:
        staying = {str(number): send for number, send in enumerate(machine.staying())}
        chosen = victim(
            (
                Candidate(
                    run_id, each.tier, each.held_tokens if each.first_s else 0, each.preemptions
                )
                for run_id, each in staying.items()
            ),
            tier,
        )
        if chosen is not None:
            machine.tell_to_leave(staying[chosen.run_id], self.now_s)

    def _go_on(self, machine: Machine) -> None:
        ended, left = machine.go_on(self.now_s)
        for send in (*ended, *left):
            shared = self.tiers[send.tier]
            cost = send.input_tokens + 2 * (send.made - send.joined) if send.made else 0
            machine.slots.turns.settle(send.tier, machine.aheads.pop(send), cost)
            machine.slots.release(send.tier)
            self._pace.ended(send.tier, self.now_s - self._given_s.pop(send))
            if send.end_s:
                shared.end(send)
                self.on_end(send)
            else:
                send.preemptions += 1
                send.left_s = self.now_s
                shared.give_back(send)
        if machine in self.draining:
            self._bury()

    def _bury(self) -> None:
        gone = [each for each in self.draining if not each.aheads]
        self.draining.difference_update(gone)
        self.machines = [each for each in self.machines if each not in gone]

    def _with_work(self) -> list[Tier]:
        return [tier for tier, shared in self.tiers.items() if shared.has_work()]

    def _pass(self, next_s: float) -> None:
        """Time goes by, in which nothing changes."""
        gone_s = max(0.0, next_s - self.now_s)
        if gone_s:
            there = gone_s * len(self.machines) * self.slots
            busy = gone_s * sum(min(self.slots, each.in_engine) for each in self.machines)
            self.use.slot_s += there
            self.use.busy_s += busy
            if self._work:
                self.use.waited_s += there
                self.use.busy_waited_s += busy
        self.now_s = max(self.now_s, next_s)
