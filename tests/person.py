"""A user of the running cloud: signed in by Cognito, speaking HTTP and WebSocket.

Owns what a client would do, in the plainest form, and holds every frame to the AsyncAPI file. What
comes in is applied strictly by the protocol's rules: a gap fails the test at once where none can be, and
so does a repeat that nobody asked for.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
from websockets.sync.client import connect

from chatcore.domain.tiers import Tier
from tests.asyncapi import validate_action, validate_event
from tests.cloud import DEADLINE_S, Cloud, Row, eventually

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

Frame = dict[str, Any]

TERMINAL_EVENTS = frozenset({"run.completed", "run.failed", "run.cancelled"})
TERMINAL = frozenset({"completed", "failed", "cancelled"})
PASSWORD = "A passw0rd of enough characters!"


def new_message_id() -> str:
    return uuid.uuid4().hex


@dataclass
class Answer:
    """What a viewer sees of one run.

    text, epoch: as told so far, or as he had them before he came. may_repeat: its message was sent
    twice, and each send is answered with all that there is; or a post was given up that arrived.
    """

    run_id: str
    text: str = ""
    epoch: int = 0
    may_repeat: bool = False
    frames: list[Frame] = field(default_factory=list)
    end: Frame | None = None

    @property
    def types(self) -> list[str]:
        return [frame["type"] for frame in self.frames]

    @property
    def deltas(self) -> list[Frame]:
        return [frame for frame in self.frames if frame["type"] == "run.delta"]

    def take(self, frame: Frame) -> bool:
        """Apply a frame. False where text before it is missing, which attaching will bring."""
        self.frames.append(frame)
        if self.end is not None:
            assert self.may_repeat, f"after the end: {frame}"
            return True
        kind = frame["type"]
        if kind == "run.queued":
            return True
        assert frame["epoch"] >= self.epoch, f"an epoch that is over speaks: {frame}"
        self.epoch = frame["epoch"]
        if kind == "run.rewound":
            self.text = self.text[: frame["offset"]]
        elif kind == "run.delta":
            known = len(self.text) - frame["offset"]
            assert known <= 0 or self.may_repeat, f"a repeat: {frame}"
            if known < 0:
                return False
            assert frame["text"].startswith(self.text[frame["offset"] :][: len(frame["text"])])
            self.text += frame["text"][known:]
        elif kind in TERMINAL_EVENTS:
            assert frame["length"] >= len(self.text), f"more was told than there is: {frame}"
            if frame["length"] > len(self.text):
                return False
            self.end = frame
        return True


@dataclass
class Line:
    """A WebSocket connection. answers: of all runs it was told of; errors: all of its error frames.

    attaches_on_gap: for runs that change hands, whose new worker does not know what the old one's
    viewers have heard. Elsewhere a gap fails the test.
    """

    connection: ClientConnection
    attaches_on_gap: bool = False
    answers: dict[str, Answer] = field(default_factory=dict)
    errors: list[Frame] = field(default_factory=list)
    _asked_from: dict[str, int] = field(default_factory=dict)
    _sent: Counter[str] = field(default_factory=Counter)

    def say(self, action: str, **fields: Any) -> None:
        frame = {"action": action, **fields}
        validate_action(frame)
        if action == "send":
            self._sent[fields["message_id"]] += 1
        self.say_raw(json.dumps(frame))

    def say_raw(self, text: str) -> None:
        self.connection.send(text)

    def hear(self, timeout_s: float = DEADLINE_S) -> Frame:
        said = self.connection.recv(timeout_s)
        if not self._is_ours(said):
            return {"type": "gateway"}
        frame: Frame = json.loads(said)
        validate_event(frame)
        if frame["type"] == "error":
            self.errors.append(frame)
        elif "run_id" in frame:
            answer = self.answers.setdefault(frame["run_id"], Answer(frame["run_id"]))
            answer.may_repeat |= self._sent[frame.get("message_id") or ""] > 1
            if not answer.take(frame):
                self._close_gap(answer, frame)
        return frame

    def _is_ours(self, said: str | bytes) -> bool:
        """The gateway speaks for a function that did not answer in time. Where answers may be asked for
        again that is done: it may have been one of theirs that was lost."""
        try:
            if "type" in json.loads(said):
                return True
        except ValueError:
            pass
        assert self.attaches_on_gap, f"a function did not answer: {said!r}"
        for answer in self.answers.values():
            if answer.end is None:
                self.say(
                    "attach", run_id=answer.run_id, offset=len(answer.text), epoch=answer.epoch
                )
        return False

    def _close_gap(self, answer: Answer, frame: Frame) -> None:
        assert self.attaches_on_gap, f"a gap: {frame}"
        length = len(answer.text)
        # Each frame until the replay shows the same gap: it is asked for once.
        if self._asked_from.get(answer.run_id) != length:
            self._asked_from[answer.run_id] = length
            self.say("attach", run_id=answer.run_id, offset=length, epoch=answer.epoch)

    def hear_until(
        self, wanted: Callable[[Frame], bool], what: str, deadline_s: float = DEADLINE_S
    ) -> Frame:
        """Listen up to the first frame that is wanted."""
        ends_s = time.monotonic() + deadline_s
        while True:
            left_s = ends_s - time.monotonic()
            assert left_s > 0, f"not heard within {deadline_s} s: {what}"
            try:
                frame = self.hear(left_s)
            except TimeoutError:
                continue
            if wanted(frame):
                return frame

    def ask(self, text: str, chat_id: str | None = None, message_id: str | None = None) -> Answer:
        """Send, and wait until the run is told of."""
        message_id = message_id or new_message_id()
        self.say("send", chat_id=chat_id, message_id=message_id, text=text)
        told = self.hear_until(
            lambda frame: message_id in (frame.get("message_id"), frame.get("ref")),
            "an answer to the send",
        )
        assert told["type"] != "error", told
        return self.answers[told["run_id"]]

    def attach(self, run_id: str, seen: Answer | None = None) -> Answer:
        """Ask for a run from where `seen` ends, or from its beginning; returns what will grow."""
        answer = Answer(run_id) if seen is None else Answer(run_id, seen.text, seen.epoch)
        self.answers[run_id] = answer
        self.say("attach", run_id=run_id, offset=len(answer.text), epoch=answer.epoch)
        return answer

    def until_length(self, answer: Answer, length: int) -> None:
        if len(answer.text) < length:
            self.hear_until(lambda _: len(answer.text) >= length, f"{length} characters")

    def finish(self, answer: Answer, deadline_s: float = DEADLINE_S) -> Frame:
        """Listen up to the run's terminal event."""
        if answer.end is None:
            self.hear_until(lambda _: answer.end is not None, "the run's end", deadline_s)
        assert answer.end is not None
        return answer.end

    def refused(self, text: str) -> Frame:
        """Say a raw frame that nothing but an error may answer."""
        self.say_raw(text)
        frame = self.hear()
        assert frame["type"] == "error", frame
        return frame

    def is_alive(self) -> bool:
        self.say("ping")
        self.hear_until(lambda frame: frame["type"] == "pong", "pong")
        return True


