"""The simulated client's rules, which the whole simulation relies on."""

from typing import Any

from tests.simulation.transcript import Transcript


def frame(kind: str, epoch: int = 1, **fields: Any) -> dict[str, Any]:
    return {"type": f"run.{kind}", "epoch": epoch, **fields}


def told(*frames: dict[str, Any]) -> tuple[Transcript, list[int | None]]:
    transcript = Transcript("r_1")
    return transcript, [transcript.apply(each) for each in frames]


def test_repeats_and_overlaps_are_cut() -> None:
    transcript, missing = told(
        frame("delta", offset=0, text="abc"),
        frame("delta", offset=0, text="abc"),
        frame("delta", offset=1, text="bcde"),
        frame("delta", offset=0, text="a"),
    )
    assert transcript.text == "abcde"
    assert missing == [None] * 4


def test_a_gap_is_noticed_and_nothing_is_shown_behind_it() -> None:
    transcript, missing = told(
        frame("delta", offset=0, text="ab"),
        frame("delta", offset=3, text="d"),
        frame("completed", length=4),
        frame("delta", offset=2, text="cd"),
        frame("completed", length=4),
    )
    assert missing == [None, 2, 2, None, None]
    assert (transcript.text, transcript.status) == ("abcd", "completed")


def test_the_next_epoch_says_from_where() -> None:
    transcript, _ = told(
        frame("delta", offset=0, text="abcdef"),
        frame("started", epoch=2, offset=3),
        frame("delta", epoch=1, offset=6, text="zombie"),
        frame("delta", epoch=2, offset=3, text="XY"),
    )
    assert (transcript.text, transcript.rewinds) == ("abcXY", 1)


def test_an_epoch_that_was_missed_leaves_only_what_is_durable() -> None:
    transcript, missing = told(
        frame("delta", offset=0, text="abcdef"),
        frame("started", epoch=3, offset=5),
        frame("delta", epoch=3, offset=5, text="!"),
    )
    assert (transcript.text, missing[-1]) == ("", 0)


def test_after_the_end_nothing_changes() -> None:
    transcript, _ = told(
        frame("delta", offset=0, text="abc"),
        frame("cancelled", length=2),
        frame("delta", offset=2, text="c"),
        frame("completed", length=2),
    )
    assert (transcript.text, transcript.status) == ("ab", "cancelled")
