"""Exports: everything of a user is in the files, once, and nothing of anybody else."""

from dataclasses import dataclass, field, replace

import msgspec
import pytest

from chatcore.adapters.memory.accounts import MemoryExportFiles, MemoryUserPool
from chatcore.adapters.memory.states import MemoryExportJobs
from chatcore.domain.chat import Chat, Message, Role
from chatcore.domain.errors import Code, Refusal
from chatcore.domain.export import ExportState
from chatcore.domain.identity import Profile, User
from chatcore.domain.run import FinishReason, Usage
from chatcore.domain.summary import Summary
from chatcore.domain.tiers import Tier
from chatcore.protocol.export import (
    MANIFEST,
    AccountLine,
    ChatLine,
    DayLine,
    Line,
    MessageLine,
    ProfileLine,
    Progress,
    SummaryLine,
    as_object,
    decode_lines,
    decode_manifest,
    progress_of,
)
from chatcore.services.accounts import close
from chatcore.services.export import (
    HOUR_MS,
    LINK_S,
    MESSAGES_AT_ONCE,
    Export,
    Limits,
    Step,
    Written,
    read_export,
    start_export,
    write_file,
)
from tests.contract.sends import ALICE, NOW_MS
from tests.unit.services.test_submit import SEND, Desk

BOB = User("user-bob", Tier.FREE)
EXPORT = "e_1"
SMALL = Limits(lines=7, bytes=1_000_000, chats=3)


@dataclass
class Press:
    desk: Desk = field(default_factory=Desk)
    pool: MemoryUserPool = field(default_factory=MemoryUserPool)
    files: MemoryExportFiles = field(default_factory=MemoryExportFiles)

    def step(self, progress: Progress | None = None, limits: Limits = SMALL) -> Step:
        # As the state machine carries it.
        carried = msgspec.json.decode(msgspec.json.encode(as_object(progress or Progress())))
        return write_file(
            self.desk.stores,
            self.pool,
            self.files,
            ALICE.user_id,
            EXPORT,
            progress_of(carried),
            self.desk.clock(),
            limits,
        )

    def exported(self, limits: Limits = SMALL, repeats: int = 1) -> list[Line]:
        """All lines, after a whole export each of whose steps is done so often."""
        progress = Progress()
        while True:
            for _ in range(repeats):
                step = self.step(progress, limits)
            progress = step.progress
            if step.state is Written.DONE:
                break
        return self.lines()

    def lines(self) -> list[Line]:
        body = self.files.get(ALICE.user_id, EXPORT, MANIFEST)
        assert body is not None
        manifest = decode_manifest(body)
        lines: list[Line] = []
        for file in manifest.files:
            part = self.files.files[ALICE.user_id, EXPORT, file.name]
            found = decode_lines(part)
            assert (len(found), len(part)) == (file.lines, file.bytes)
            lines += found
        assert sum(manifest.counts.values()) == len(lines)
        assert set(self.files.files) == {
            (ALICE.user_id, EXPORT, name)
            for name in (*(file.name for file in manifest.files), MANIFEST)
        }
        return lines

    def talk(self, user: User, chat_id: str, messages: int, deleted_ms: int | None = None) -> None:
        store = self.desk.database
        store.chats[user.user_id, chat_id] = Chat(
            user.user_id,
            chat_id,
            f"About {chat_id} ünd 😀",
            NOW_MS,
            NOW_MS + messages,
            deleted_ms=deleted_ms,
            usage=Usage(10, 4, 5),
            summary_id="b_2",
        )
        for number in range(messages):
            seq = NOW_MS + number
            answer = bool(number % 2)
            store.messages[chat_id, seq] = Message(
                chat_id,
                seq,
                f"m_{chat_id}_{number}",
                Role.ASSISTANT if answer else Role.USER,
                f"Line {number}\nof {chat_id}\u2028 «ß»",
                f"r_{number // 2}",
                seq,
                FinishReason.STOP if answer else None,
                Usage(3, 1, 2) if answer else None,
            )


@pytest.fixture
def press() -> Press:
    return Press()