@dataclass(frozen=True)
class Person:
    """user_id: Cognito's `sub`."""

    cloud: Cloud
    email: str
    tier: str
    user_id: str
    id_token: str
    access_token: str
    http: httpx.Client

    def get(self, path: str, **params: Any) -> Any:
        return self._call("GET", path, 200, params=params)

    def post(self, path: str, body: Any = None, status: int = 201) -> Any:
        return self._call("POST", path, status, json=body)

    def patch(self, path: str, body: Any) -> Any:
        return self._call("PATCH", path, 200, json=body)

    def delete(self, path: str) -> None:
        self._call("DELETE", path, 204)

    def refused(self, method: str, path: str, **request: Any) -> tuple[int, str]:
        """The status and the stable code of a request that must fail."""
        response = self.http.request(method, path, **request)
        assert response.headers["content-type"] == "application/problem+json", response.text
        problem = response.json()
        assert problem["status"] == response.status_code
        assert {"type", "title", "detail", "code"} <= problem.keys()
        return response.status_code, problem["code"]

    def _call(self, method: str, path: str, status: int, **request: Any) -> Any:
        response = self.http.request(method, path, **request)
        assert response.status_code == status, (response.status_code, response.text)
        return response.json() if response.content else None

    def ws_url(self, ticket: str | None = None) -> str:
        """With a fresh ticket, where none is given."""
        ticket = ticket or self.post("/tickets")["ticket"]
        return f"{self.cloud.endpoints.ws_url}?ticket={ticket}"

    @contextmanager
    def line(
        self,
        *,
        attaches_on_gap: bool = False,
        ticket: str | None = None,
        open_timeout_s: float = 10.0,
    ) -> Iterator[Line]:
        # Unbounded: a test that listens to one of its lines only must not hold up the others.
        with connect(
            self.ws_url(ticket), max_queue=None, open_timeout=open_timeout_s
        ) as connection:
            yield Line(connection, attaches_on_gap)

    def send(self, text: str, chat_id: str | None = None, status: int = 202) -> Row:
        """Send over HTTP, into a new chat where none is given; returns the run."""
        chat_id = chat_id or self.post("/chats", {})["chat_id"]
        body = {"message_id": new_message_id(), "text": text}
        run: Row = self.post(f"/chats/{chat_id}/messages", body, status)
        return run

    def ended_run(self, run_id: str, deadline_s: float = DEADLINE_S) -> Row:
        """Ask by HTTP until the run has ended."""

        def look() -> Row | None:
            run: Row = self.get(f"/runs/{run_id}")
            return run if run["status"] in TERMINAL else None

        return eventually(look, f"the end of {run_id}", deadline_s)

    def messages(self, chat_id: str) -> list[Row]:
        found: list[Row] = self.get(f"/chats/{chat_id}/messages", limit=100)["messages"]
        return found

    def stored_answer(self, chat_id: str) -> Row:
        """The last message of the chat."""
        message = self.messages(chat_id)[-1]
        assert message["role"] == "assistant"
        return message

    def usage(self) -> Row:
        usage: Row = self.get("/me")["usage"]
        return usage

    def footprint(self) -> tuple[int, int, int, Row]:
        """How much the tables hold of this user: chats, messages, runs; and the ledger."""
        chats = {row["chat_id"] for row in self.cloud.rows("chats") if self._owns(row)}
        messages = [row for row in self.cloud.rows("messages") if row["chat_id"] in chats]
        runs = [row for row in self.cloud.rows("runs") if self._owns(row) and not _is_ours(row)]
        ledger = next((row for row in self.cloud.rows("ledgers") if self._owns(row)), {})
        return len(chats), len(messages), len(runs), ledger

    def _owns(self, row: Row) -> bool:
        # What a purge leaves of a run names nobody.
        return bool(row.get("user_id") == self.user_id)


