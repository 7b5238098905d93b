"""Owns the user pool and the files of exports in memory. Left out: tokens, and the files' expiry."""

from dataclasses import dataclass, field

from chatcore.domain.identity import Profile


@dataclass(slots=True)
class MemoryUserPool:
    """profiles: by user id; locked_out: who may not sign in."""

    profiles: dict[str, Profile] = field(default_factory=dict)
    locked_out: set[str] = field(default_factory=set)

    def profile(self, user_id: str) -> Profile | None:
        return self.profiles.get(user_id)

    def lock_out(self, user_id: str) -> None:
        if user_id in self.profiles:
            self.locked_out.add(user_id)

    def remove(self, user_id: str) -> None:
        self.profiles.pop(user_id, None)
        self.locked_out.discard(user_id)


@dataclass(slots=True)
class MemoryExportFiles:
    """files: by user, export and name; at_once: how many `remove` takes."""

    files: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    at_once: int = 1_000

    def put(self, user_id: str, export_id: str, name: str, body: bytes) -> None:
        self.files[user_id, export_id, name] = body

    def get(self, user_id: str, export_id: str, name: str) -> bytes | None:
        return self.files.get((user_id, export_id, name))

    def link(self, user_id: str, export_id: str, name: str, seconds: int) -> str:
        return f"https://files.invalid/{user_id}/{export_id}/{name}?seconds={seconds}"

    def remove(self, user_id: str) -> bool:
        keys = [key for key in self.files if key[0] == user_id]
        for key in keys[: self.at_once]:
            del self.files[key]
        return len(keys) <= self.at_once
