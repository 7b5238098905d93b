"""Each event in its sentence, its mood, and its tier."""

import pytest

from chatcore.domain.tiers import Tier
from local.watch.line import Line
from local.watch.sentences import KEPT, Event, Events, Mood
from tests.unit.watch.said import NOW_MS, by_function, by_worker, claimed, ended


def told(line: Line, former: str = "") -> Event:
    events = Events()
    events.tell(line, line.source, line.tier, former)
    (event,) = events
    return event


@pytest.mark.parametrize(
    ("line", "words", "mood"),
    [
        (by_worker("worker.ready", slots=3), "worker-1 is ready with 3 slots", "good"),
        (by_worker("worker.draining", answers=2), "worker-1 drains; in the making: 2", "warn"),
        (by_worker("worker.gone"), "worker-1 has left", "calm"),
        (by_worker("engine.away"), "worker-1 has lost its engine and takes no work", "bad"),
        (by_worker("engine.ready"), "worker-1 has its engine again", "good"),
        (by_worker("spot.notice"), "worker-1 is taken away by EC2 soon", "warn"),
        (
            by_worker("run.handed_back", run_id="r_abc", tier="free", why="drain", offset=9),
            "free run abc is handed back by worker-1 (drain), durable to 9",
            "warn",
        ),
        (claimed("r_abc", epoch=2), "free run abc goes on at worker-1 from 7", "good"),
        (ended("r_abc", completed=0, failed=1), "free run abc has failed at worker-1", "bad"),
        (
            ended("r_abc", completed=0, cancelled=1, cancel_ms=31.4),
            "free run abc was stopped: its slot is free after 31 ms",
            "calm",
        ),
        (
            by_worker("job.left", run_id="r_abc", tier="pro", offered=True),
            "pro run abc is left by worker-1 to the worker that has its chat's prefix",
            "calm",
        ),
        (
            by_worker("job.moved", run_id="r_abc", tier="free", lanes=3, epoch=1),
            "free run abc is put 3 lanes further on: its user has been served meanwhile",
            "calm",
        ),
        (
            by_function("request.refused", tier="pro", code="busy"),
            "a pro user is refused: busy",
            "warn",
        ),
        (
            by_function("frame.refused", tier="none", code="frame_not_json"),
            "a none user is refused: frame_not_json",
            "warn",
        ),
        (
            by_worker("tiers.adopted", version="7"),
            "Settings of the tiers: version 7 holds",
            "calm",
        ),
        (
            by_function("compaction.asked", tier="plus", messages=12),
            "a plus chat is summarised: 12 messages",
            "calm",
        ),
        (
            by_function("post.failed", level="ERROR", code="Throttled"),
            "ws_message: post.failed: Throttled",
            "bad",
        ),
        (by_worker("lease.trouble", level="WARNING"), "worker-1: lease.trouble", "warn"),
    ],
    ids=lambda given: given.name if isinstance(given, Line) else "",
)
def test_it_is_said_in_words(line: Line, words: str, mood: Mood) -> None:
    event = told(line)
    assert (event.words, event.mood, event.tier) == (words, mood, line.tier)
    assert event.at_ms == NOW_MS


def test_a_run_that_was_somebody_elses_was_in_danger() -> None:
    event = told(claimed("r_abc", epoch=2), former="worker-9")
    assert event.words.endswith("from 7 and is taken over from worker-9")
    assert event.mood == "bad"


@pytest.mark.parametrize(
    "line",
    [
        by_worker("job.left", run_id="r_abc", tier="pro"),
        claimed("r_abc"),
        ended("r_abc"),
        by_worker("run.handed_back", run_id="r_abc", tier="free", why="preempt"),
    ],
    ids=lambda line: line.name,
)
def test_what_is_normal_or_was_told_is_not(line: Line) -> None:
    events = Events()
    events.tell(line, line.source, line.tier)
    assert list(events) == []


def alike(one: Line, other: Line) -> bool:
    events = Events()
    for line in (one, other):
        events.tell(line, line.source, line.tier)
    return len(list(events)) == 1


def test_alike_are_those_of_one_kind_tier_and_code() -> None:
    def refused(name: str = "action.refused", tier: str = "free", code: str = "busy") -> Line:
        return by_function(name, tier=tier, code=code)

    assert alike(refused(), refused())
    for other in (refused("request.refused"), refused(tier="pro"), refused(code="tier_paused")):
        assert not alike(refused(), other)


def test_warnings_of_two_workers_are_two() -> None:
    one, other = (by_worker("x", worker=number, level="WARNING") for number in (1, 2))
    assert alike(one, one)
    assert not alike(one, other)


def test_what_is_one_of_its_kind_is_never_counted() -> None:
    line = by_worker("worker.ready", slots=3)
    assert not alike(line, line)


def test_of_those_that_are_counted_the_last_is_told() -> None:
    events = Events()
    for number in range(3):
        events.add(Event(NOW_MS + number, f"refused {number}", "warn", Tier.FREE, "refusals"))
    (event,) = events
    assert (event.at_ms, event.words, event.times) == (NOW_MS + 2, "refused 2", 3)


def test_the_newest_are_kept_and_come_first() -> None:
    events = Events()
    for number in range(KEPT + 1):
        events.add(Event(NOW_MS + number, str(number)))
    assert [event.words for event in events] == [str(number) for number in range(KEPT, 0, -1)]
