"""The tiers' settings from a real parameter, on moto and on MiniStack."""

import uuid
from dataclasses import replace
from typing import Any

import boto3
import pytest
from aws_lambda_powertools import Logger

from chatcore.adapters import aws
from chatcore.adapters.ssm import OLDEST_MS, SsmTiers, ssm_client
from chatcore.domain.tier_document import tiers_document
from chatcore.domain.tiers import DEFAULTS, Tier
from tests.contract.clock import TestClock

PAUSED = {**DEFAULTS, Tier.FREE: replace(DEFAULTS[Tier.FREE], paused=True)}
QUIET = Logger(service="contract", level="CRITICAL")


@pytest.fixture(params=["moto", "ministack"])
def console(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """As an operator has it."""
    for key, value in request.getfixturevalue(f"{request.param}_environment").items():
        monkeypatch.setenv(key, value)
    aws.session.cache_clear()
    return boto3.client("ssm")


def test_a_change_is_seen_and_what_is_wrong_or_gone_is_not(console: Any) -> None:
    name = f"/t{uuid.uuid4().hex[:12]}/tiers"
    clock = TestClock()
    source = SsmTiers(ssm_client(), name, QUIET, clock)
    assert source.current() == DEFAULTS

    def put(text: str) -> None:
        console.put_parameter(Name=name, Value=text, Type="String", Overwrite=True)
        clock.advance(OLDEST_MS)

    put(tiers_document(PAUSED))
    assert source.current() == PAUSED
    put(tiers_document(DEFAULTS))
    assert source.current() == DEFAULTS
    put(tiers_document(PAUSED))
    assert source.current() == PAUSED
    put("{}")
    assert source.current() == PAUSED
    console.delete_parameter(Name=name)
    clock.advance(OLDEST_MS)
    assert source.current() == PAUSED
    # Made anew, its versions begin again.
    put(tiers_document(DEFAULTS))
    assert source.current() == DEFAULTS
