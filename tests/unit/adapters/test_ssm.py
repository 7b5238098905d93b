"""How old the tiers' settings may be, and what holds when they cannot be read or used."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError, ConnectTimeoutError

from chatcore.adapters.ssm import OLDEST_MS, REFRESH_AFTER_MS, TRY_AGAIN_AFTER_MS, SsmTiers
from chatcore.domain.tier_document import tiers_document
from chatcore.domain.tiers import DEFAULTS, Tier, Tiers
from tests.contract.clock import TestClock


def paused(tier: Tier) -> Tiers:
    return {**DEFAULTS, tier: replace(DEFAULTS[tier], paused=True)}


ONE, TWO = paused(Tier.FREE), paused(Tier.PLUS)
THROTTLED = ClientError({"Error": {"Code": "ThrottlingException"}}, "GetParameter")
AWAY = ConnectTimeoutError(endpoint_url="https://ssm")


@dataclass
class Parameter:
    """Stands for botocore's client, and is the parameter. fault: what the next looks meet."""

    text: str = tiers_document(ONE)
    version: int = 1
    fault: Exception | None = None
    looks: int = 0

    def get_parameter(self, *, Name: str) -> Mapping[str, Any]:  # noqa: N803 - botocore's word
        assert Name == "/stack/tiers"
        self.looks += 1
        if self.fault is not None:
            raise self.fault
        return {"Parameter": {"Value": self.text, "Version": self.version}}

    def put(self, text: str) -> None:
        self.text = text
        self.version += 1


@dataclass
class Notes:
    """Stands for the logger."""

    said: list[tuple[str, str, Mapping[str, object]]] = field(default_factory=list)

    def __getattr__(self, level: str) -> Any:
        return lambda words, extra: self.said.append((level, words, extra))

    @property
    def words(self) -> list[str]:
        return [words for _, words, _ in self.said]


@dataclass
class Desk:
    parameter: Parameter = field(default_factory=Parameter)
    notes: Notes = field(default_factory=Notes)
    clock: TestClock = field(default_factory=TestClock)

    def __post_init__(self) -> None:
        logger = cast(Logger, self.notes)
        self.source = SsmTiers(self.parameter, "/stack/tiers", logger, self.clock)

    def after(self, ms: int) -> Tiers:
        self.clock.advance(ms)
        return self.source.current()


@pytest.fixture
def desk() -> Desk:
    return Desk()


class TestHowOldTheyMayBe:
    def test_what_is_young_is_not_read_again(self, desk: Desk) -> None:
        assert desk.source.current() == ONE
        desk.parameter.put(tiers_document(TWO))
        assert desk.after(OLDEST_MS - 1) == ONE
        assert desk.parameter.looks == 1

    def test_a_change_shows_within_a_minute_however_long_nobody_asked(self, desk: Desk) -> None:
        desk.source.current()
        desk.parameter.put(tiers_document(TWO))
        assert desk.after(OLDEST_MS) == TWO
        desk.parameter.put(tiers_document(ONE))
        assert desk.after(10 * 3_600_000) == ONE
        assert OLDEST_MS < 60_000

    def test_refreshing_early_spares_those_who_would_wait(self, desk: Desk) -> None:
        desk.source.current()
        desk.parameter.put(tiers_document(TWO))
        desk.clock.advance(REFRESH_AFTER_MS - 1)
        assert desk.source.refresh() == ONE
        desk.clock.advance(1)
        assert desk.source.refresh() == TWO
        assert desk.after(OLDEST_MS - 1) == TWO
        assert desk.parameter.looks == 2

    def test_age_counts_from_before_the_call(self, desk: Desk) -> None:
        answer = desk.parameter.get_parameter

        def slowly(*, Name: str) -> Mapping[str, Any]:  # noqa: N803 - botocore's word
            found = answer(Name=Name)
            desk.clock.advance(900)
            return found

        desk.parameter.get_parameter = slowly  # type: ignore[method-assign]
        desk.source.current()
        desk.after(OLDEST_MS - 900)
        assert desk.parameter.looks == 2

    def test_many_threads_at_once_make_one_look(self, desk: Desk) -> None:
        seen: list[Tiers] = []
        all_ask = threading.Barrier(8, timeout=10)

        class Door:
            """The lock, before which all of them have found the settings too old."""

            lock = threading.Lock()

            def __enter__(self) -> None:
                all_ask.wait()
                self.lock.acquire()

            def __exit__(self, *_: object) -> None:
                self.lock.release()

        desk.source._lock = cast(threading.Lock, Door())

        def ask() -> None:
            seen.append(desk.source.current())

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [ONE] * 8
        assert desk.parameter.looks == 1

    def test_nobody_waits_for_a_refresh_of_what_is_young_enough(self, desk: Desk) -> None:
        desk.source.current()
        desk.clock.advance(REFRESH_AFTER_MS)
        asked, may_answer = threading.Event(), threading.Event()
        answer = desk.parameter.get_parameter

        def stuck(*, Name: str) -> Mapping[str, Any]:  # noqa: N803 - botocore's word
            asked.set()
            assert may_answer.wait(10)
            return answer(Name=Name)

        desk.parameter.get_parameter = stuck  # type: ignore[method-assign]
        refreshing = threading.Thread(target=desk.source.refresh)
        refreshing.start()
        assert asked.wait(10)
        assert desk.source.current() == ONE
        may_answer.set()
        refreshing.join()


