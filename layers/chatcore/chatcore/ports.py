"""Owns the few interfaces that have a real side (adapters) and a memory side (adapters.memory).

Calls are synchronous: Lambdas use them as they are, the worker runs them on threads. Asynchronous are
the two that the worker makes many times a second for each run: the engine's stream and posts. The
contract suite in tests/contract holds both sides to the same words.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from chatcore.domain.admission import Admission, Send, View
from chatcore.domain.beat import Beat
from chatcore.domain.calendar import Calendar
from chatcore.domain.chat import Chat, Message
from chatcore.domain.export import ExportState
from chatcore.domain.identity import Profile
from chatcore.domain.lanes import Lane
from chatcore.domain.ledger import Ledger
from chatcore.domain.run import Ending, Run, Usage
from chatcore.domain.stream import Checkpoint
from chatcore.domain.summary import Summary, SummaryAsked
from chatcore.domain.tiers import Tier, Tiers
from chatcore.domain.usage import DayUsage
from chatcore.protocol.queue import Control, Job

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Claimed:
    """The run is this worker's, under a new epoch."""

    run: Run


@dataclass(frozen=True, slots=True)
class Held:
    """Another worker's lease is not over."""

    lease_until_ms: int


@dataclass(frozen=True, slots=True)
class Over:
    """The run has ended, or there is no such run (any more)."""


Claim = Claimed | Held | Over


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """items: in the order asked for; next_key: where the next page starts, None at the end."""

    items: Sequence[T]
    next_key: tuple[int, str] | None


@dataclass(frozen=True, slots=True)
class Ticket:
    """A single-use right to open a socket. ticket_hash: SHA-256 in hex; the ticket itself is not kept."""

    ticket_hash: str
    user_id: str
    tier: Tier
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Swept:
    """A page of a walk through a whole table. looked_at: items, whether of interest or not; next_id: where
    the next page starts, empty at the end."""

    looked_at: int
    next_id: str


@dataclass(frozen=True, slots=True)
class ActiveRuns(Swept):
    runs: Sequence[Run]


class ChatStore(Protocol):
    def create(self, chat: Chat) -> bool:
        """False where its user's account is closed. Raises Conflict."""

    def get(self, user_id: str, chat_id: str) -> Chat | None:
        """Also a deleted one: hiding it is the service's part."""

    def newest(self, user_id: str, limit: int, after: tuple[int, str] | None) -> Page[Chat]:
        """Chats not deleted, latest activity first. after, next_key: (last_active_ms, chat_id)."""

    def all(self, user_id: str, limit: int, after_chat_id: str) -> Sequence[Chat]:
        """Also deleted ones, by their ids, from behind that one on; an empty one stands before all. Whatever
        happens in them meanwhile, they keep their place."""

    def rename(self, user_id: str, chat_id: str, title: str) -> Chat | None:
        """The renamed chat; None where there is none or it is deleted."""

    def entitle(self, user_id: str, chat_id: str, title: str) -> bool:
        """Give a title to a chat that has none. False where it has one, is deleted or not there."""

    def watch(self, user_id: str, chat_id: str, connection_id: str) -> bool:
        """Note a watcher (see `with_watcher`). False where the chat is deleted or not there."""

    def begin_compaction(self, run: Run, now_ms: int) -> bool:
        """Store the run, which makes the chat's next summary, and note it in the chat; all or none. True
        also where it is so already. False where the chat is deleted or gone, has another summary than the
        run's former one, or another compaction under way that is not stale."""

    def commit_summary(self, run: Run) -> bool:
        """From now on the summary that the run has made is the chat's. True also where it is so already.
        False where the chat is deleted or gone, or another run is at it or has been."""

    def end_compaction(self, user_id: str, chat_id: str, run_id: str) -> None:
        """Note that the run is not at it any more, if it was."""

    def mark_deleted(self, user_id: str, chat_id: str, now_ms: int) -> Chat | None:
        """Hide it. The chat as it is now (deleted before: unchanged); None where there is none."""

    def remove(self, user_id: str, chat_id: str) -> None:
        """Remove the chat's own item, if it is there. Its messages must be gone already."""


class MessageStore(Protocol):
    def newest(self, chat_id: str, limit: int, before_seq: int | None) -> Page[Message]:
        """Newest first, from below before_seq on. next_key: (seq, "")."""

    def oldest(self, chat_id: str, limit: int, after_seq: int) -> Sequence[Message]:
        """In reading order, from behind that place on."""

    def between(self, chat_id: str, after_seq: int, up_to_seq: int) -> Sequence[Message]:
        """All of them, in reading order, the last place included."""

    def remove(self, chat_id: str, messages: Sequence[Message]) -> None:
        """Remove these, whichever are still there."""


class SummaryStore(Protocol):
    """Summaries as their runs have made them. Which of them is the chat's, the chat says."""

    def put(self, summary: Summary) -> None:
        """In place of what the same run has put before."""

    def get(self, chat_id: str, summary_id: str) -> Summary | None: ...

    def all(self, chat_id: str) -> Sequence[Summary]:
        """Also those that are not the chat's, yet or any more."""

    def remove(self, chat_id: str, kept_id: str | None = None) -> None:
        """Remove all of the chat's but the one to be kept."""


MAX_CHECKPOINTS = 25
"""In one call: a DynamoDB batch (vendor's page: BatchWriteItem)."""


class RunStore(Protocol):
    def view(self, send: Send) -> View:
        """What `admission.decide` needs, consistent, in one round trip."""

    def admit(self, admission: Admission) -> None:
        """Write run, message, chat and ledger, all or none. Raises Conflict."""

    def put(self, run: Run) -> None:
        """Store a run of the background by itself, unless there is or was one of its id."""

    def get(self, run_id: str) -> Run | None: ...

    def claim(self, run_id: str, worker_id: str, inbox: str, now_ms: int) -> Claim:
        """Take a queued run, or one whose lease is over, under the next epoch."""

    def renew(self, run_id: str, epoch: int, lease_until_ms: int, charged: int = 0) -> Run | None:
        """Keep the lease of this epoch, never making it shorter, and note what the run has cost so far;
        None when it is lost."""

    def hand_back(
        self, run_id: str, epoch: int, spent: Usage, fault: bool = False, preempted: bool = False
    ) -> bool:
        """Queue the run again from this epoch; fault counts an attempt, preempted a preemption. False
        when it is lost."""

    def end(self, run: Run, ending: Ending) -> bool:
        """End this epoch of the run: run, answer, chat, ledger and day of usage, all or none. A run in
        the background is gone with its end: what it was for has been written before.

        False when the run is no longer in this epoch and a state that the event allows.
        """

    def add_viewer(self, run_id: str, connection_id: str) -> Run | None:
        """Let the connection have the frames of an active run, whoever runs it; None when over."""

    def note_requeued(self, run: Run, now_ms: int) -> bool:
        """Note that the active run's job is put into a lane anew now. False where it is not as it
        was seen: somebody else has just done so, or has claimed it."""

    def request_cancel(self, run_id: str) -> Run | None:
        """Note on a running run that it is to be cancelled; None when it is not running."""

    def remove(self, run_ids: Sequence[str]) -> None:
        """Remove runs and their checkpoints, whichever are still there. Of a run that has ended, or is of
        the background, its id stays for as long as the run would have: a late repeat must not make it
        anew."""

    def active(self, limit: int, after_id: str) -> ActiveRuns:
        """Those answers in the making that are among so many stored runs, in no order, behind the run of
        that id; an empty one stands before all. As they were a moment ago."""

    def put_checkpoints(self, checkpoints: Sequence[Checkpoint], now_ms: int) -> None:
        """Write these, at most MAX_CHECKPOINTS, each by itself, no two in one place. Raises
        StoreUnavailable where not all are known to be written: they may be put again."""

    def checkpoints(self, run_id: str) -> Sequence[Checkpoint]:
        """All pieces of all epochs, consistent, in no promised order."""


class LedgerStore(Protocol):
    def get(self, user_id: str) -> Ledger: ...

    def put(self, ledger: Ledger, former_version: int) -> None:
        """Write the account where it is still of that version. Raises Conflict."""

    def charge(self, user_id: str, run_id: str, charged: int) -> None:
        """Note what the run has cost so far, in virtual time, unless it has been settled."""

    def forget(self, user_id: str) -> bool:
        """Remove a closed account; True also where there is none. False where it is open."""


class UsageStore(Protocol):
    def days(self, user_id: str, first_day: str, last_day: str) -> Sequence[DayUsage]:
        """The user's days with use, both ends included, oldest first. `RunStore.end` writes them."""

    def remove(self, user_id: str) -> None:
        """Remove all of the user's days."""


class CalendarStore(Protocol):
    def get(self, tier: Tier) -> Calendar:
        """As it was a moment ago: that much is enough for those who serve."""

    def advance(self, tier: Tier, front: int) -> int:
        """Move the front on, never back. The front as it is then."""

    def publish(self, calendar: Calendar, former_ms: int) -> bool:
        """Tell its backlog and where who comes new starts; the front stays. False where somebody else has
        done so since the backlog of former_ms."""


class BeatStore(Protocol):
    def put(self, beat: Beat) -> None:
        """In place of the worker's last one."""

    def get(self, worker_id: str) -> Beat | None: ...

    def all(self) -> Sequence[Beat]:
        """Of the whole fleet; also old ones."""

    def remove(self, worker_id: str) -> None:
        """Forget the worker, if it is known."""


class TicketStore(Protocol):
    def put(self, ticket: Ticket) -> None: ...

    def take(self, ticket_hash: str, now_ms: int) -> Ticket | None:
        """Use it up. None when there is none, it is used, or it has expired."""

    def remove_of(self, user_id: str, limit: int, after_hash: str) -> Swept:
        """Remove the user's among so many stored tickets, in no order, behind the one of that hash; an
        empty one stands before all."""


@dataclass(frozen=True, slots=True)
class Stores:
    chats: ChatStore
    messages: MessageStore
    summaries: SummaryStore
    runs: RunStore
    ledgers: LedgerStore
    usage: UsageStore
    tickets: TicketStore
    calendars: CalendarStore
    beats: BeatStore


@dataclass(frozen=True, slots=True)
class Received(Generic[T]):
    """One delivery. handle: what acknowledges this very delivery; sent_ms: when the queue took it."""

    item: T
    handle: str
    sent_ms: int


class Lanes(Protocol):
    def send(self, lane: Lane, job: Job, delay_s: int = 0) -> None:
        """delay_s: nobody gets it sooner."""

    def waiting(self, lane: Lane) -> int:
        """About how many jobs wait there for somebody to take them."""

    def receive(self, lane: Lane, wait_s: int) -> Received[Job] | None:
        """At most one job, waiting up to wait_s for it; it is then hidden from others for a while."""

    def acknowledge(self, lane: Lane, handle: str) -> None:
        """The job is done with. A handle that is no longer valid is not an error."""

    def hide(self, lane: Lane, handle: str, seconds: int) -> None:
        """Keep the delivery to ourselves so much longer; 0 gives it to whoever asks next."""

    def bury(self, job: Job, why: Mapping[str, str]) -> None:
        """Put a job that will not be tried again where an operator finds it, with what is known."""


