"""The suites of the context bench: what is read, what counts as inside, what is judged."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.context import __main__ as driver
from bench.context import baselines, cases, locomo, recall
from bench.context.cases import Case, Kind
from bench.trace import Missing
from chatcore.domain.chat import Role

SAMPLE: dict[str, Any] = {
    "conversation": {
        "speaker_a": "Ann",
        "speaker_b": "Bob",
        "session_1_date_time": "1:56 pm on 8 May, 2023",
        "session_1": [
            {"speaker": "Ann", "dia_id": "D1:1", "text": "I adopted a tortoise."},
            {
                "speaker": "Bob",
                "dia_id": "D1:2",
                "text": "Look!",
                "blip_caption": "a photo of a kayak",
            },
        ],
        "session_2_date_time": "12:09 am on 13 September, 2023",
        "session_2": [
            {"speaker": "Bob", "dia_id": "D2:1", "text": "I baked bread yesterday."},
            {"speaker": "Ann", "dia_id": "D2:2", "text": "Is it good?"},
        ],
        "session_3_date_time": "1:00 pm on 14 September, 2023",
    },
    "qa": [
        {"question": "What did Ann adopt?", "evidence": ["D1:1"], "category": 4},
        {"question": "When was bread baked?", "evidence": ["D2:1; D:1:2"], "category": 2},
        {"question": "Who sings?", "evidence": ["D7:1"], "category": 1},
        {"question": "Why did Bob adopt?", "evidence": ["D1:1"], "category": 5},
        {"question": "Which boat?", "evidence": [], "category": 3},
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / locomo.FILE).write_text(json.dumps([SAMPLE]))
    return tmp_path


class TestLocomo:
    def test_a_conversation_is_one_dated_chat(self, folder: Path) -> None:
        (conversation,) = locomo.read(folder / locomo.FILE)
        said = [(message.seq, message.role, message.text) for message in conversation.messages]
        assert said == [
            (1, Role.USER, "Ann: I adopted a tortoise."),
            (2, Role.ASSISTANT, "Bob: Look! [shares a photo of a kayak]"),
            (3, Role.ASSISTANT, "Bob: I baked bread yesterday."),
            (4, Role.USER, "Ann: Is it good?"),
        ]
        # 2023-05-08T13:56Z, and 2023-09-13T00:09Z.
        assert conversation.messages[0].created_ms == 1_683_554_160_000
        assert conversation.messages[2].created_ms == 1_694_563_740_000
        assert conversation.now_ms > conversation.messages[3].created_ms

    def test_questions_are_those_with_an_answer_and_evidence(self, folder: Path) -> None:
        (conversation,) = locomo.read(folder / locomo.FILE)
        assert [(q.text, q.category, q.evidence) for q in conversation.questions] == [
            ("What did Ann adopt?", 4, [0]),
            ("When was bread baked?", 2, [2, 1]),
        ]

    @pytest.mark.parametrize("text", ["{", "[{}]", "[1]", '{"a": 1}', '[{"conversation": 3}]'])
    def test_another_file_is_told_from_it(self, tmp_path: Path, text: str) -> None:
        (tmp_path / locomo.FILE).write_text(text)
        with pytest.raises(Missing, match="snap-research/LoCoMo"):
            locomo.read(tmp_path / locomo.FILE)


class TestBaselines:
    tokens = (10.0, 10.0, 10.0, 10.0)

    def test_what_fits_is_taken_from_the_front(self) -> None:
        assert baselines.taken([3, 1, 0], self.tokens, 20) == [3, 1]
        assert baselines.taken([3, 1, 0], self.tokens, 9) == []

    def test_half_of_the_budget_is_for_the_newest(self) -> None:
        assert baselines.half_recent([0, 3], self.tokens, 40) == [3, 2, 0]

    def test_each_comes_with_its_neighbours(self) -> None:
        assert baselines.with_neighbours([3, 0], 4) == [3, 2, 0, 1]

    def test_bm25_prefers_the_rare_word_and_leaves_out_what_has_none(self) -> None:
        bm25 = baselines.Bm25(["the cat", "the dog", "the dog and the owl", "nothing"])
        assert bm25.ranked("the owl") == [2, *bm25.ranked("the")[:2]]
        assert bm25.ranked("zebra") == []


class TestCases:
    def test_ours_are_well_formed_and_of_every_kind(self) -> None:
        chats, asked = cases.read()
        assert {case.kind for case in asked} == set(Kind)
        assert all(30 <= len(chat) <= 80 for chat in chats.values())
        for case in asked:
            assert (case.told is None) == (case.kind is Kind.NEVER)
            assert (case.outdated is None) == (case.kind is not Kind.CHANGED)
            if case.outdated is not None and case.told is not None:
                assert case.outdated < case.told

    @pytest.mark.parametrize(
        ("told", "outdated", "recalled", "right"),
        [
            (1, None, [0, 1], True),
            (1, None, [0], False),
            (1, None, [], False),
            # The budget is full before it comes.
            (1, None, [3, 1], False),
            (2, 0, [2, 0], True),
            (2, 0, [2], True),
            (2, 0, [0, 2], False),
            (None, None, [], True),
            (None, None, [0], False),
        ],
    )
    def test_what_is_right(
        self, told: int | None, outdated: int | None, recalled: list[int], right: bool
    ) -> None:
        case = Case("c", Kind.RECENT, "?", told, outdated)
        assert case.right(recalled, [10, 10, 10, cases.BUDGET_TOKENS]) is right

    def test_text_without_spaces_has_its_price_too(self) -> None:
        assert cases.tokens_of("猫" * 100) > 40
        assert cases.tokens_of("one two") == pytest.approx(2.6)


class TestRecall:
    def test_shares_are_of_each_questions_evidence(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recall, "LONG_CHAT", 40)
        monkeypatch.setattr(recall, "TIMED", 3)
        found = recall.play(recall.read(folder), full=True)
        assert found.questions == 2
        assert found.budgets == recall.BUDGETS_FULL
        # All four messages are inside the smallest budget.
        assert found.shares[recall.RECENT, 512] == 1.0
        # Half of the second question's evidence is a picture that it does not speak of.
        assert found.shares[recall.BM25, 512] == 0.75
        assert found.by_category[4, 512] == 1.0
        assert found.wrong == []

    def test_a_budget_that_is_missed_is_a_goal_that_is_not_met(self) -> None:
        shares = dict.fromkeys(((p, b) for p in recall.POLICIES for b in recall.BUDGETS), 0.93)
        found = recall.Found(
            *(recall.BUDGETS, shares | {(recall.OURS, 1_024): 0.82}, {}, 1),
            *({kind: [True] * 9 + [False] for kind in Kind}, []),
            recall.Cost(1.0, 2.0, 3.0, 11.0),
        )
        missed = {name for name, goal in recall.goals(found).items() if not goal.met}
        assert missed == {"recall_1024", "recall_cases_never", "recall_10000_p99_ms"}


class TestDriver:
    def test_missing_data_is_named_before_anything_is_played(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert driver.main(["--data", str(tmp_path)]) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert locomo.FILE in said.err

    def test_the_last_line_is_for_programs(
        self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recall, "LONG_CHAT", 40)
        monkeypatch.setattr(recall, "TIMED", 3)
        assert driver.main(["--data", str(folder), "--suite", "recall"]) == 0
        out = capsys.readouterr().out
        last = json.loads(out.splitlines()[-1])
        assert last["bench"] == "context"
        assert last["figures"]["recall"][recall.OURS]["512"] >= 0.75
        assert {f"recall_{budget}" for budget in recall.BUDGETS} < set(last["goals"])
        assert "single-hop" in out
