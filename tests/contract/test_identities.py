"""What the user pool and the files of exports promise, whichever side they are on."""

import uuid
from collections.abc import Callable
from typing import Any, Protocol

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from chatcore.adapters import aws
from chatcore.adapters.cognito import CognitoUserPool, cognito_client
from chatcore.adapters.memory.accounts import MemoryExportFiles, MemoryUserPool
from chatcore.adapters.memory.states import MemoryAccountPurges, MemoryExportJobs
from chatcore.adapters.s3 import S3ExportFiles, s3_client
from chatcore.adapters.stepfunctions import StatesAccountPurges, StatesExportJobs
from chatcore.domain.errors import StoreUnavailable
from chatcore.domain.export import ExportState
from chatcore.domain.identity import Profile
from chatcore.domain.tiers import Tier
from chatcore.ports import AccountPurges, ExportFiles, ExportJobs, UserPool

pytestmark = pytest.mark.enable_socket

EMAIL = "alice@example.com"
AT_ONCE = 10


class Town(Protocol):
    """A user pool with people in it."""

    pool: UserPool

    def move_in(self, email: str, tier: str | None) -> str:
        """The user's id."""

    def may_sign_in(self, user_id: str) -> bool: ...


class InMemory:
    def __init__(self) -> None:
        self.sides = MemoryUserPool()
        self.pool: UserPool = self.sides

    def move_in(self, email: str, tier: str | None) -> str:
        user_id = str(uuid.uuid4())
        self.sides.profiles[user_id] = Profile(email, True, Tier.PRO if tier else Tier.FREE, 1)
        return user_id

    def may_sign_in(self, user_id: str) -> bool:
        return user_id in self.sides.profiles and user_id not in self.sides.locked_out


class OnCognito:
    def __init__(self) -> None:
        self.client: Any = boto3.client("cognito-idp")
        made = self.client.create_user_pool(
            PoolName=f"p{uuid.uuid4().hex}",
            UsernameAttributes=["email"],
            Schema=[{"Name": "tier", "AttributeDataType": "String", "Mutable": True}],
        )
        self.pool_id: str = made["UserPool"]["Id"]
        self.pool: UserPool = CognitoUserPool(cognito_client(), self.pool_id)

    def move_in(self, email: str, tier: str | None) -> str:
        attributes = {"email": email, "email_verified": "true"}
        if tier is not None:
            attributes["custom:tier"] = tier
        made = self.client.admin_create_user(
            UserPoolId=self.pool_id,
            Username=email,
            UserAttributes=[{"Name": n, "Value": value} for n, value in attributes.items()],
            MessageAction="SUPPRESS",
        )
        told = {each["Name"]: each["Value"] for each in made["User"]["Attributes"]}
        return str(told["sub"])

    def may_sign_in(self, user_id: str) -> bool:
        try:
            found = self.client.admin_get_user(UserPoolId=self.pool_id, Username=user_id)
        except self.client.exceptions.UserNotFoundException:
            return False
        return bool(found["Enabled"])


def _enter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in request.getfixturevalue("ministack_environment").items():
        monkeypatch.setenv(key, value)
    aws.session.cache_clear()


