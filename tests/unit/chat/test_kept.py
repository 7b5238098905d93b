"""What the terminal client finds again at its next start."""

import os
from pathlib import Path

from chat.identity import Server
from chat.kept import Account, Kept, Sent

ACCOUNT = Account(
    "http://localhost:8400",
    Server("https://api.test", "wss://ws.test", "https://cognito.test", "client-1"),
    "alice@example.com",
    "refresh",
)


def sent(message_id: str, sent_ms: int, email: str = ACCOUNT.email) -> Sent:
    return Sent(message_id, None, "Hello 🦊", email, sent_ms)


def test_an_account_is_kept_for_its_user_alone(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "new" / "folder")
    assert kept.account() is None
    kept.keep_account(ACCOUNT)
    assert kept.account() == ACCOUNT
    files = list(kept.folder.iterdir())
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600]
    assert kept.folder.stat().st_mode & 0o777 == 0o700
    kept.forget_account()
    kept.forget_account()
    assert kept.account() is None


def test_what_is_unanswered_comes_in_the_order_of_sending(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    assert kept.unanswered(ACCOUNT.email) == []
    for each in (sent("m_2", 2), sent("m_1", 1), sent("m_3", 3, "bob@example.com")):
        kept.keep(each)
    assert kept.unanswered(ACCOUNT.email) == [sent("m_1", 1), sent("m_2", 2)]
    kept.forget("m_1")
    kept.forget("m_1")
    assert kept.unanswered(ACCOUNT.email) == [sent("m_2", 2)]


def test_what_it_cannot_read_is_as_good_as_nothing(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    (tmp_path / "account.json").write_text('{"page_url": "x"}')
    (tmp_path / "sent-m_1.json").write_text('{"message_id"')
    (tmp_path / "sent-m_2.json").write_text('{"a_newer_release": 1}')
    kept.keep(sent("m_3", 3))
    assert kept.account() is None
    assert kept.unanswered(ACCOUNT.email) == [sent("m_3", 3)]
    for other in ("[]", '{"server": 3}', "{"):
        (tmp_path / "account.json").write_text(other)
        assert kept.account() is None


def test_what_a_program_had_half_written_is_no_message_and_in_nobodys_way(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.keep(sent("m_1", 1))
    half = tmp_path / f"sent-m_1.{os.getpid()}"
    half.write_text("x" * 10_000)
    assert kept.unanswered(ACCOUNT.email) == [sent("m_1", 1)]
    kept.keep(sent("m_1", 2))
    assert kept.unanswered(ACCOUNT.email) == [sent("m_1", 2)]
    assert not half.exists()
