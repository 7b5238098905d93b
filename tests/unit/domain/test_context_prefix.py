"""Between compactions each prompt begins with the whole of the former one, up to its tail's end."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile

from hypothesis import example, given
from hypothesis import strategies as st

from chatcore.domain.chat import Message, Role
from chatcore.domain.context import History, Prompt, Room, as_turn, build
from chatcore.domain.context_plan import TailFrom
from chatcore.domain.excerpts import Recall, Recalled
from chatcore.domain.markup import ASSISTANT, opening
from chatcore.domain.summary import Summary
from tests.unit.domain.talks import HEAD, START_MS, message, prompt_of, summary_of, talk

ROOM = Room(total=2_200, summary=300, recall=400, tail=800)
TURN_MS = 60_000


@dataclass(frozen=True)
class Turn:
    """answer: None where the run failed without a word; compacts: a summary came before this turn, up to so
    many messages before it; continued: so much of the answer was durable when another worker went on."""

    question: int
    answer: int | None = 20
    compacts: int | None = None
    continued: int = 0


@dataclass(frozen=True)
class Sent:
    prompt: Prompt
    newest: Message
    summary: Summary | None

    @property
    def stable(self) -> str:
        """Up to the end of the tail."""
        plan = self.prompt.plan
        behind = as_turn(self.newest) + opening(ASSISTANT)
        assert self.prompt.text.endswith(behind)
        return self.prompt.text[: -len(behind) - plan.recalled_tokens or None]


def latest_first(messages: Sequence[Message]) -> Recall:
    return lambda text, before_seq: Recalled(
        [each for each in messages[::-1] if each.seq < before_seq]
    )


def chatted(turns: Sequence[Turn], room: Room) -> list[Sent]:
    """Each prompt, built from what there is; the same from scratch and on the way through its run."""
    messages: list[Message] = []
    summary: Summary | None = None
    sent: list[Sent] = []
    for number, each in enumerate(turns):
        now_ms = START_MS + number * TURN_MS
        if each.compacts is not None and len(messages) > each.compacts:
            up_to = messages[len(messages) - 1 - each.compacts]
            if summary is None or up_to.seq > summary.up_to_seq:
                version = 1 + (summary.version if summary else 0)
                text = f"## Facts\nNumber {version}."
                summary = summary_of(up_to, text, now_ms - TURN_MS // 2, version)
        question = message(len(messages), f"{number}q" + "x" * each.question, Role.USER)
        messages.append(replace(question, created_ms=now_ms))
        counted: dict[int, int] = {}

        def remembered(one: Message, counted: dict[int, int] = counted) -> int:
            return counted.setdefault(one.seq, len(as_turn(one)))

        recall = latest_first(messages)
        history = History(list(messages), summary)
        prompt = build(history, "", room, len, remembered, recall)
        assert build(history, "", room, len, recall=recall) == prompt
        continued = build(history, "y" * each.continued, room, len, remembered, recall)
        assert continued.text == prompt.text + "y" * each.continued
        sent.append(Sent(prompt, messages[-1], summary))
        if each.answer is not None:
            answer = message(len(messages), f"{number}a" + "y" * each.answer, Role.ASSISTANT)
            messages.append(replace(answer, created_ms=now_ms + 1))
    return sent


def in_common(one: str, other: str) -> int:
    """Characters that both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def stands(former: Sent, now: Sent) -> bool:
    """Whether nothing happened in between that moves the beginning."""
    begins, began = now.prompt.plan.tail, former.prompt.plan.tail
    return (
        now.summary == former.summary
        and (now.prompt.plan.summary is None) == (former.prompt.plan.summary is None)
        and (began.messages == 0 or begins.first_seq == began.first_seq)
    )


def turns_of(longest: int) -> st.SearchStrategy[list[Turn]]:
    sizes = st.integers(0, longest)
    one = st.builds(
        Turn,
        question=sizes,
        answer=st.none() | sizes,
        compacts=st.none() | st.none() | st.integers(0, 6),
        continued=st.integers(0, 3_000),
    )
    return st.lists(one, min_size=2, max_size=25)


@given(turns_of(longest=ROOM.message - 60))
@example([Turn(20)] * 25)
@example([Turn(20), Turn(20), Turn(20, compacts=1), Turn(20), Turn(20, compacts=0), Turn(1)])
def test_each_prompt_begins_with_the_former_one_up_to_its_tails_end(turns: list[Turn]) -> None:
    sent = chatted(turns, ROOM)
    assert sent[0].prompt.plan.prefix_tokens == 0
    for former, now in pairwise(sent):
        plan, text = now.prompt.plan, now.prompt.text
        common = in_common(former.prompt.text, text)
        assert len(HEAD) <= plan.prefix_tokens <= common
        if stands(former, now):
            assert text.startswith(former.stable)
            assert plan.prefix_tokens == len(former.stable)
        elif now.summary == former.summary:
            # Only a cut moves it, and only where it had to.
            begun_anew = {plan.tail.begins, former.prompt.plan.tail.begins}
            assert begun_anew & {TailFrom.THE_CUT, TailFrom.THE_NEWEST}


@given(turns_of(longest=3_000))
def test_also_where_messages_are_too_long_for_their_tail(turns: list[Turn]) -> None:
    sent = [replace(each, continued=0) for each in turns]
    for former, now in pairwise(chatted(sent, ROOM)):
        plan, text = now.prompt.plan, now.prompt.text
        assert plan.prefix_tokens >= len(HEAD)
        if stands(former, now):
            assert text.startswith(former.stable)
            assert plan.prefix_tokens >= len(former.stable)
        # By the plan's own count a message that was shortened takes all that one may.
        shortened = plan.tail.clipped * ROOM.message
        common = in_common(former.prompt.text, text)
        assert plan.prefix_tokens <= common + shortened


def test_without_a_summary_it_moves_once_in_many_turns() -> None:
    room = Room(total=9_000, summary=500, recall=500, tail=6_000)
    sent = chatted([Turn(50, 150)] * 120, room)[1:]
    cuts = sum(each.prompt.plan.prefix_tokens == len(HEAD) for each in sent)
    # A cut makes room for three quarters of the tail.
    turn_chars = 200 + len(as_turn(talk("")[0])) + len(opening(ASSISTANT))
    assert 1 < cuts <= 120 // ((room.tail - room.low) // (turn_chars + 20))


def test_a_summary_that_came_moves_it_once() -> None:
    sent = chatted([*[Turn(20)] * 5, Turn(20, compacts=1), *[Turn(20)] * 3], ROOM)
    moved = [each.prompt.plan.prefix_tokens == len(HEAD) for each in sent[2:]]
    assert moved == [False, False, False, True, False, False, False]
    assert sent[5].prompt.plan.tail.begins is TailFrom.THE_SUMMARY


def test_a_summary_that_a_long_message_pushed_out_is_no_prefix() -> None:
    messages = talk("a", "b", "c", "d", "e" * 1_800, "f", "g?")
    summary = summary_of(messages[1], "s" * 200, made_ms=1)
    pushed = prompt_of(messages[:5], ROOM, summary=summary)
    assert pushed.plan.summary is None
    now = prompt_of(messages, ROOM, summary=summary)
    assert now.plan.summary is not None
    assert now.plan.prefix_tokens == len(HEAD)
    again = prompt_of(
        [*messages[:6], replace(messages[6], text="g" * 1_800)], ROOM, summary=summary
    )
    assert again.plan.summary is None
    assert again.plan.prefix_tokens <= in_common(again.text, pushed.text)