def test_everything_is_in_it_once_and_in_reading_order(press: Press) -> None:
    press.pool.profiles[ALICE.user_id] = Profile("alice@example.com", True, Tier.PRO, NOW_MS)
    run = press.desk.submitted().run
    press.desk.complete(run.run_id)
    for number in range(5):
        press.talk(ALICE, f"c_{number}", messages=2 * number)
        press.talk(BOB, f"c_bob_{number}", messages=2)
    for version in (1, 2):
        press.desk.stores.summaries.put(
            Summary("c_3", f"b_{version}", version, NOW_MS, "## Facts", NOW_MS)
        )
    lines = press.exported()
    (profile,) = [line for line in lines if isinstance(line, ProfileLine)]
    assert (profile.email, profile.tier) == ("alice@example.com", Tier.PRO)
    (account,) = [line for line in lines if isinstance(line, AccountLine)]
    assert (account.settled_runs, account.settled_tokens, account.active_runs) == (1, 20, 0)
    assert "1 answers have been charged, with 20 tokens in all" in account.words[0]
    # Of both budgets.
    assert len(account.words) == 4
    (day,) = [line for line in lines if isinstance(line, DayLine)]
    assert (day.day, day.runs, day.usage.output_tokens) == ("2027-01-15", 1, 5)
    database = press.desk.database
    mine = {chat_id for (owner, chat_id) in database.chats if owner == ALICE.user_id}
    chats = [line for line in lines if isinstance(line, ChatLine)]
    assert [chat.chat_id for chat in chats] == sorted(mine)
    told = [(m.chat_id, m.message_id, m.text) for m in lines if isinstance(m, MessageLine)]
    assert told == [
        (message.chat_id, message.message_id, message.text)
        for key, message in sorted(database.messages.items())
        if message.chat_id in mine
    ]
    summaries = [line for line in lines if isinstance(line, SummaryLine)]
    assert [(each.version, each.in_use) for each in summaries] == [(1, False), (2, True)]
    # Each of a chat's lines is behind its own.
    at = {chat.chat_id: lines.index(chat) for chat in chats}
    for place, line in enumerate(lines):
        if isinstance(line, MessageLine | SummaryLine):
            assert max((begun, chat_id) for chat_id, begun in at.items() if begun < place)[1] == (
                line.chat_id
            )


@pytest.mark.parametrize("limits", [SMALL, Limits(lines=1), Limits(bytes=1), Limits(chats=1), None])
@pytest.mark.parametrize(
    "messages", [0, 1, MESSAGES_AT_ONCE - 1, MESSAGES_AT_ONCE, MESSAGES_AT_ONCE + 1]
)
def test_wherever_a_file_ends_nothing_is_left_out_or_said_twice(
    press: Press, limits: Limits | None, messages: int
) -> None:
    for number in range(3):
        press.talk(ALICE, f"c_{number}", messages)
    lines = press.exported(limits or Limits())
    said = [line.message_id for line in lines if isinstance(line, MessageLine)]
    assert len(said) == len(set(said)) == 3 * messages
    assert len([line for line in lines if isinstance(line, ChatLine)]) == 3


def test_steps_that_are_repeated_change_nothing(press: Press) -> None:
    for number in range(4):
        press.talk(ALICE, f"c_{number}", messages=5)
    once = press.exported()
    files = dict(press.files.files)
    assert press.exported(repeats=3) == once
    assert press.files.files == files


def test_a_file_takes_little_more_than_its_limits(press: Press) -> None:
    press.talk(ALICE, "c_long", messages=5 * MESSAGES_AT_ONCE)
    step = press.step(limits=Limits(lines=MESSAGES_AT_ONCE))
    (file,) = step.progress.files
    assert MESSAGES_AT_ONCE <= file.lines <= MESSAGES_AT_ONCE + 3
    assert step.state is Written.MORE


def test_a_chat_that_becomes_active_meanwhile_keeps_its_place(press: Press) -> None:
    for number in range(6):
        press.talk(ALICE, f"c_{number}", messages=2)
    step = press.step()
    database = press.desk.database
    for chat in list(database.chats.values()):
        database.chats[ALICE.user_id, chat.chat_id] = replace(
            chat, last_active_ms=NOW_MS - int(chat.chat_id[2:])
        )
    while step.state is Written.MORE:
        step = press.step(step.progress)
    assert [line.chat_id for line in press.lines() if isinstance(line, ChatLine)] == [
        f"c_{number}" for number in range(6)
    ]


