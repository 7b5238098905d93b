"""Owns what must hold in every world, at every step and at its end.

Watches the tables themselves and what passes by, and works everything out anew: it asks the product
for nothing but its words (statuses, costs). The first thing that does not hold ends the world.

What is charged: for each epoch that handed its run back or ended it, what the engine really did in it
until then, once. An epoch whose worker died, or lost its lease, is not charged: nobody reported it.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from chatcore.adapters.memory.database import MemoryDatabase
from chatcore.domain.chat import Message, Role
from chatcore.domain.ledger import Ledger, cost_tokens
from chatcore.domain.run import ACTIVE, TERMINAL, Ending, FinishReason, Kind, Run, Status, Usage
from chatcore.domain.stream import Checkpoint
from chatcore.domain.tiers import Tier
from chatcore.ports import Claimed
from chatcore.protocol.queue import Attach, Cancel, Control, Drain, Job, Offer
from tests.simulation.journal import Journal

BOUND_S = 180.0
"""Within so long after the storm, or after its send if that was later, every run must have ended."""

CANCEL_S = 0.5
"""Within so long of being told to cancel, a worker that is awake makes nothing more of the run."""

MOST_BOUNCES = 3
"""So often a worker may pass an attach on to itself."""

OF_THE_BOOKS = frozenset({"admit", "claim", "hand_back", "end", "remove", "put", "charge"})
ENDS = {"run.completed": "completed", "run.failed": "failed", "run.cancelled": "cancelled"}


class Broken(AssertionError):
    """Something that was promised does not hold."""


@dataclass(slots=True, eq=False)
class Session:
    """What one engine did for one epoch. base: the text that it was told to go on behind."""

    worker: str
    run_id: str
    epoch: int
    base: str
    made: str = ""
    usage: Usage = field(default_factory=Usage)

    @property
    def text(self) -> str:
        return self.base + self.made


@dataclass(frozen=True, slots=True)
class Committed:
    """How a run ended, as it was stored at that instant."""

    run: Run
    text: str
    at_s: float


@dataclass(slots=True)
class Audit:
    journal: Journal
    now_s: Callable[[], float]
    impatient: Collection[Tier]
    """The tiers whose runs are abandoned when nobody looks."""
    database: MemoryDatabase = field(init=False)
    broken: list[str] = field(default_factory=list)
    on_broken: Callable[[], None] = lambda: None
    runs: dict[str, Run] = field(default_factory=dict)
    """Every run that ever was, as it was last; also those that were purged."""
    created_s: dict[str, float] = field(default_factory=dict)
    committed: dict[str, Committed] = field(default_factory=dict)
    holder: dict[tuple[str, int], str] = field(default_factory=dict)
    sessions: dict[tuple[str, int], Session] = field(default_factory=dict)
    reported: dict[str, Usage] = field(default_factory=dict)
    on_the_way: Counter[str] = field(default_factory=Counter)
    """Jobs that are in no lane yet, by run."""
    _put: set[str] = field(default_factory=set)
    _posting: dict[tuple[str, str], int] = field(default_factory=dict)
    _replaying: set[tuple[str, str]] = field(default_factory=set)
    _told_to_cancel: dict[tuple[str, str], float] = field(default_factory=dict)
    _cancel_noted_s: dict[str, float] = field(default_factory=dict)
    _told_itself: dict[tuple[str, str, str], int] = field(default_factory=dict)
    _claimed_s: dict[tuple[str, int], float] = field(default_factory=dict)
    _durable_then: dict[tuple[str, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.database = MemoryDatabase(
            runs=_WatchedRuns(self), messages=_WatchedMessages(self), checkpoints={}
        )

    def broke(self, what: str) -> None:
        self.journal.note("audit", "BROKEN", what)
        self.broken.append(what)
        self.on_broken()

    # ── the tables ──

    def run_written(self, former: Run | None, run: Run) -> None:
        self.journal.note(
            "runs", run.status, run.run_id, f"epoch {run.epoch}", run.worker_id or "-"
        )
        self.runs[run.run_id] = run
        if former is None:
            self.created_s[run.run_id] = self.now_s()
        if not _may_follow(former, run):
            self.broke(f"{run.run_id} went from {_brief(former)} to {_brief(run)}")
        if run.status in TERMINAL:
            self.reported.setdefault(run.run_id, Usage())

    def message_written(self, former: Message | None, message: Message) -> None:
        if former is not None:
            self.broke(f"{message.message_id} took the place of {former.message_id}")

    def happened(self, who: str, name: str, args: Sequence[Any], answer: Any) -> None:
        """A call of the run store has just done what it does."""
        if name == "claim" and isinstance(answer, Claimed):
            self._claimed(args[1], answer.run)
        elif name == "request_cancel" and answer is not None:
            self._cancel_noted_s.setdefault(args[0], self.now_s())
        elif name == "hand_back" and answer:
            run_id, epoch, spent, *_ = args
            self._report(run_id, epoch, spent)
        elif name == "end" and answer:
            self._ended(who, *args)
        elif name == "put_checkpoints":
            keys = [(piece.run_id, piece.epoch, piece.offset) for piece in args[0]]
            if len(set(keys)) != len(keys):
                self.broke(f"{who} writes the same item twice in a batch: {keys}")
        elif name == "put" and isinstance(args[0], Ledger):
            self._look_at_the_first(who, args[0])
        if name in OF_THE_BOOKS:
            self._look_at_the_books()

    # ── jobs ──

    def has_put(self, job: Job) -> None:
        self._put.add(job.run_id)

    def let_go(self, who: str, job: Job) -> None:
        """The last copy of the run's job was acknowledged."""
        run = self.database.runs.get(job.run_id)
        if self.on_the_way[job.run_id]:
            return
        if run is not None and run.status in ACTIVE:
            self.broke(f"{who} let the last job of {job.run_id} go: {_brief(run)}")
        ledger = self.database.ledgers.get(job.user_id)
        if ledger is not None and job.run_id in ledger.waiting:
            self.broke(f"{who} let {job.run_id} go, behind which {ledger.waiting} wait")

    def _look_at_the_first(self, who: str, ledger: Ledger) -> None:
        """An account was written on: who is the first to wait now has been put into a lane."""
        if ledger.waiting and ledger.waiting[0] not in self._put:
            self.broke(f"{who} left {ledger.waiting[0]} the first to wait, without a job")

    def _claimed(self, worker: str, run: Run) -> None:
        key = run.run_id, run.epoch
        self.holder[key] = worker
        self._claimed_s[key] = self.now_s()
        former = self.sessions.get((run.run_id, run.epoch - 1))
        if former is None:
            return
        pieces = self.database.checkpoints.values()
        durable = len(former.base)
        for piece in sorted(
            (p for p in pieces if (p.run_id, p.epoch) == (former.run_id, former.epoch)),
            key=lambda piece: piece.offset,
        ):
            if piece.offset <= durable:
                durable = _end(piece)
        self._durable_then[key] = durable

    def _ended(self, who: str, run: Run, ending: Ending) -> None:
        if run.kind is not Kind.ANSWER:
            return
        stored = self.database.runs[run.run_id]
        answer = self.database.messages.get((run.chat_id, run.message_seq + 1))
        text = "" if answer is None else answer.text
        self.committed[run.run_id] = Committed(stored, text, self.now_s())
        if stored.usage is None or stored.length != len(text) or text != ending.text:
            self.broke(f"{run.run_id} ended with {ending}, and {text!r} is stored")
            return
        if self.holder.get((run.run_id, stored.epoch)) == who:
            self._report(run.run_id, stored.epoch, stored.usage)
        elif stored.usage != self.reported[run.run_id]:
            self.broke(f"{run.run_id} was ended by {who}, who added to what was spent")
        if stored.finish_reason is FinishReason.ABANDONED and stored.tier not in self.impatient:
            self.broke(f"{run.run_id} was abandoned, though its tier's runs go on without a viewer")
        self._look_at_the_text(stored, text)

    def _report(self, run_id: str, epoch: int, total: Usage) -> None:
        """The holder of an epoch says what was spent on the run so far."""
        if self.runs[run_id].kind is not Kind.ANSWER:
            return
        session = self.sessions.get((run_id, epoch))
        expected = self.reported.get(run_id, Usage()) + (session.usage if session else Usage())
        if total != expected:
            self.broke(f"{run_id} epoch {epoch}: reported {total}, the engines did {expected}")
        self.reported[run_id] = total

    def _look_at_the_text(self, run: Run, text: str) -> None:
        told = [s.text for (run_id, _), s in self.sessions.items() if run_id == run.run_id]
        if text and not any(whole.startswith(text) for whole in told):
            self.broke(f"{run.run_id}: {text!r} is stored, the engines said {told}")
        if run.status is Status.COMPLETED:
            session = self.sessions[run.run_id, run.epoch]
            if session.text != text:
                self.broke(f"{run.run_id}: {text!r} is stored, complete is {session.text!r}")

    def _look_at_the_books(self) -> None:
        """Between any two calls: reserved is what is active, charged is what has ended, once each."""
        runs = [run for run in self.database.runs.values() if run.kind is Kind.ANSWER]
        for user_id, ledger in self.database.ledgers.items():
            active = {r.run_id for r in runs if r.user_id == user_id and r.status in ACTIVE}
            if set(ledger.active) != active:
                self.broke(f"{user_id} has reserved {set(ledger.active)}, active are {active}")
            charged = sum(
                cost_tokens(committed.run.usage or Usage())
                for committed in self.committed.values()
                if committed.run.user_id == user_id
            )
            if ledger.settled_tokens != charged:
                self.broke(f"{user_id} was charged {ledger.settled_tokens}, spent {charged}")
            served = sum(
                -(-cost_tokens(committed.run.usage or Usage()) // committed.run.weight)
                + committed.run.lost
                for committed in self.committed.values()
                if committed.run.user_id == user_id
            )
            if ledger.served != served:
                self.broke(f"{user_id} was served {ledger.served}, by his runs {served}")
            if not set(ledger.charged) <= active:
                self.broke(f"{user_id} is charged for {set(ledger.charged)}, active are {active}")
            twice = set(ledger.charged) & set(ledger.waiting)
            if twice:
                self.broke(f"{user_id} has {twice} both waiting and with a slot")
            self._look_at_the_bill(user_id)
        held = {r.chat_id: r.run_id for r in runs if r.status in ACTIVE}
        named = {
            c.chat_id: c.active_run_id for c in self.database.chats.values() if c.active_run_id
        }
        if held != named:
            self.broke(f"chats name {named} as active, active are {held}")

    def _look_at_the_bill(self, user_id: str) -> None:
        """What the days and the chats say was used is what ended runs used, once each."""
        ended = [c.run for c in self.committed.values() if c.run.user_id == user_id]
        spent = sum((run.usage or Usage() for run in ended), Usage())
        days = [day for (owner, _), day in self.database.usage.items() if owner == user_id]
        counted = sum((day.usage for day in days), Usage())
        if counted != spent or sum(day.runs for day in days) != sum(
            run.usage != Usage() for run in ended
        ):
            self.broke(f"{user_id} used {spent} in {len(ended)} runs, his days say {days}")
        for (owner, chat_id), chat in self.database.chats.items():
            used = sum((run.usage or Usage() for run in ended if run.chat_id == chat_id), Usage())
            if owner == user_id and chat.usage != used:
                self.broke(f"{chat_id} used {used}, and says {chat.usage}")

    # ── the engines ──

    def generates(self, worker: str, message_id: str, base: str) -> Session:
        run = next(run for run in self.runs.values() if run.message_id == message_id)
        epoch = max(
            epoch
            for (run_id, epoch), holder in self.holder.items()
            if run_id == run.run_id and holder == worker
        )
        session = Session(worker, run.run_id, epoch, base)
        self.journal.note(worker, "engine begins", run.run_id, f"epoch {epoch}", repr(base))
        if (run.run_id, epoch) in self.sessions:
            self.broke(f"{run.run_id} is made twice in epoch {epoch}")
        former = [s.text for (run_id, e), s in self.sessions.items() if run_id == run.run_id]
        if base and not any(text.startswith(base) for text in former):
            self.broke(f"{run.run_id} goes on behind {base!r}, the engines said {former}")
        if len(base) < self._durable_then.get((run.run_id, epoch), 0):
            self.broke(f"{run.run_id} goes on behind {base!r}, more than that was durable")
        noted_s = self._cancel_noted_s.get(run.run_id)
        if noted_s is not None and noted_s < self._claimed_s[run.run_id, epoch]:
            self.broke(f"{run.run_id} was cancelled before it was claimed, and is made")
        self.sessions[run.run_id, epoch] = session
        return session

    def makes(self, session: Session, text: str, usage: Usage, awake_since_s: float) -> None:
        session.made += text
        session.usage = usage
        told_s = self._told_to_cancel.get((session.worker, session.run_id))
        if told_s is not None and self.now_s() - max(told_s, awake_since_s) > CANCEL_S:
            self.broke(f"{session.worker} was told to cancel {session.run_id}, and makes {text!r}")

    # ── what is said ──

    def tells(self, who: str, inbox: str, control: Control) -> None:
        self.journal.note(who, "control to", inbox, control)
        if isinstance(control, Offer) and who == "lambda" and control.run_id not in self._put:
            self.broke(f"{control.run_id} was offered to {inbox} before its twin was in a lane")
        if who == inbox and not isinstance(control, Offer | Drain):
            # A run that it has just claimed; but not over and over.
            key = who, control.run_id, control.connection_id
            self._told_itself[key] = self._told_itself.get(key, 0) + 1
            if self._told_itself[key] > MOST_BOUNCES:
                self.broke(f"{who} tells itself again and again: {control}")

    def told(self, worker: str, controls: Sequence[Control]) -> None:
        """A worker has received these."""
        for control in controls:
            self.journal.note(worker, "is told", control)
            if isinstance(control, Cancel):
                self._told_to_cancel.setdefault((worker, control.run_id), self.now_s())
            elif isinstance(control, Attach):
                self._replaying.add((worker, control.connection_id))

    def speaks(self, worker: str, connection_id: str, frame: bytes) -> None:
        """A worker has just decided to post this."""
        key = worker, connection_id
        self._posting[key] = self._posting.get(key, 0) + 1
        # An attach to a run that is not live here is answered beside the live ones.
        if self._posting[key] > 1 and key not in self._replaying:
            self.broke(f"{worker} posts twice at once to {connection_id}")
        told = json.loads(frame)
        if told["type"] in ENDS:
            self._look_at_the_end(told, ENDS[told["type"]])
        elif told["type"] == "run.delta":
            self._look_at_the_delta(worker, told)

    def spoke(self, worker: str, connection_id: str) -> None:
        self._posting[worker, connection_id] -= 1

    def _look_at_the_delta(self, worker: str, told: dict[str, Any]) -> None:
        run_id, epoch, end = told["run_id"], told["epoch"], told["offset"] + len(told["text"])
        stored = self.database.runs.get(run_id)
        if self.holder.get((run_id, epoch)) != worker or stored is None:
            return
        session = self.sessions.get((run_id, epoch))
        if session is not None and session.text[told["offset"] : end] != told["text"]:
            self.broke(f"{worker} says {told}, its engine {session.text!r}")
        # What is durable, anybody may replay to who attaches, and be overtaken while he does.
        if stored.epoch > epoch and end > self._durable_length(run_id, epoch):
            self.broke(f"{worker} speaks for epoch {epoch} of {run_id} in epoch {stored.epoch}")
        committed = self.committed.get(run_id)
        if committed is not None and end > max(
            committed.run.length, self._durable_length(run_id, epoch)
        ):
            self.broke(f"{worker} says more of {run_id} than what it ended with")

    def _look_at_the_end(self, told: dict[str, Any], status: str) -> None:
        committed = self.committed.get(told["run_id"])
        if committed is None:
            self.broke(f"{told} is said of a run that has not ended")
        elif (committed.run.status, committed.run.length) != (status, told["length"]):
            self.broke(f"{told} is said of a run that is {_brief(committed.run)}")

    def _durable_length(self, run_id: str, epoch: int) -> int:
        pieces = self.database.checkpoints.values()
        return max((_end(p) for p in pieces if p.run_id == run_id and p.epoch <= epoch), default=0)

    def shown(self, client: str, run_id: str, status: str, text: str) -> None:
        """A client has been told the end, and shows this."""
        committed = self.committed.get(run_id)
        if committed is None:
            self.broke(f"{client} shows {run_id} as {status}, and it has not ended")
        elif (committed.run.status, committed.text) != (status, text):
            self.broke(
                f"{client} shows {run_id} as {status}: {text!r}, "
                f"committed is {committed.run.status}: {committed.text!r}"
            )

    # ── the end ──

    def look_at_the_end(self, calm_s: float) -> None:
        for run_id, run in self.runs.items():
            if run.kind is not Kind.ANSWER:
                self._look_at_the_background(run)
                continue
            committed = self.committed.get(run_id)
            if committed is None:
                self.broke(f"{run_id} has not ended: {_brief(run)}")
                continue
            took_s = committed.at_s - max(calm_s, self.created_s[run_id])
            if took_s > BOUND_S:
                self.broke(f"{run_id} ended only after {took_s:.0f} s of calm")
        answers = [m for m in self.database.messages.values() if m.role is Role.ASSISTANT]
        for answer in answers:
            if self.committed[answer.run_id].text != answer.text:
                self.broke(f"{answer.message_id} is not what was committed")
        if len({answer.run_id for answer in answers}) != len(answers):
            self.broke("a run has two answers")
        asked = [run.message_id for run in self.runs.values() if run.kind is Kind.ANSWER]
        if len(set(asked)) != len(asked):
            self.broke("a message has two runs")
        self._look_at_the_books()
        self._look_at_the_deleted()

    def _look_at_the_background(self, run: Run) -> None:
        """A run that was asked for, but whose job was never sent, is nobody's loss."""
        is_over = run.status in TERMINAL or self.goes_with_its_chat(run)
        if run.run_id in self._put and not is_over:
            self.broke(f"{run.run_id} has not ended: {_brief(run)}")
        chat = self.database.chats.get((run.user_id, run.chat_id))
        if run.status is Status.COMPLETED and chat is not None and not chat.title:
            self.broke(f"{run.run_id} has made a title, and {run.chat_id} has none")

    def _look_at_the_deleted(self) -> None:
        chats = {chat.chat_id for chat in self.database.chats.values()}
        hidden = [c.chat_id for c in self.database.chats.values() if c.deleted_ms is not None]
        left = {m.chat_id for m in self.database.messages.values()} - chats
        # A run in the background holds no text, and expires.
        runs = {
            run.chat_id for run in self.database.runs.values() if run.kind is Kind.ANSWER
        } - chats
        if hidden or left or runs:
            self.broke(
                f"deleted, but there yet: chats {hidden}, messages of {left}, runs of {runs}"
            )

    def goes_with_its_chat(self, run: Run) -> bool:
        """What makes a title holds ids, and nobody waits for it once its chat is deleted."""
        chat = self.database.chats.get((run.user_id, run.chat_id))
        return run.kind is Kind.TITLE and (chat is None or chat.deleted_ms is not None)


class _WatchedRuns(dict[str, Run]):
    def __init__(self, audit: Audit) -> None:
        super().__init__()
        self._audit = audit

    def __setitem__(self, run_id: str, run: Run) -> None:
        former = self.get(run_id)
        super().__setitem__(run_id, run)
        self._audit.run_written(former, run)

    def pop(self, run_id: str, *default: Any) -> Any:
        run = self.get(run_id)
        if (
            run is not None
            and run.status not in TERMINAL
            and not self._audit.goes_with_its_chat(run)
        ):
            self._audit.broke(f"{run_id} was removed while {_brief(run)}")
        return super().pop(run_id, *default)


class _WatchedMessages(dict[tuple[str, int], Message]):
    def __init__(self, audit: Audit) -> None:
        super().__init__()
        self._audit = audit

    def __setitem__(self, key: tuple[str, int], message: Message) -> None:
        former = self.get(key)
        super().__setitem__(key, message)
        self._audit.message_written(former, message)


def _may_follow(former: Run | None, run: Run) -> bool:
    """The life of a run, said once more, in other words than the product's table."""
    if former is None:
        return run.status is Status.QUEUED and run.epoch == 0
    if former.status in TERMINAL:
        return False
    same_epoch = run.epoch == former.epoch
    if run.status is Status.RUNNING and not same_epoch:
        fault = 1 if former.status is Status.RUNNING else 0
        return run.epoch == former.epoch + 1 and run.attempts == former.attempts + fault
    if run.status is Status.RUNNING:
        return former.status is Status.RUNNING and run.lease_until_ms >= former.lease_until_ms
    if run.status is Status.QUEUED:
        more = run.attempts - former.attempts + run.preemptions - former.preemptions
        return same_epoch and more in (0, 1)
    left_alone = former.status is Status.QUEUED and run.status is not Status.CANCELLED
    abandoned = run.finish_reason is FinishReason.ABANDONED
    return same_epoch and not left_alone and (not abandoned or run.status is Status.CANCELLED)


def _brief(run: Run | None) -> str:
    if run is None:
        return "nothing"
    return (
        f"{run.status} in epoch {run.epoch}, attempt {run.attempts}, length {run.length}, "
        f"lease until {run.lease_until_ms}"
    )


def _end(piece: Checkpoint) -> int:
    return piece.offset + len(piece.text)
