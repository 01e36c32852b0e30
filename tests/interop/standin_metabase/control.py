"""What a test sees and changes. `control_http` offers the same methods over HTTP."""

from dataclasses import asdict
from typing import Any

from .directory import Person
from .instance import Instance

PERSON_FIELDS = frozenset({"first_name", "last_name", "active", "tenant", "login_attributes", "jwt_attributes"})


class Control:
    """`ValueError` and `TypeError` say what cannot be; then nothing has changed."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    def settings(self) -> dict[str, Any]:
        """The settings but the secret, which is `set` or empty."""
        with self._instance.lock:
            return self._instance.settings.shown()

    def change(self, **settings: Any) -> dict[str, Any]:
        """Changes settings, among them `version` and `jwt_shared_secret`."""
        with self._instance.lock:
            self._instance.settings.change(settings)
            return self._instance.settings.shown()

    def people(self) -> list[dict[str, Any]]:
        with self._instance.lock:
            return [person.shown() for person in self._instance.directory.people.values()]

    def person(self, email: str) -> dict[str, Any]:
        """Raises `ValueError` when there is no such person."""
        with self._instance.lock:
            return self._found(email).shown()

    def add_person(self, email: str, groups: list[str] | None = None, **fields: Any) -> dict[str, Any]:
        """Adds a person; `groups` are names of groups that exist, `fields` those of a person."""
        with self._instance.lock:
            self._check_fields(fields)
            numbers = {self._group(name) for name in groups or []}
            person = self._instance.directory.add_person(email, **fields)
            person.groups |= numbers
            return person.shown()

    def change_person(self, email: str, groups: list[str] | None = None, **fields: Any) -> dict[str, Any]:
        """Changes a person; `groups`, if given, are all there are afterwards."""
        with self._instance.lock:
            self._check_fields(fields)
            person = self._found(email)
            if groups is not None:
                person.groups = {self._group(name) for name in groups}
            for name, value in fields.items():
                setattr(person, name, value)
            return person.shown()

    def groups(self) -> dict[str, int]:
        """Name to ID."""
        with self._instance.lock:
            return {name: number for number, name in self._instance.directory.groups.items()}

    def add_group(self, name: str) -> dict[str, int]:
        with self._instance.lock:
            return {"id": self._instance.directory.add_group(name)}

    def tenants(self) -> list[dict[str, Any]]:
        with self._instance.lock:
            return [asdict(tenant) for tenant in self._instance.directory.tenants.values()]

    def set_tenant(self, slug: str, active: bool = True, attributes: dict[str, Any] | None = None) -> dict[str, Any]:
        """Adds a tenant, or replaces it."""
        with self._instance.lock:
            return asdict(self._instance.directory.add_tenant(slug, active=active, attributes=attributes or {}))

    def sessions(self) -> list[dict[str, Any]]:
        """Who is signed in since when, without the keys."""
        with self._instance.lock:
            live = self._instance.sessions.sessions.values()
            return [{"email": session.person.email, "created_at": session.created_at} for session in live]

    def open_session(self, email: str) -> dict[str, str]:
        """A session of somebody who exists, as by another login."""
        with self._instance.lock:
            return {"id": self._instance.sessions.open(self._found(email), self._instance.now())}

    def end_sessions(self) -> None:
        with self._instance.lock:
            self._instance.sessions.sessions.clear()

    def add_api_key(self, group: str) -> dict[str, str]:
        """A new key of the group with this name."""
        with self._instance.lock:
            return {"key": self._instance.sessions.add_api_key(self._group(group))}

    def requests(self) -> list[dict[str, Any]]:
        """Every request so far, see `RequestLog`."""
        with self._instance.lock:
            return self._instance.log.shown()

    def forget_requests(self) -> None:
        with self._instance.lock:
            self._instance.log.clear()

    def faults(self) -> list[dict[str, Any]]:
        return self._instance.faults.shown()

    def fault(self, kind: str, **options: Any) -> None:
        """From now on requests meet this fault; see `faults`."""
        self._instance.faults.add(kind=kind, **options)

    def end_faults(self) -> None:
        self._instance.faults.clear()

    def counts(self) -> dict[str, int]:
        """How many people, active people, groups, tenants, sessions, logins and requests there are."""
        with self._instance.lock:
            directory = self._instance.directory
            people = directory.people.values()
            return {
                "people": len(people),
                "active_people": sum(person.active for person in people),
                "groups": len(directory.groups),
                "tenants": len(directory.tenants),
                "sessions": len(self._instance.sessions.sessions),
                "logins": sum(person.logins for person in people),
                "requests": len(self._instance.log.shown()),
            }

    def _found(self, email: str) -> Person:
        person = self._instance.directory.find(email)
        if person is None:
            raise ValueError(f"there is nobody {email!r}")
        return person

    def _group(self, name: str) -> int:
        numbers = {known: number for number, known in self._instance.directory.groups.items()}
        if name not in numbers:
            raise ValueError(f"there is no group {name!r}")
        return numbers[name]

    def _check_fields(self, fields: dict[str, Any]) -> None:
        if unknown := fields.keys() - PERSON_FIELDS:
            raise TypeError(f"a person has no {sorted(unknown)}")
        tenant = fields.get("tenant")
        if tenant is not None and tenant not in self._instance.directory.tenants:
            raise ValueError(f"there is no tenant {tenant!r}")