@pytest.mark.parametrize("fault", [THROTTLED, AWAY], ids=["throttled", "away"])
class TestWhenItCannotBeRead:
    def test_the_last_good_ones_hold(self, desk: Desk, fault: Exception) -> None:
        desk.source.current()
        desk.parameter.fault = fault
        assert desk.after(OLDEST_MS) == ONE
        level, words, extra = desk.notes.said[-1]
        assert (level, words) == ("warning", "tiers.trouble")
        assert extra["reason"] in ("ThrottlingException", "ConnectTimeoutError")

    def test_it_is_tried_again_but_not_at_once(self, desk: Desk, fault: Exception) -> None:
        desk.source.current()
        desk.parameter.fault = fault
        desk.after(OLDEST_MS)
        desk.parameter.fault = None
        desk.parameter.put(tiers_document(TWO))
        assert desk.after(TRY_AGAIN_AFTER_MS - 1) == ONE
        assert desk.parameter.looks == 2
        assert desk.after(1) == TWO
        # And then in the usual rhythm.
        desk.after(OLDEST_MS - 1)
        assert desk.parameter.looks == 3

    def test_from_the_start_the_built_in_ones_hold(self, desk: Desk, fault: Exception) -> None:
        desk.parameter.fault = fault
        assert desk.source.current() == DEFAULTS
        assert desk.after(TRY_AGAIN_AFTER_MS) == DEFAULTS
        assert desk.notes.words == ["tiers.trouble", "tiers.built_in", "tiers.trouble"]
        assert [level for level, words, _ in desk.notes.said if words == "tiers.built_in"] == [
            "error"
        ]
        desk.parameter.fault = None
        assert desk.after(TRY_AGAIN_AFTER_MS) == ONE


class TestADocumentThatCannotBeUsed:
    def test_the_last_good_one_stays_and_it_is_said_once(self, desk: Desk) -> None:
        desk.source.current()
        desk.parameter.put(tiers_document(TWO).replace('"weight": 4', '"weight": -4'))
        for _ in range(3):
            assert desk.after(OLDEST_MS) == ONE
        refusals = [note for note in desk.notes.said if note[1] == "tiers.refused"]
        assert refusals == [
            (
                "error",
                "tiers.refused",
                {"version": 2, "reason": "plus: weight must be greater than 0"},
            )
        ]
        desk.parameter.put("{}")
        desk.after(OLDEST_MS)
        assert desk.notes.words.count("tiers.refused") == 2
        desk.parameter.put(tiers_document(TWO))
        assert desk.after(OLDEST_MS) == TWO

    def test_from_the_start_the_built_in_ones_hold(self, desk: Desk) -> None:
        desk.parameter.put("no json")
        assert desk.source.current() == DEFAULTS
        assert desk.notes.words == ["tiers.refused", "tiers.built_in"]
        assert {level for level, _, _ in desk.notes.said} == {"error"}

    def test_a_parameter_that_was_made_anew_counts_as_changed(self, desk: Desk) -> None:
        desk.source.current()
        desk.parameter.text = tiers_document(TWO)
        assert desk.after(OLDEST_MS) == TWO

    def test_what_is_adopted_is_said_once(self, desk: Desk) -> None:
        desk.source.current()
        desk.after(OLDEST_MS)
        assert desk.notes.said == [("info", "tiers.adopted", {"version": 1})]
