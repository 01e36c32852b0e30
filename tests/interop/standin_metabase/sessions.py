"""What a caller can hold: sessions, API keys, and the hashes that discovery hands out."""

import secrets
import uuid
from dataclasses import dataclass, field

from .directory import Person

HASH_SECONDS = 300


@dataclass
class Session:
    person: Person
    created_at: int
    key: str = field(repr=False)


class Sessions:
    """Times are Unix seconds of Metabase's clock."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.api_keys: dict[str, int] = {}
        self._hashes: dict[str, int] = {}

    def open(self, person: Person, now: int) -> str:
        key = str(uuid.uuid4())
        self.sessions[key] = Session(person, now, key)
        return key

    def find(self, key: str | None, now: int, max_age_minutes: int) -> Session | None:
        """None as well for what is no UUID, and for a session past its age. The age counts from the login."""
        try:
            session = self.sessions.get(str(uuid.UUID(key or "")))
        except ValueError:
            return None
        return session if session and now - session.created_at < max_age_minutes * 60 else None

    def close(self, key: str) -> bool:
        """Whether there was one."""
        return self.sessions.pop(key.lower(), None) is not None

    def add_api_key(self, group: int) -> str:
        """A key belongs to a group, not to a person."""
        key = f"mb_{secrets.token_urlsafe(32)}"
        self.api_keys[key] = group
        return key

    def hand_out_hash(self, now: int) -> str:
        value = secrets.token_urlsafe(32)
        self._hashes[value] = now
        return value

    def knows_hash(self, value: str | None, now: int) -> bool:
        made = self._hashes.get(value or "")
        return made is not None and now - made < HASH_SECONDS
