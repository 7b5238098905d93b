"""Owns what is said of the last events, in a sentence each. Pure.

The like of what was just said is counted, not said again: a flood must not push out what is rare.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from chatcore.adapters.measures import NO_TIER
from chatcore.domain.tiers import Tier
from local.watch.line import Line

KEPT = 12
ALIKE_MS = 5_000
"""What is like an event of the last seconds counts as one with it."""

Mood = Literal["good", "calm", "warn", "bad"]


@dataclass(frozen=True, slots=True)
class Event:
    """alike: what an event has in common with others that are counted with it; empty: with none."""

    at_ms: int
    words: str
    mood: Mood = "calm"
    tier: Tier | None = None
    alike: str = ""
    times: int = 1


@dataclass(slots=True)
class Events:
    """Iterates over the last ones, the newest first."""

    _events: deque[Event] = field(default_factory=lambda: deque(maxlen=KEPT))

    def __iter__(self) -> Iterator[Event]:
        return iter(sorted(self._events, key=lambda event: -event.at_ms))

    def add(self, event: Event) -> None:
        for index, known in enumerate(self._events):
            is_alike = event.alike and known.alike == event.alike
            if is_alike and event.at_ms - known.at_ms < ALIKE_MS:
                self._events[index] = replace(event, times=known.times + 1)
                return
        self._events.append(event)

    def tell(self, line: Line, who: str, tier: Tier | None, former: str = "") -> None:
        """who: the worker or function that says it; tier: of what it is about; former: the worker that a
        claimed run was taken from."""
        told = _sentence(line, who, str(tier or NO_TIER), former)
        if told is None:
            return
        words, mood, alike = told
        key = f"{line.name} {alike}" if alike else ""
        self.add(Event(line.at_ms, words, mood, tier, key))


def short(run_id: str) -> str:
    """Ids are random to their ends, so that a few letters tell the runs of a screen apart."""
    return run_id[-3:]


def _sentence(line: Line, who: str, tier: str, former: str) -> tuple[str, Mood, str] | None:
    """Words, mood, and what it has in common with others to be counted with them."""
    run = f"{tier} run {short(line.run_id)}"
    match line.name:
        case "worker.ready":
            return f"{who} is ready with {line.count('slots')} slots", "good", ""
        case "worker.draining":
            return f"{who} drains; in the making: {line.count('answers')}", "warn", ""
        case "worker.gone":
            return f"{who} has left", "calm", ""
        case "engine.away":
            return f"{who} has lost its engine and takes no work", "bad", ""
        case "engine.ready":
            return f"{who} has its engine again", "good", ""
        case "spot.notice":
            return f"{who} is taken away by EC2 soon", "warn", ""
        case "run.preempted":
            words = f"{run} leaves its slot at {who} to a {line.text('for_tier')} run"
            return words, "warn", ""
        case "run.handed_back" if line.text("why") != "preempt":
            # A preemption was told when it was decided.
            why = line.text("why")
            words = f"{run} is handed back by {who} ({why}), durable to {line.count('offset')}"
            return words, "warn", ""
        case "run.claimed" if line.count("epoch") > 1:
            taken = f" and is taken over from {former}" if former else ""
            words = f"{run} goes on at {who} from {line.count('offset')}{taken}"
            return words, "bad" if former else "good", ""
        case "run.ended" if line.count("failed"):
            return f"{run} has failed at {who}", "bad", ""
        case "run.ended" if (took_ms := line.number("cancel_ms")) is not None:
            return f"{run} was stopped: its slot is free after {took_ms:.0f} ms", "calm", ""
        case "job.left" if line.fields.get("offered"):
            words = f"{run} is left by {who} to the worker that has its chat's prefix"
            return words, "calm", tier
        case "job.moved":
            lanes = line.count("lanes")
            words = f"{run} is put {lanes} lanes further on: its user has been served meanwhile"
            return words, "calm", tier
        case "action.refused" | "request.refused" | "frame.refused":
            return (
                f"a {tier} user is refused: {line.text('code')}",
                "warn",
                tier + line.text("code"),
            )
        case "tiers.adopted":
            version = line.text("version")
            return f"Settings of the tiers: version {version} holds", "calm", version
        case "compaction.asked":
            return f"a {tier} chat is summarised: {line.count('messages')} messages", "calm", ""
        case name if line.text("level") in ("WARNING", "ERROR"):
            reason = line.text("reason") or line.text("code")
            words = f"{who}: {name}" + (f": {reason}" if reason else "")
            return words, "bad" if line.text("level") == "ERROR" else "warn", who + name
    return None
