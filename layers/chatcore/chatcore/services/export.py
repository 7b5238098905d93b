"""Export: write all that there is of a user to files, a file a step, and say where they are.

A step that is repeated writes the same file again, from where the step before has ended; the manifest
comes last, so whoever finds it finds all the rest. Chats go by their ids, which stay, and not by their
activity: a chat in which something happens meanwhile would be passed over.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from chatcore.domain.admission import ACCOUNT_CLOSED_WORDS
from chatcore.domain.errors import Code, Refusal
from chatcore.domain.export import ExportState
from chatcore.domain.identity import User, export_id_for
from chatcore.domain.moment import rfc3339
from chatcore.ports import ExportFiles, ExportJobs, Stores, UserPool
from chatcore.protocol.export import (
    MANIFEST,
    AccountLine,
    ChatLine,
    DayLine,
    File,
    Line,
    Manifest,
    MessageLine,
    ProfileLine,
    Progress,
    SummaryLine,
    decode_manifest,
    encode_line,
    encode_manifest,
)

HOUR_MS = 3600 * 1000
LINK_S = 900
"""For so long a link is good: enough to begin a download, little to be found in a log later."""

MESSAGES_AT_ONCE = 100
FIRST_DAY, LAST_DAY = "0000-00-00", "9999-99-99"


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one file, so that a step is done in seconds and in little memory: it ends with what passes one of
    them."""

    lines: int = 2_000
    bytes: int = 4 * 1024 * 1024
    chats: int = 200


class Written(StrEnum):
    MORE = "more"
    DONE = "done"
    CLOSED = "closed"
    """The account is being deleted: nothing more is written of it."""


@dataclass(frozen=True, slots=True)
class Step:
    state: Written
    progress: Progress


@dataclass(frozen=True, slots=True)
class Export:
    """manifest, links, links_end_ms: of one that is ready; links: by the names of its files."""

    export_id: str
    state: ExportState
    manifest: Manifest | None = None
    links: Mapping[str, str] = field(default_factory=dict)
    links_end_ms: int = 0


def start_export(stores: Stores, jobs: ExportJobs, user: User, now_ms: int) -> Export | Refusal:
    """One an hour: asked for again within it, that one, however it stands."""
    if stores.ledgers.get(user.user_id).is_closed:
        return Refusal(Code.ACCOUNT_CLOSED, ACCOUNT_CLOSED_WORDS)
    export_id = export_id_for(user.user_id, now_ms // HOUR_MS)
    jobs.start(user.user_id, export_id)
    state = jobs.state(user.user_id, export_id)
    return Export(export_id, state or ExportState.PREPARING)


def read_export(
    jobs: ExportJobs, files: ExportFiles, user: User, export_id: str, now_ms: int
) -> Export | Refusal:
    """With links that whoever has them can fetch its files by."""
    state = jobs.state(user.user_id, export_id)
    if state is None:
        return _not_found()
    if state is not ExportState.READY:
        return Export(export_id, state)
    found = files.get(user.user_id, export_id, MANIFEST)
    if found is None:
        # It was ready once. Files go after some days.
        return _not_found()
    manifest = decode_manifest(found)
    links = {
        file.name: files.link(user.user_id, export_id, file.name, LINK_S) for file in manifest.files
    }
    return Export(export_id, state, manifest, links, now_ms + LINK_S * 1000)


def write_file(
    stores: Stores,
    pool: UserPool,
    files: ExportFiles,
    user_id: str,
    export_id: str,
    progress: Progress,
    now_ms: int,
    limits: Limits | None = None,
) -> Step:
    """The next file, or behind the last one the manifest. Raises StoreUnavailable: do it again."""
    ledger = stores.ledgers.get(user_id)
    if ledger.is_closed:
        return Step(Written.CLOSED, progress)
    page = _Page(limits or Limits())
    if not progress.files:
        page.add(ProfileLine.of(user_id, pool.profile(user_id)))
        page.add(AccountLine.of(ledger, now_ms))
        for day in stores.usage.days(user_id, FIRST_DAY, LAST_DAY):
            page.add(DayLine.of(day))
    chat_id, seq, is_over = _chats(stores, page, user_id, progress)
    written = progress.files
    if page.lines:
        name = f"part-{len(written) + 1:05d}.jsonl"
        files.put(user_id, export_id, name, bytes(page.body))
        written = (*written, File(name=name, lines=page.lines, bytes=len(page.body)))
    counts = dict(Counter(progress.counts) + page.counts)
    if is_over:
        manifest = Manifest(
            export_id=export_id, made_at=rfc3339(now_ms), files=written, counts=counts
        )
        files.put(user_id, export_id, MANIFEST, encode_manifest(manifest))
    after = Progress(chat_id=chat_id, seq=seq, files=written, counts=counts)
    return Step(Written.DONE if is_over else Written.MORE, after)


class _Page:
    """The file that is being gathered."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.body = bytearray()
        self.counts: Counter[str] = Counter()

    @property
    def lines(self) -> int:
        return self.counts.total()

    @property
    def is_full(self) -> bool:
        return (
            self.lines >= self._limits.lines
            or len(self.body) >= self._limits.bytes
            or self.counts["chat"] >= self._limits.chats
        )

    def add(self, line: Line) -> None:
        self.body += encode_line(line)
        self.counts[str(line.__struct_config__.tag)] += 1


def _chats(
    stores: Stores, page: _Page, user_id: str, progress: Progress
) -> tuple[str, int | None, bool]:
    """Fill the page from where the last one has ended: the chat that was begun last, its last place (None
    where it is through), and whether all chats are."""
    chat_id, seq = progress.chat_id, progress.seq
    while not page.is_full:
        if seq is not None:
            messages = stores.messages.oldest(chat_id, MESSAGES_AT_ONCE, seq)
            for message in messages:
                page.add(MessageLine.of(message))
            seq = messages[-1].seq if len(messages) == MESSAGES_AT_ONCE else None
            continue
        found = stores.chats.all(user_id, 1, chat_id)
        if not found:
            return chat_id, None, True
        (chat,) = found
        chat_id = chat.chat_id
        if chat.deleted_ms is not None:
            continue
        page.add(ChatLine.of(chat))
        for summary in stores.summaries.all(chat_id):
            page.add(SummaryLine.of(summary, chat))
        seq = 0
    return chat_id, seq, False


def _not_found() -> Refusal:
    return Refusal(Code.EXPORT_NOT_FOUND, "There is no such export, or it is gone by now.")