@pytest.fixture(params=["memory", "ministack"])
def town(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Town:
    if request.param == "memory":
        return InMemory()
    _enter(request, monkeypatch)
    return OnCognito()


class TestUserPool:
    @pytest.mark.parametrize(("tier", "expected"), [("pro", Tier.PRO), (None, Tier.FREE)])
    def test_it_knows_people_by_their_ids(
        self, town: Town, tier: str | None, expected: Tier
    ) -> None:
        user_id = town.move_in(EMAIL, tier)
        profile = town.pool.profile(user_id)
        assert profile is not None
        assert (profile.email, profile.email_verified, profile.tier) == (EMAIL, True, expected)
        assert profile.created_ms > 0

    def test_who_is_locked_out_cannot_sign_in_and_others_can(self, town: Town) -> None:
        alice, bob = town.move_in(EMAIL, None), town.move_in("bob@example.com", None)
        for _ in range(2):
            town.pool.lock_out(alice)
            assert not town.may_sign_in(alice)
        assert town.may_sign_in(bob)
        assert town.pool.profile(alice) is not None

    def test_who_is_removed_is_gone_and_may_come_back_as_another(self, town: Town) -> None:
        user_id = town.move_in(EMAIL, "pro")
        for _ in range(2):
            town.pool.remove(user_id)
            assert town.pool.profile(user_id) is None
        town.pool.lock_out(user_id)
        again = town.move_in(EMAIL, None)
        assert again != user_id
        assert town.may_sign_in(again)


@pytest.fixture(params=["memory", "ministack"])
def files(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ExportFiles:
    if request.param == "memory":
        return MemoryExportFiles(at_once=AT_ONCE)
    _enter(request, monkeypatch)
    bucket = f"b{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return S3ExportFiles(s3_client(), bucket, AT_ONCE)


class TestExportFiles:
    def test_a_file_comes_back_as_it_was_put_last(self, files: ExportFiles) -> None:
        assert files.get("alice", "e_1", "part-00001.jsonl") is None
        files.put("alice", "e_1", "part-00001.jsonl", b"first")
        files.put("alice", "e_1", "part-00001.jsonl", "zwei 😀\n".encode())
        assert files.get("alice", "e_1", "part-00001.jsonl") == "zwei 😀\n".encode()
        for other in (("bob", "e_1"), ("alice", "e_2")):
            assert files.get(*other, "part-00001.jsonl") is None

    def test_all_of_a_user_go_and_no_others(self, files: ExportFiles) -> None:
        for user_id in ("alice", "alice2", "bob"):
            for number in range(3):
                files.put(user_id, f"e_{number}", "manifest.json", b"{}")
        for _ in range(2):
            assert files.remove("alice")
            assert files.get("alice", "e_1", "manifest.json") is None
        for user_id in ("alice2", "bob"):
            assert files.get(user_id, "e_1", "manifest.json") == b"{}"

    def test_many_go_over_several_calls(self, files: ExportFiles) -> None:
        for number in range(2 * AT_ONCE + 1):
            files.put("alice", "e_1", f"part-{number:05d}.jsonl", b"{}")
        assert [files.remove("alice") for _ in range(4)] == [False, False, True, True]


def test_whoever_has_a_link_fetches_the_file_by_it(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    _enter(request, monkeypatch)
    bucket = f"b{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    files = S3ExportFiles(s3_client(), bucket)
    files.put("alice", "e_1", "part-00001.jsonl", b'{"kind":"profile"}\n')
    url = files.link("alice", "e_1", "part-00001.jsonl", 900)
    assert "X-Amz-Expires=900" in url
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url
    answer = httpx.get(url)
    assert (answer.status_code, answer.content) == (200, b'{"kind":"profile"}\n')
    saved_as = answer.headers["content-disposition"]
    assert saved_as == 'attachment; filename="e_1-part-00001.jsonl"'


class TestStarts:
    """What is started by a user, once each. How it ends is the machines' (see test_started_machines)."""

    def test_in_memory(self) -> None:
        purges: AccountPurges = MemoryAccountPurges()
        purges.start("alice")
        purges.start("alice")
        jobs: ExportJobs = MemoryExportJobs()
        jobs.start("alice", "e_1")
        jobs.start("alice", "e_1")
        assert jobs.state("alice", "e_1") is ExportState.PREPARING
        assert jobs.state("bob", "e_1") is jobs.state("alice", "e_2") is None

    @pytest.mark.parametrize(
        ("status", "state"),
        [
            ("RUNNING", ExportState.PREPARING),
            ("PENDING_REDRIVE", ExportState.PREPARING),
            ("SUCCEEDED", ExportState.READY),
            ("FAILED", ExportState.FAILED),
            ("TIMED_OUT", ExportState.FAILED),
            ("ABORTED", ExportState.FAILED),
        ],
    )
    def test_every_status_of_an_execution_is_one_of_an_export(
        self, status: str, state: ExportState
    ) -> None:
        class Telling:
            def describe_execution(self, executionArn: str) -> dict[str, str]:  # noqa: N803
                assert executionArn == "arn:aws:states:r:1:execution:s-export:export-alice-e_1"
                return {"status": status}

        telling: Any = Telling()
        jobs = StatesExportJobs(telling, "arn:aws:states:r:1:stateMachine:s-export")
        assert jobs.state("alice", "e_1") is state


class Refusing:
    """A client to which every call is answered by this error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        def call(**_: object) -> Any:
            raise self._error

        return call


def _fault(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "vendor's words"}}, "Operation")


TROUBLE = [
    _fault("TooManyRequestsException"),
    _fault("AccessDenied"),
    EndpointConnectionError(endpoint_url="https://vendor.invalid"),
]


def _calls(error: Exception) -> list[Callable[[], object]]:
    client: Any = Refusing(error)
    pool, files = CognitoUserPool(client, "pool"), S3ExportFiles(client, "bucket")
    jobs = StatesExportJobs(client, "arn")
    return [
        lambda: pool.profile("alice"),
        lambda: pool.lock_out("alice"),
        lambda: pool.remove("alice"),
        lambda: files.put("alice", "e_1", "part", b""),
        lambda: files.get("alice", "e_1", "part"),
        lambda: files.remove("alice"),
        lambda: jobs.start("alice", "e_1"),
        lambda: jobs.state("alice", "e_1"),
        lambda: StatesAccountPurges(client, "arn").start("alice"),
    ]


@pytest.mark.parametrize("error", TROUBLE, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("number", range(len(_calls(TROUBLE[0]))))
def test_trouble_is_said_to_be_worth_another_try(number: int, error: Exception) -> None:
    with pytest.raises(StoreUnavailable):
        _calls(error)[number]()


def test_files_that_could_not_be_removed_are_not_taken_for_gone() -> None:
    class Halfway:
        def list_objects_v2(self, **_: object) -> dict[str, Any]:
            return {"Contents": [{"Key": "alice/e_1/part"}], "IsTruncated": False}

        def delete_objects(self, **_: object) -> dict[str, Any]:
            return {"Errors": [{"Key": "alice/e_1/part", "Code": "InternalError"}]}

    halfway: Any = Halfway()
    with pytest.raises(StoreUnavailable):
        S3ExportFiles(halfway, "bucket").remove("alice")


def test_what_is_running_or_has_run_is_started_already() -> None:
    client: Any = Refusing(_fault("ExecutionAlreadyExists"))
    StatesAccountPurges(client, "arn").start("alice")
    StatesExportJobs(client, "arn").start("alice", "e_1")
