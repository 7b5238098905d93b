"""What the terminal client keeps between two starts: who is signed in, and what is still unanswered.

Owns files in one folder that only its user can read. A message that is sent is there before it is sent,
and gone when its end was told: whoever is killed in between finds it again, and saying it again is safe.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from chat.identity import Server


@dataclass(frozen=True, slots=True)
class Account:
    """page_url: where the deployment was found."""

    page_url: str
    server: Server
    email: str
    refresh_token: str


@dataclass(frozen=True, slots=True)
class Sent:
    """chat_id: None for a new chat, also when it is known by now: that is how it was sent."""

    message_id: str
    chat_id: str | None
    text: str
    email: str
    sent_ms: int


@dataclass(frozen=True, slots=True)
class Kept:
    folder: Path

    def account(self) -> Account | None:
        try:
            raw = json.loads(self._account.read_text())
            return Account(**{**raw, "server": Server(**raw["server"])})
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            # What a release of another shape has left is as good as nothing.
            return None

    def keep_account(self, account: Account) -> None:
        self._write(self._account, asdict(account))

    def forget_account(self) -> None:
        self._account.unlink(missing_ok=True)

    def keep(self, sent: Sent) -> None:
        self._write(self._sent(sent.message_id), asdict(sent))

    def forget(self, message_id: str) -> None:
        self._sent(message_id).unlink(missing_ok=True)

    def unanswered(self, email: str) -> list[Sent]:
        """Of this user, the oldest first."""
        found: list[Sent] = []
        for path in self.folder.glob("sent-*.json"):
            try:
                found.append(Sent(**json.loads(path.read_text())))
            except (FileNotFoundError, ValueError, TypeError):
                # Gone meanwhile, or of another shape.
                continue
        mine = (sent for sent in found if sent.email == email)
        return sorted(mine, key=lambda sent: sent.sent_ms)

    @property
    def _account(self) -> Path:
        return self.folder / "account.json"

    def _sent(self, message_id: str) -> Path:
        return self.folder / f"sent-{message_id}.json"

    def _write(self, path: Path, value: dict[str, object]) -> None:
        """Whole or not at all, and for nobody else to read."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
