"""Owns the stores in memory. Each call is atomic under one lock, as a DynamoDB transaction is.

Left out: throttling, time-outs, item size limits, eventual consistency and TTL deletion (an expired
ticket is refused by its time, as on DynamoDB, where it may linger).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from chatcore.adapters.memory.chats import MemoryChats, MemorySummaries
from chatcore.adapters.memory.database import MemoryDatabase
from chatcore.domain import lease
from chatcore.domain import ledger as accounts
from chatcore.domain.admission import Admission, Send, View
from chatcore.domain.beat import Beat
from chatcore.domain.calendar import Calendar
from chatcore.domain.chat import Chat, Message, answer_of
from chatcore.domain.errors import Conflict
from chatcore.domain.ledger import Ledger
from chatcore.domain.run import ACTIVE, TERMINAL, Ending, Kind, Run, Status, Usage, ended, sources
from chatcore.domain.stream import Checkpoint
from chatcore.domain.tiers import Tier
from chatcore.domain.usage import DayUsage, day_of
from chatcore.ports import ActiveRuns, Claim, Claimed, Held, Over, Page, Stores, Swept, Ticket


def memory_stores(database: MemoryDatabase) -> Stores:
    return Stores(
        chats=MemoryChats(database),
        messages=MemoryMessages(database),
        summaries=MemorySummaries(database),
        runs=MemoryRuns(database),
        ledgers=MemoryLedgers(database),
        usage=MemoryUsage(database),
        tickets=MemoryTickets(database),
        calendars=MemoryCalendars(database),
        beats=MemoryBeats(database),
    )


@dataclass(frozen=True, slots=True)
class MemoryMessages:
    database: MemoryDatabase

    def newest(self, chat_id: str, limit: int, before_seq: int | None) -> Page[Message]:
        with self.database.lock:
            items = [
                message
                for (owner, seq), message in sorted(self.database.messages.items(), reverse=True)
                if owner == chat_id and (before_seq is None or seq < before_seq)
            ]
        page = items[:limit]
        return Page(page, (page[-1].seq, "") if len(items) > limit else None)

    def oldest(self, chat_id: str, limit: int, after_seq: int) -> Sequence[Message]:
        with self.database.lock:
            items = [
                message
                for (owner, seq), message in sorted(self.database.messages.items())
                if owner == chat_id and seq > after_seq
            ]
        return items[:limit]

    def between(self, chat_id: str, after_seq: int, up_to_seq: int) -> Sequence[Message]:
        with self.database.lock:
            return [
                message
                for (owner, seq), message in sorted(self.database.messages.items())
                if owner == chat_id and after_seq < seq <= up_to_seq
            ]

    def remove(self, chat_id: str, messages: Sequence[Message]) -> None:
        with self.database.lock:
            for message in messages:
                self.database.messages.pop((chat_id, message.seq), None)


@dataclass(frozen=True, slots=True)
class MemoryRuns:
    database: MemoryDatabase

    def view(self, send: Send) -> View:
        user_id = send.user.user_id
        with self.database.lock:
            return View(
                chat=self.database.chats.get((user_id, send.target_chat_id)),
                run=self.database.runs.get(send.run_id),
                ledger=self.database.ledgers.get(user_id, Ledger(user_id)),
                calendar=_calendar(self.database, send.user.tier),
                run_is_gone=send.run_id in self.database.gone_run_ids,
            )

    def admit(self, admission: Admission) -> None:
        chat_key = (admission.chat.user_id, admission.chat.chat_id)
        user_id = admission.ledger.user_id
        with self.database.lock:
            ledger = self.database.ledgers.get(user_id, Ledger(user_id))
            found = self.database.chats.get(chat_key)
            former = admission.former_chat
            if (
                admission.run.run_id in self.database.runs
                or admission.run.run_id in self.database.gone_run_ids
                or ledger.version != admission.former_ledger_version
                or (found is None) != (former is None)
                or (
                    found is not None
                    and former is not None
                    and (
                        found.active_run_id is not None
                        or found.deleted_ms is not None
                        or found.last_seq != former.last_seq
                    )
                )
            ):
                raise Conflict(admission.run.run_id)
            chat = admission.chat
            if found is not None:
                # A title may have been set meanwhile, a summary begun or committed.
                chat = replace(
                    found,
                    active_run_id=admission.run.run_id,
                    last_seq=chat.last_seq,
                    last_active_ms=chat.last_active_ms,
                    watchers=_watched(found, former, chat),
                )
            self.database.chats[chat_key] = chat
            self.database.runs[admission.run.run_id] = admission.run
            message = admission.message
            self.database.messages[message.chat_id, message.seq] = message
            self.database.ledgers[user_id] = admission.ledger

    def put(self, run: Run) -> None:
        with self.database.lock:
            database = self.database
            if run.run_id not in database.runs and run.run_id not in database.gone_run_ids:
                self._store(run)

    def get(self, run_id: str) -> Run | None:
        with self.database.lock:
            return self.database.runs.get(run_id)

    def claim(self, run_id: str, worker_id: str, inbox: str, now_ms: int) -> Claim:
        with self.database.lock:
            run = self.database.runs.get(run_id)
            if run is None or run.status not in ACTIVE:
                return Over()
            taken_over = run.status is Status.RUNNING
            if taken_over and not lease.may_take_over(now_ms, run.lease_until_ms):
                return Held(run.lease_until_ms)
            claimed = replace(
                run,
                status=Status.RUNNING,
                epoch=run.epoch + 1,
                attempts=run.attempts + (1 if taken_over else 0),
                lost=accounts.lost_with(run),
                charged=0,
                worker_id=worker_id,
                inbox=inbox,
                lease_until_ms=lease.until(now_ms),
                started_ms=run.started_ms or now_ms,
            )
            self.database.runs[run_id] = claimed
            return Claimed(claimed)

    def renew(self, run_id: str, epoch: int, lease_until_ms: int, charged: int = 0) -> Run | None:
        with self.database.lock:
            run = self._running(run_id, epoch)
            if run is None or run.lease_until_ms > lease_until_ms:
                return None
            return self._store(replace(run, lease_until_ms=lease_until_ms, charged=charged))

    def hand_back(
        self, run_id: str, epoch: int, spent: Usage, fault: bool = False, preempted: bool = False
    ) -> bool:
        with self.database.lock:
            run = self._running(run_id, epoch)
            if run is None:
                return False
            self._store(
                replace(
                    run,
                    status=Status.QUEUED,
                    attempts=run.attempts + (1 if fault else 0),
                    preemptions=run.preemptions + (1 if preempted else 0),
                    spent=spent,
                    charged=0,
                    worker_id=None,
                    inbox=None,
                    lease_until_ms=0,
                )
            )
            return True

    def end(self, run: Run, ending: Ending) -> bool:
        with self.database.lock:
            stored = self.database.runs.get(run.run_id)
            if (
                stored is None
                or stored.epoch != run.epoch
                or stored.status is not run.status
                or stored.status not in sources(ending.event)
            ):
                return False
            if run.kind is not Kind.ANSWER:
                self._store(ended(stored, ending))
                del self.database.runs[run.run_id]
                return True
            ledger = self.database.ledgers.get(run.user_id, Ledger(run.user_id))
            cost = accounts.cost_tokens(ending.usage)
            settled = accounts.settle(ledger, run.run_id, cost, run.weight, run.lost)
            if settled is None:
                return False
            self.database.ledgers[run.user_id] = settled
            self._count(run, ending)
            self._store(ended(stored, ending))
            answer = answer_of(run, ending)
            if answer is not None:
                self.database.messages[answer.chat_id, answer.seq] = answer
            chat = self.database.chats[run.user_id, run.chat_id]
            self.database.chats[run.user_id, run.chat_id] = replace(
                chat,
                active_run_id=None,
                last_active_ms=ending.ended_ms,
                worker_id=run.worker_id or chat.worker_id,
                usage=chat.usage + ending.usage,
                watchers=chat.watchers - ending.gone,
                context_tokens=(
                    chat.context_tokens if ending.context_tokens is None else ending.context_tokens
                ),
            )
            return True

    def add_viewer(self, run_id: str, connection_id: str) -> Run | None:
        with self.database.lock:
            run = self.database.runs.get(run_id)
            if run is None or run.status not in ACTIVE:
                return None
            return self._store(replace(run, viewers=run.viewers | {connection_id}))

    def note_requeued(self, run: Run, now_ms: int) -> bool:
        with self.database.lock:
            stored = self.database.runs.get(run.run_id)
            if (
                stored is None
                or stored.status not in ACTIVE
                or (stored.status, stored.epoch, stored.requeued_ms)
                != (run.status, run.epoch, run.requeued_ms)
            ):
                return False
            self._store(replace(stored, requeued_ms=now_ms))
            return True

    def request_cancel(self, run_id: str) -> Run | None:
        with self.database.lock:
            run = self.database.runs.get(run_id)
            if run is None or run.status is not Status.RUNNING:
                return None
            return self._store(replace(run, cancel_requested=True))

    def remove(self, run_ids: Sequence[str]) -> None:
        gone = set(run_ids)
        with self.database.lock:
            for run_id in gone:
                run = self.database.runs.pop(run_id, None)
                if run is not None and (run.status in TERMINAL or run.kind is not Kind.ANSWER):
                    self.database.gone_run_ids.add(run_id)
            for key in [key for key in self.database.checkpoints if key[0] in gone]:
                del self.database.checkpoints[key]

    def active(self, limit: int, after_id: str) -> ActiveRuns:
        with self.database.lock:
            behind = sorted(run_id for run_id in self.database.runs if run_id > after_id)
            page = [self.database.runs[run_id] for run_id in behind[:limit]]
        return ActiveRuns(
            looked_at=len(page),
            next_id=page[-1].run_id if len(behind) > limit else "",
            runs=[run for run in page if run.status in ACTIVE and run.kind is Kind.ANSWER],
        )

    def put_checkpoints(self, checkpoints: Sequence[Checkpoint], now_ms: int) -> None:
        with self.database.lock:
            for piece in checkpoints:
                self.database.checkpoints[piece.run_id, piece.epoch, piece.offset] = piece

    def checkpoints(self, run_id: str) -> Sequence[Checkpoint]:
        with self.database.lock:
            return [piece for key, piece in self.database.checkpoints.items() if key[0] == run_id]

    def _running(self, run_id: str, epoch: int) -> Run | None:
        run = self.database.runs.get(run_id)
        return run if run and run.status is Status.RUNNING and run.epoch == epoch else None

    def _count(self, run: Run, ending: Ending) -> None:
        if ending.usage == Usage():
            return
        day = day_of(ending.ended_ms)
        former = self.database.usage.get((run.user_id, day), DayUsage(day))
        self.database.usage[run.user_id, day] = former.with_run(ending.usage)

    def _store(self, run: Run) -> Run:
        self.database.runs[run.run_id] = run
        return run


@dataclass(frozen=True, slots=True)
class MemoryLedgers:
    database: MemoryDatabase

    def get(self, user_id: str) -> Ledger:
        with self.database.lock:
            return self.database.ledgers.get(user_id, Ledger(user_id))

    def put(self, ledger: Ledger, former_version: int) -> None:
        with self.database.lock:
            if self.get(ledger.user_id).version != former_version:
                raise Conflict(ledger.user_id)
            self.database.ledgers[ledger.user_id] = ledger

    def charge(self, user_id: str, run_id: str, charged: int) -> None:
        with self.database.lock:
            ledger = self.get(user_id)
            if run_id in ledger.charged:
                self.database.ledgers[user_id] = replace(
                    ledger,
                    version=ledger.version + 1,
                    charged={**ledger.charged, run_id: charged},
                )

    def forget(self, user_id: str) -> bool:
        with self.database.lock:
            if user_id in self.database.ledgers and not self.database.is_closed(user_id):
                return False
            self.database.ledgers.pop(user_id, None)
            return True


@dataclass(frozen=True, slots=True)
class MemoryUsage:
    database: MemoryDatabase

    def days(self, user_id: str, first_day: str, last_day: str) -> Sequence[DayUsage]:
        with self.database.lock:
            return [
                used
                for (owner, day), used in sorted(self.database.usage.items())
                if owner == user_id and first_day <= day <= last_day
            ]

    def remove(self, user_id: str) -> None:
        with self.database.lock:
            for key in [key for key in self.database.usage if key[0] == user_id]:
                del self.database.usage[key]


@dataclass(frozen=True, slots=True)
class MemoryCalendars:
    database: MemoryDatabase

    def get(self, tier: Tier) -> Calendar:
        with self.database.lock:
            return _calendar(self.database, tier)

    def advance(self, tier: Tier, front: int) -> int:
        with self.database.lock:
            calendar = _calendar(self.database, tier)
            moved = replace(calendar, front=max(front, calendar.front))
            self.database.calendars[tier] = moved
            return moved.front

    def publish(self, calendar: Calendar, former_ms: int) -> bool:
        with self.database.lock:
            stored = _calendar(self.database, calendar.tier)
            if stored.backlog.at_ms != former_ms:
                return False
            self.database.calendars[calendar.tier] = replace(calendar, front=stored.front)
            return True


@dataclass(frozen=True, slots=True)
class MemoryBeats:
    database: MemoryDatabase

    def put(self, beat: Beat) -> None:
        with self.database.lock:
            self.database.beats[beat.worker_id] = beat

    def get(self, worker_id: str) -> Beat | None:
        with self.database.lock:
            return self.database.beats.get(worker_id)

    def all(self) -> Sequence[Beat]:
        with self.database.lock:
            return list(self.database.beats.values())

    def remove(self, worker_id: str) -> None:
        with self.database.lock:
            self.database.beats.pop(worker_id, None)


def _calendar(database: MemoryDatabase, tier: Tier) -> Calendar:
    return database.calendars.get(tier, Calendar(tier))


@dataclass(frozen=True, slots=True)
class MemoryTickets:
    database: MemoryDatabase

    def put(self, ticket: Ticket) -> None:
        with self.database.lock:
            self.database.tickets[ticket.ticket_hash] = ticket

    def take(self, ticket_hash: str, now_ms: int) -> Ticket | None:
        with self.database.lock:
            ticket = self.database.tickets.pop(ticket_hash, None)
        return ticket if ticket is not None and now_ms < ticket.expires_ms else None

    def remove_of(self, user_id: str, limit: int, after_hash: str) -> Swept:
        with self.database.lock:
            behind = sorted(each for each in self.database.tickets if each > after_hash)
            page = behind[:limit]
            for ticket_hash in page:
                if self.database.tickets[ticket_hash].user_id == user_id:
                    del self.database.tickets[ticket_hash]
        return Swept(len(page), page[-1] if len(behind) > limit else "")


def _watched(found: Chat, former: Chat | None, chat: Chat) -> frozenset[str]:
    """Added to where it can be: another may have been noted meanwhile."""
    known = former.watchers if former else frozenset()
    return found.watchers | chat.watchers if known <= chat.watchers else chat.watchers