class Inboxes(Protocol):
    """Workers' own queues. An inbox is named by its worker's id."""

    def open(self, worker_id: str) -> str:
        """Make the inbox; returns its address, which `send` takes."""

    def close(self, worker_id: str) -> None: ...

    def send(self, inbox: str, control: Control) -> bool:
        """False when there is no such inbox (any more)."""

    def receive(self, inbox: str, wait_s: int) -> Sequence[Control]:
        """Up to ten, waiting up to wait_s for the first; each is handed out once."""


class Posted(StrEnum):
    SENT = "sent"
    GONE = "gone"
    """The connection is closed: forget it."""
    THROTTLED = "throttled"
    """More than the account may post in a second: the same frame may be posted again."""
    FAILED = "failed"
    """In trouble: likewise."""


class Posts(Protocol):
    """The Lambdas' way to viewers: a frame now and then."""

    def post(self, connection_id: str, frame: bytes) -> Posted: ...


class AsyncPosts(Protocol):
    """The worker's: thousands of frames a second, on its event loop. The outcomes are the same."""

    async def post(self, connection_id: str, frame: bytes) -> Posted: ...


class Purges(Protocol):
    def start(self, user_id: str, chat_id: str) -> None:
        """Start removing a deleted chat. Starting it again while it runs changes nothing."""


class AccountPurges(Protocol):
    def start(self, user_id: str) -> None:
        """Start removing all of a user. Starting it again changes nothing."""


class ExportJobs(Protocol):
    def start(self, user_id: str, export_id: str) -> None:
        """Start writing all that there is of a user to files. Starting the same again changes nothing."""

    def state(self, user_id: str, export_id: str) -> ExportState | None:
        """None where this user has asked for no such export."""


class ExportFiles(Protocol):
    """What exports have written, by user, export and name. It goes by itself after some days."""

    def put(self, user_id: str, export_id: str, name: str, body: bytes) -> None:
        """In place of what is there under that name."""

    def get(self, user_id: str, export_id: str, name: str) -> bytes | None: ...

    def link(self, user_id: str, export_id: str, name: str, seconds: int) -> str:
        """A URL that whoever has it can fetch the file by, for so long."""

    def remove(self, user_id: str) -> bool:
        """Remove the user's files, of all exports, so many as go at once. False where there may be more."""


class UserPool(Protocol):
    """Who may sign in."""

    def profile(self, user_id: str) -> Profile | None: ...

    def lock_out(self, user_id: str) -> None:
        """Nobody signs in as this user any more, nor stays signed in for longer than his last token
        lives. Nothing happens where there is no such user."""

    def remove(self, user_id: str) -> None:
        """Remove the user, if there is one."""


class Compactions(Protocol):
    def start(self, asked: SummaryAsked) -> None:
        """Start making a chat's next summary. Starting the same again changes nothing."""


class Waits(Protocol):
    """Steps of executions that wait for a run to say how it ended. Whose step is over, hears nothing."""

    def succeed(self, token: str) -> None: ...

    def fail(self, token: str, code: str, cause: str) -> None:
        """cause: for an operator; it must hold nothing of a chat."""

    def beat(self, token: str) -> bool:
        """The run is being worked on. False where nobody waits for it any more."""


class TierSource(Protocol):
    """The tiers' settings, which an operator may change at any time. Never raises: whatever is wrong
    with the newest ones, the last good ones hold."""

    def current(self) -> Tiers:
        """Not older than a minute, as long as they can be read; rarely waits for that."""

    def refresh(self) -> Tiers:
        """The same, for when nobody waits: it reads them anew early, so that `current` need not."""


@dataclass(frozen=True, slots=True)
class Generated:
    """A piece of the engine's answer. The last one has a finish_reason; counts are totals so far."""

    text: str
    usage: Usage
    finish_reason: str | None = None


class Engine(Protocol):
    def generate(self, prompt: str, max_output_tokens: int) -> AsyncGenerator[Generated, None]:
        """Closing the iterator cancels. Raises EngineUnavailable, EngineFailed, EngineRefused."""

    async def ready(self) -> bool: ...
