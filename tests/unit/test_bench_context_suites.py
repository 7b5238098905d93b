"""bench-context: how a long chat is played, and what is counted of it."""

from dataclasses import replace

import pytest

from bench.context import compaction, cost, tokens
from bench.context.compaction import Turn
from bench.context.talks import limits, played, talk
from bench.report import percentile
from chatcore.domain.chat import Message, Role
from chatcore.domain.context import as_turn, room_for
from chatcore.domain.context_plan import TailFrom

SAID = (
    "My sister Ada lives in Lisbon near the old harbour.",
    "That sounds lovely, does she like it there?",
    "She moved for the light, and paints boats every morning.",
    "I would love to see one of her pictures some day.",
)


def told(times: int = 100) -> list[Message]:
    return [
        Message("c", n + 1, f"m{n}", Role.USER, f"{SAID[n % 4]} word{n} thing{n % 37}", "", 1)
        for n in range(4 * times)
    ]


def count(text: str) -> int:
    return len(text.split())


class TestTalk:
    def test_it_has_the_length_and_the_turns_of_a_chat(self) -> None:
        chat = talk(told(), 501)
        assert [each.seq for each in chat] == list(range(1, 502))
        assert [each.role for each in chat[:3]] == [Role.USER, Role.ASSISTANT, Role.USER]

    def test_it_does_not_repeat_itself(self) -> None:
        chat = talk(told(), 960)
        texts = [each.text for each in chat]
        assert len(set(texts)) > 0.7 * len(texts)
        assert [len(text.split()) for text in texts[:240]] == [
            len(text.split()) for text in texts[240:480]
        ]


class TestPlayed:
    def test_every_question_has_its_prompt_within_the_budget(self) -> None:
        turns = list(played(talk(told(), 400), lambda text: len(text) // 4))
        assert len(turns) == 200
        assert all(turn.plan.tokens <= turn.plan.budget_tokens for turn in turns)

    def test_a_summary_is_there_a_turn_after_it_was_asked_for(self) -> None:
        turns = list(played(talk(told(), 1_200), lambda text: len(text) // 4))
        first = next(n for n, turn in enumerate(turns) if turn.compacted)
        assert turns[first + 1].plan.summary is None
        summary = turns[first + 2].plan.summary
        assert summary is not None
        assert summary.version == 1
        assert 0 < summary.tokens <= room_for(limits()).summary
        assert turns[first + 2].plan.tail.begins is TailFrom.THE_SUMMARY

    def test_only_the_last_are_built_where_the_last_are_asked_for(self) -> None:
        turns = list(played(talk(told(), 400), count, first_built=390))
        assert [turn.messages for turn in turns] == [391, 393, 395, 397, 399]


async def test_a_worker_that_knows_the_chat_reads_nothing() -> None:
    assert await tokens._warm_reads(talk(told(), 41), count) == 0


def test_totals_are_sums_over_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "TURNS", 2)
    chat = talk(told(), 4)
    frame = cost._frame(count)
    sizes = [count(as_turn(each)) for each in chat]
    everything = cost._everything(chat, count)
    assert everything.input_tokens == 2 * frame + 2 * sizes[0] + sizes[1] + sizes[2]
    window = cost._window(chat, count)
    assert window.input_tokens == everything.input_tokens
    # Not full yet: of the second prompt only what is new is read.
    assert window.uncached_tokens == 2 * frame + sum(sizes[:3])


def test_a_full_window_begins_elsewhere_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "BUDGET_TOKENS", 60)
    window = cost._window(talk(told(), 100), count)
    everything = cost._everything(talk(told(), 100), count)
    assert window.input_tokens < everything.input_tokens
    assert window.uncached_tokens > 0.9 * window.input_tokens


def test_turns_are_sorted_by_the_compaction_about_them() -> None:
    quiet = Turn(ttft_ms=1, version=0, asked=False)
    turns = [
        quiet,
        replace(quiet, ttft_ms=2),
        replace(quiet, ttft_ms=3, asked=True),
        replace(quiet, ttft_ms=4),
        replace(quiet, ttft_ms=5, version=1),
        replace(quiet, ttft_ms=6, version=1),
    ]
    found = compaction.Found()
    compaction._sort(turns, found)
    assert (found.others_ms, found.during_ms, found.after_ms) == ([2, 3, 6], [4], [5])
    assert (found.compactions, found.turns) == (1, 6)
    found.remembered = len(compaction.FACTS)
    goals = compaction.goals(found)
    assert goals["ttft_during_to_others"].value == pytest.approx(percentile([4], 50) / 3, abs=0.001)
    assert not goals["compactions"].met
