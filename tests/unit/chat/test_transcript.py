"""What a viewer shows of one run: at its end, what is stored."""

import random
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from chat.transcript import Frame, Transcript
from tests.unit.chat.frames import delta, ended, frame, queued, started


def told(*frames: Frame) -> tuple[Transcript, list[int | None]]:
    transcript = Transcript("r_1")
    return transcript, [transcript.apply(each) for each in frames]


def test_text_in_order_is_neither_lost_nor_repeated() -> None:
    transcript, missing = told(started(), delta(0, "Hel"), delta(3, "lo"), ended("completed", 5))
    assert (transcript.text, transcript.status, missing) == ("Hello", "completed", [None] * 4)
    assert (transcript.repeated, transcript.rewound, transcript.longest) == (0, 0, 5)


def test_repeats_and_overlaps_are_cut_and_counted() -> None:
    transcript, missing = told(
        delta(0, "abc"), delta(0, "abc"), delta(1, "bcde"), delta(0, "a"), delta(5, "")
    )
    assert (transcript.text, transcript.repeated, missing) == ("abcde", 6, [None] * 5)


def test_a_gap_is_noticed_and_nothing_is_shown_behind_it() -> None:
    transcript, missing = told(
        delta(0, "ab"),
        delta(3, "d"),
        ended("completed", 4),
        delta(2, "cd"),
        ended("completed", 4),
    )
    assert missing == [None, 2, 2, None, None]
    assert (transcript.text, transcript.status) == ("abcd", "completed")


def test_the_next_epoch_says_from_where() -> None:
    transcript, _ = told(
        delta(0, "abcdef"), started(2, 3), delta(6, "zombie"), delta(3, "XY", epoch=2)
    )
    assert (transcript.text, transcript.rewound, transcript.durable) == ("abcXY", 3, 3)


def test_an_epoch_that_was_missed_leaves_only_what_is_durable() -> None:
    transcript, missing = told(delta(0, "abcdef"), started(3, 5), delta(5, "!", epoch=3))
    assert (transcript.text, missing[-1]) == ("", 0)


def test_a_start_that_is_heard_again_takes_nothing_back_and_a_rewind_does() -> None:
    transcript, _ = told(started(), delta(0, "abc"), started())
    assert transcript.text == "abc"
    transcript.apply(frame("rewound", 1, offset=1))
    assert transcript.text == "a"


def test_after_the_end_nothing_changes() -> None:
    transcript, _ = told(
        delta(0, "abc"), ended("cancelled", 2), delta(2, "c"), ended("completed", 2)
    )
    assert (transcript.text, transcript.status) == ("ab", "cancelled")


def test_it_counts_code_points() -> None:
    transcript, missing = told(delta(0, "a🦊b"), delta(3, "c"), ended("completed", 4))
    assert (transcript.text, missing) == ("a🦊bc", [None] * 3)


def test_a_wait_is_told_until_a_later_attempt_speaks() -> None:
    def place(transcript: Transcript) -> tuple[int, int | None] | None:
        wait = transcript.wait
        return None if wait is None else (wait.epoch, wait.position)

    transcript, _ = told(queued())
    assert (place(transcript), transcript.chat_id) == ((0, 3), "c_1")
    transcript.apply(started())
    assert place(transcript) is None
    transcript.apply(queued(epoch=0))
    assert place(transcript) is None
    transcript.apply(queued(epoch=1))
    transcript.apply(delta(0, "late"))
    assert (place(transcript), transcript.text) == ((1, 3), "late")
    transcript.apply(queued(epoch=0))
    assert place(transcript) == (1, 3)
    transcript.apply(started(2, 4))
    assert place(transcript) is None


def test_a_wait_after_an_attempt_that_was_missed_is_the_later_one() -> None:
    transcript, _ = told(queued(epoch=1, position=1), queued(epoch=0, position=9))
    assert transcript.wait is not None
    assert (transcript.wait.epoch, transcript.wait.position) == (1, 1)


def test_what_a_former_attempt_still_says_is_dropped() -> None:
    transcript, missing = told(
        delta(0, "abcdef"), started(2, 3), delta(3, "XY", epoch=2), delta(6, "zombie")
    )
    assert (transcript.text, transcript.epoch, missing[-1]) == ("abcXY", 2, None)
    assert transcript.apply(ended("failed", 9)) is None
    assert not transcript.is_over


def test_what_is_durable_is_no_more_than_a_later_attempt_goes_on_from() -> None:
    transcript, _ = told(delta(0, "abcdef"), started(2, 5), started(4, 3))
    assert (transcript.text, transcript.durable) == ("abc", 3)


def test_text_says_that_it_runs() -> None:
    transcript, _ = told(queued(), delta(0, "a"))
    assert (transcript.status, transcript.wait) == ("running", None)


def test_the_most_that_was_shown_stays_the_most() -> None:
    transcript, _ = told(delta(0, "abc"), frame("rewound", 1, offset=1), delta(1, "x"))
    assert (transcript.text, transcript.longest) == ("ax", 3)


def test_an_end_lacks_the_last_code_point_too() -> None:
    transcript, missing = told(delta(0, "abc"), ended("completed", 4))
    assert (missing[-1], transcript.is_over) == (3, False)


def test_an_end_tells_the_chat_and_ends_the_wait() -> None:
    transcript, _ = told(ended("failed", 0))
    assert (transcript.chat_id, transcript.message_id) == ("c_1", "")
    transcript, _ = told(queued(), ended("cancelled", 0))
    assert (transcript.wait, transcript.status) == (None, "cancelled")


@dataclass
class Attempt:
    """begins: the checkpoint that it goes on from; text: of the whole answer as it sees it."""

    begins: int
    text: str


@st.composite
def answers(draw: st.DrawFn) -> list[Attempt]:
    attempts = [Attempt(0, draw(st.text(alphabet="ab🦊", max_size=30)))]
    for _ in range(draw(st.integers(0, 3))):
        before = attempts[-1]
        kept = draw(st.integers(before.begins, len(before.text)))
        new = draw(st.text(alphabet="cd🦊", max_size=20))
        attempts.append(Attempt(kept, before.text[:kept] + new))
    return attempts


@given(answers(), st.integers(0, 2**32))
def test_however_frames_are_lost_and_repeated_what_is_shown_is_what_is_stored(
    attempts: list[Attempt], seed: int
) -> None:
    """Frames are cut anywhere, lost, doubled and swapped; whoever notices a gap attaches, and is answered
    by the last attempt as a server does: with what is believed of his text, and what follows."""
    rng = random.Random(seed)
    frames: list[Frame] = []
    for epoch, attempt in enumerate(attempts, 1):
        frames.append(started(epoch, attempt.begins))
        at = attempt.begins
        while at < len(attempt.text):
            until = rng.randint(at + 1, len(attempt.text))
            frames.append(delta(at, attempt.text[at:until], epoch))
            at = until
    transcript = Transcript("r_1")
    for each in frames:
        for _ in range(rng.choice((0, 1, 1, 1, 2))):
            transcript.apply(each)
        if rng.random() < 0.1:
            transcript.apply(rng.choice(frames))
    last, epoch = attempts[-1], len(attempts)
    for _ in range(3):
        believed = len(transcript.text) if transcript.epoch == epoch else 0
        transcript.apply(started(epoch, believed))
        if believed < len(transcript.text):
            transcript.apply(frame("rewound", epoch, offset=believed))
        transcript.apply(delta(believed, last.text[believed:], epoch))
        transcript.apply(ended("completed", len(last.text), epoch))
    assert (transcript.text, transcript.status) == (last.text, "completed")
