"""History: at least what the budget holds, newest first, and no more pages than that takes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from chatcore.domain.chat import Message, Role
from chatcore.domain.context import build
from chatcore.ports import Page
from chatcore.services.history import PAGE, read_history


@dataclass
class Pages:
    """A chat's messages, and which pages were asked for."""

    messages: list[Message]
    asked: list[int | None] = field(default_factory=list)

    def newest(self, chat_id: str, limit: int, before_seq: int | None) -> Page[Message]:
        self.asked.append(before_seq)
        below = [m for m in self.messages if before_seq is None or m.seq < before_seq][::-1]
        page = below[:limit]
        return Page(page, (page[-1].seq, "") if len(below) > limit else None)

    def remove(self, chat_id: str, messages: Sequence[Message]) -> None:
        raise AssertionError("reading removes nothing")


def chat_of(texts: Sequence[str]) -> Pages:
    return Pages(
        [
            Message("c_1", seq, f"m_{seq}", Role.USER, text, "r_1", 0)
            for seq, text in enumerate(texts)
        ]
    )


def test_ends_with_the_message_that_is_asked_for() -> None:
    pages = chat_of(["one", "two", "three", "later"])
    assert [m.text for m in read_history(pages, "c_1", 2, 1_000)] == ["one", "two", "three"]


def test_reads_on_while_more_may_fit() -> None:
    pages = chat_of(["short"] * (3 * PAGE))
    assert len(read_history(pages, "c_1", 10**6, 10**6)) == 3 * PAGE


def test_reads_no_more_than_it_takes() -> None:
    pages = chat_of(["long enough " * 500] * (9 * PAGE))
    read_history(pages, "c_1", 10**6, 1_000)
    assert len(pages.asked) == 1


@pytest.mark.parametrize("text", ["word " * 40, "漢字" * 60, "😀" * 50, "a" * 200, "é " * 90])
@pytest.mark.parametrize("budget", [50, 700, 4_000])
def test_never_less_than_a_prompt_would_hold(text: str, budget: int) -> None:
    pages = chat_of([text] * 400)

    def count(part: str) -> int:
        # About as few tokens as any vocabulary makes of any script.
        return max(1, len(part.encode()) // 12)

    read = read_history(pages, "c_1", 10**6, budget)
    fits = build(pages.messages, "", budget, count).messages
    assert len(read) >= fits