def test_what_is_deleted_is_not_given_out(press: Press) -> None:
    press.talk(ALICE, "c_1", messages=2, deleted_ms=NOW_MS)
    press.talk(ALICE, "c_2", messages=2)
    lines = press.exported()
    assert {line.chat_id for line in lines if isinstance(line, ChatLine | MessageLine)} == {"c_2"}


def test_somebody_without_anything_gets_that(press: Press) -> None:
    lines = press.exported()
    assert [type(line) for line in lines] == [ProfileLine, AccountLine]


def test_of_a_closed_account_nothing_more_is_written(press: Press) -> None:
    for number in range(6):
        press.talk(ALICE, f"c_{number}", messages=2)
    step = press.step()
    close(press.desk.stores, press.desk.inboxes, ALICE.user_id, press.desk.clock())
    files = dict(press.files.files)
    assert press.step(step.progress) == Step(Written.CLOSED, step.progress)
    assert press.files.files == files


class TestAsking:
    def test_twice_within_an_hour_is_once(self, press: Press) -> None:
        jobs = MemoryExportJobs()
        asked = []
        for advance_ms in (0, 1, HOUR_MS):
            press.desk.clock.advance(advance_ms)
            export = start_export(press.desk.stores, jobs, ALICE, press.desk.clock())
            assert isinstance(export, Export)
            assert export.state is ExportState.PREPARING
            asked.append(export.export_id)
        assert asked[0] == asked[1] != asked[2]
        assert len(jobs.states) == 2
        other = start_export(press.desk.stores, jobs, BOB, press.desk.clock())
        assert isinstance(other, Export)
        assert other.export_id not in asked

    def test_in_a_closed_account_is_refused(self, press: Press) -> None:
        close(press.desk.stores, press.desk.inboxes, ALICE.user_id, press.desk.clock())
        jobs = MemoryExportJobs()
        outcome = start_export(press.desk.stores, jobs, ALICE, press.desk.clock())
        assert isinstance(outcome, Refusal)
        assert outcome.code is Code.ACCOUNT_CLOSED
        assert jobs.states == {}

    def test_for_one_that_is_ready_brings_links_to_all_files(self, press: Press) -> None:
        press.desk.submitted(SEND)
        press.exported(Limits(lines=1))
        jobs = MemoryExportJobs({(ALICE.user_id, EXPORT): ExportState.READY})
        export = read_export(jobs, press.files, ALICE, EXPORT, press.desk.clock())
        assert isinstance(export, Export)
        assert export.manifest is not None
        assert list(export.links) == [file.name for file in export.manifest.files]
        assert len(export.links) >= 2
        assert export.links_end_ms == press.desk.clock() + LINK_S * 1000
        assert all(ALICE.user_id in url and EXPORT in url for url in export.links.values())

    @pytest.mark.parametrize("state", [ExportState.PREPARING, ExportState.FAILED])
    def test_for_one_that_is_not_says_how_it_stands(self, press: Press, state: ExportState) -> None:
        press.exported()
        jobs = MemoryExportJobs({(ALICE.user_id, EXPORT): state})
        assert read_export(jobs, press.files, ALICE, EXPORT, NOW_MS) == Export(EXPORT, state)

    def test_for_anothers_or_one_that_has_gone_finds_nothing(self, press: Press) -> None:
        press.exported()
        jobs = MemoryExportJobs({(ALICE.user_id, EXPORT): ExportState.READY})
        assert isinstance(read_export(jobs, press.files, ALICE, EXPORT, NOW_MS), Export)
        for user, export_id in ((BOB, EXPORT), (ALICE, "e_2")):
            outcome = read_export(jobs, press.files, user, export_id, NOW_MS)
            assert isinstance(outcome, Refusal)
            assert outcome.code is Code.EXPORT_NOT_FOUND
        press.files.remove(ALICE.user_id)
        outcome = read_export(jobs, press.files, ALICE, EXPORT, NOW_MS)
        assert isinstance(outcome, Refusal)
        assert outcome.code is Code.EXPORT_NOT_FOUND
