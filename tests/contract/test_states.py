"""What starts of state machines and the answers to their steps promise, whichever side they are on."""

import json
import uuid
from dataclasses import dataclass, replace
from typing import Any, Protocol

import pytest
from botocore.exceptions import ClientError

from chatcore.adapters import aws
from chatcore.adapters.memory.states import MemoryCompactions, MemoryWaits
from chatcore.adapters.sqs import sqs_client
from chatcore.adapters.stepfunctions import StatesCompactions, StatesWaits, states_client
from chatcore.domain.errors import StoreUnavailable
from chatcore.domain.summary import SummaryAsked
from chatcore.ports import Compactions, Waits
from tests.cloud import eventually

ASKED = SummaryAsked("user-alice", "c_1", "b_former", 1_800_000_000_008, 512)
ROLE = "arn:aws:iam::000000000000:role/states"
DEADLINE_S = 10


class Side(Protocol):
    """A state machine that waits at once for a token's answer, and what an operator sees of it."""

    @property
    def compactions(self) -> Compactions: ...

    @property
    def waits(self) -> Waits: ...

    def started(self) -> list[SummaryAsked]:
        """Oldest first."""

    def token(self) -> str:
        """Of an execution that was started for it, and waits."""

    def end(self, token: str) -> tuple[str, str]:
        """How its execution ended, and the error."""


@dataclass
class InMemory:
    compactions: MemoryCompactions
    waits: MemoryWaits

    def started(self) -> list[SummaryAsked]:
        return self.compactions.started

    def token(self) -> str:
        token = f"token-{len(self.waits.outcomes) + len(self.waits.waiting)}"
        self.waits.waiting.add(token)
        return token

    def end(self, token: str) -> tuple[str, str]:
        code = self.waits.outcomes[token]
        return ("FAILED", code) if code else ("SUCCEEDED", "")


@dataclass
class OnStepFunctions:
    states: Any
    sqs: Any
    lane_url: str
    arn: str
    compactions: StatesCompactions
    waits: StatesWaits

    def started(self) -> list[SummaryAsked]:
        listed = self.states.list_executions(stateMachineArn=self.arn)["executions"]
        told = [self._told(each["executionArn"]) for each in listed]
        return [SummaryAsked(**json.loads(each["input"])) for each in sorted(told, key=_started)]

    def token(self) -> str:
        self.compactions.start(replace(ASKED, chat_id=f"c_{uuid.uuid4().hex}"))
        answer = self.sqs.receive_message(QueueUrl=self.lane_url, WaitTimeSeconds=DEADLINE_S)
        return str(json.loads(answer["Messages"][0]["Body"])["token"])

    def end(self, token: str) -> tuple[str, str]:
        (execution,) = self.states.list_executions(stateMachineArn=self.arn)["executions"]

        def ended() -> tuple[str, str] | None:
            told = self._told(execution["executionArn"])
            running = told["status"] == "RUNNING"
            return None if running else (told["status"], told.get("error", ""))

        return eventually(ended, "the end of the execution", DEADLINE_S)

    def _told(self, execution: str) -> dict[str, Any]:
        told: dict[str, Any] = self.states.describe_execution(executionArn=execution)
        return told


def _started(told: dict[str, Any]) -> Any:
    return told["startDate"]


@pytest.fixture(params=["memory", "ministack"])
def side(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Side:
    if request.param == "memory":
        return InMemory(MemoryCompactions(), MemoryWaits())
    for key, value in request.getfixturevalue("ministack_environment").items():
        monkeypatch.setenv(key, value)
    aws.session.cache_clear()
    sqs, states = sqs_client(), states_client()
    name = f"s{uuid.uuid4().hex[:12]}"
    lane_url = sqs.create_queue(QueueName=name)["QueueUrl"]
    body = "{% $string({'token': $states.context.Task.Token}) %}"
    wait = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Arguments": {"QueueUrl": lane_url, "MessageBody": body},
        "End": True,
    }
    machine = {"QueryLanguage": "JSONata", "StartAt": "Wait", "States": {"Wait": wait}}
    made = states.create_state_machine(name=name, roleArn=ROLE, definition=json.dumps(machine))
    arn = made["stateMachineArn"]
    compactions = StatesCompactions(states, arn)
    return OnStepFunctions(states, sqs, lane_url, arn, compactions, StatesWaits(states))


class TestCompactions:
    def test_each_try_is_started_once(self, side: Side) -> None:
        further = replace(ASKED, up_to_seq=ASKED.up_to_seq + 2)
        other = replace(ASKED, chat_id="c_2")
        # One that failed must not keep the next from being tried, even up to the same place.
        later = replace(ASKED, asked_ms=ASKED.asked_ms + 1)
        for asked in (ASKED, ASKED, further, other, later, further):
            side.compactions.start(asked)
        assert set(side.started()) == {ASKED, further, other, later}
        assert len(side.started()) == 4


class TestWaits:
    def test_a_step_that_is_told_of_success_goes_on(self, side: Side) -> None:
        token = side.token()
        assert side.waits.beat(token)
        assert side.waits.beat(token)
        side.waits.succeed(token)
        assert side.end(token) == ("SUCCEEDED", "")

    def test_one_that_is_told_of_a_failure_fails_by_its_code(self, side: Side) -> None:
        token = side.token()
        side.waits.fail(token, "engine_error", "the run r_1 ended as engine_error")
        assert side.end(token) == ("FAILED", "engine_error")

    def test_a_step_that_is_over_hears_nothing(self, side: Side) -> None:
        token = side.token()
        side.waits.fail(token, "engine_error", "first")
        assert side.end(token) == ("FAILED", "engine_error")
        assert not side.waits.beat(token)
        side.waits.succeed(token)
        side.waits.fail(token, "late", "later")
        assert side.end(token) == ("FAILED", "engine_error")

    def test_a_token_that_nobody_gave_is_nobodys(self, side: Side) -> None:
        assert not side.waits.beat("no such token")
        side.waits.succeed("no such token")
        side.waits.fail("no such token", "code", "cause")


class TestTrouble:
    """Of Step Functions only: memory has none."""

    @pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
    def test_these_words_say_that_nobody_waits(self, code: str) -> None:
        waits = StatesWaits(_refusing(code))
        waits.succeed("token")
        waits.fail("token", "code", "cause")
        assert not waits.beat("token")

    @pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException"])
    def test_others_go_up_and_are_tried_again(self, code: str) -> None:
        waits = StatesWaits(_refusing(code))
        for tell in (waits.succeed, waits.beat, lambda token: waits.fail(token, "code", "cause")):
            with pytest.raises(StoreUnavailable, match=code):
                tell("token")
        with pytest.raises(StoreUnavailable, match=code):
            StatesCompactions(_refusing(code), "arn").start(ASKED)

    def test_what_is_running_or_has_run_is_started_already(self) -> None:
        StatesCompactions(_refusing("ExecutionAlreadyExists"), "arn").start(ASKED)


def _refusing(code: str) -> Any:
    """A client to which every call is answered by this error."""

    class Refusing:
        def __getattr__(self, name: str) -> Any:
            def call(**_: object) -> Any:
                raise ClientError({"Error": {"Code": code, "Message": "vendor's words"}}, name)

            return call

    return Refusing()
