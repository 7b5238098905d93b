"""Signing in and out on this machine, and what nobody may do."""

import json
from dataclasses import replace

import httpx
import pytest

from tests.unit.chat.stage import ACCOUNT, SERVER, Stage

LOGIN = ("login", "--server", "https://page.test", "--email", ACCOUNT.email)
TOKENS = {"AuthenticationResult": {"IdToken": "t", "ExpiresIn": 3600, "RefreshToken": "refresh"}}


class TestAccount:
    @pytest.fixture(autouse=True)
    def _config(self, stage: Stage) -> None:
        stage.kept.forget_account()
        config = {name: getattr(SERVER, name) for name in SERVER.__slots__}
        stage.route("GET /config.json", config)

    def test_signing_in_is_kept_and_signing_out_forgets_it(self, stage: Stage) -> None:
        stage.route("POST /", TOKENS)
        done = stage.run(*LOGIN, "--password-stdin", stdin="secret \n")
        assert (done.exit_code, done.stdout) == (0, "")
        assert done.stderr == "Signed in as alice@example.com.\n"
        assert json.loads(stage.asked[-1].content)["AuthParameters"]["PASSWORD"] == "secret "
        assert stage.kept.account() == ACCOUNT
        assert stage.run("logout").exit_code == 0
        assert stage.kept.account() is None

    def test_a_code_is_the_next_line(self, stage: Stage) -> None:
        replies = iter(({"ChallengeName": "SOFTWARE_TOKEN_MFA", "Session": "s"}, TOKENS))
        stage.routes["POST /"] = lambda request: httpx.Response(200, json=next(replies))
        stage.run(*LOGIN, "--password-stdin", stdin="secret\n 123456\n")
        proof = json.loads(stage.asked[-1].content)["ChallengeResponses"]
        assert proof["SOFTWARE_TOKEN_MFA_CODE"] == "123456"
        assert stage.kept.account() == ACCOUNT

    def test_a_password_that_is_typed_is_not_shown(self, stage: Stage) -> None:
        stage.route("POST /", TOKENS)
        done = stage.run(*LOGIN, stdin="secret\n")
        assert (done.exit_code, "secret" in done.output) == (0, False)
        assert json.loads(stage.asked[-1].content)["AuthParameters"]["PASSWORD"] == "secret"

    @pytest.mark.parametrize("words", [("list",), ("me",), ("send", "Hello"), ("resume",)])
    def test_nobody_is_told_to_sign_in(self, stage: Stage, words: tuple[str, ...]) -> None:
        done = stage.run(*words)
        assert (done.exit_code, done.stdout) == (1, "")
        assert "chat login" in done.stderr

    def test_a_new_refresh_token_is_kept_even_if_the_call_fails(self, stage: Stage) -> None:
        stage.kept.keep_account(replace(ACCOUNT, refresh_token="old"))
        stage.route("POST /", TOKENS)
        stage.route("GET /me", {"code": "busy", "detail": "Later."}, 503)
        assert stage.run("me").exit_code == 1
        assert stage.kept.account() == ACCOUNT