def _is_ours(row: Row) -> bool:
    """Whether it is a run of the background, which is gone as soon as it has ended."""
    return bool(row["tier"] == Tier.BACKGROUND)


def sign_up(cloud: Cloud, tier: str) -> Person:
    """Make an account as an administrator would, and sign in to it as its user would."""
    email = f"{tier}-{uuid.uuid4().hex[:12]}@example.com"
    make_account(cloud, cloud.outputs["UserPoolId"], email, tier)
    tokens = sign_in(cloud, cloud.endpoints.user_pool_client_id, email)
    claims = claims_of(tokens["IdToken"])
    http = httpx.Client(
        base_url=cloud.endpoints.http_url,
        headers={"authorization": f"Bearer {tokens['IdToken']}"},
        timeout=DEADLINE_S,
    )
    return Person(
        cloud=cloud,
        email=email,
        tier=tier,
        user_id=claims["sub"],
        id_token=tokens["IdToken"],
        access_token=tokens["AccessToken"],
        http=http,
    )


def make_account(cloud: Cloud, pool_id: str, email: str, tier: str | None = None) -> None:
    attributes = {"email": email, "email_verified": "true"}
    if tier is not None:
        attributes["custom:tier"] = tier
    cloud.cognito.admin_create_user(
        UserPoolId=pool_id,
        Username=email,
        UserAttributes=[{"Name": name, "Value": value} for name, value in attributes.items()],
        MessageAction="SUPPRESS",
    )
    cloud.cognito.admin_set_user_password(
        UserPoolId=pool_id, Username=email, Password=PASSWORD, Permanent=True
    )


def sign_in(cloud: Cloud, client_id: str, email: str) -> dict[str, str]:
    """The tokens, by their names in Cognito's answer."""
    answer = cloud.cognito.initiate_auth(
        ClientId=client_id,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": email, "PASSWORD": PASSWORD},
    )
    result = answer["AuthenticationResult"]
    return {"IdToken": result["IdToken"], "AccessToken": result["AccessToken"]}


def claims_of(token: str) -> Row:
    payload = token.split(".")[1]
    claims: Row = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims
