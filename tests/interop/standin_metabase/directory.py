"""People, groups and tenants."""

from dataclasses import asdict, dataclass, field
from typing import Any

ALL_USERS, ADMINISTRATORS, ALL_TENANT_USERS = 1, 2, 3
EVERYBODY = frozenset({ALL_USERS, ALL_TENANT_USERS})


@dataclass
class Person:
    """An account."""

    id: int
    email: str
    first_name: str | None = None
    last_name: str | None = None
    active: bool = True
    tenant: str | None = None
    """Slug; none = an internal user."""

    login_attributes: dict[str, Any] = field(default_factory=dict)
    """Set by an administrator, and by tokens before they were kept apart."""

    jwt_attributes: dict[str, Any] = field(default_factory=dict)
    sso_source: str | None = None
    logins: int = 0
    groups: set[int] = field(default_factory=set)

    def shown(self) -> dict[str, Any]:
        return asdict(self) | {"groups": sorted(self.groups)}


@dataclass
class Tenant:
    slug: str
    name: str
    active: bool = True
    attributes: dict[str, Any] = field(default_factory=dict)


class Directory:
    """Starts with the groups that every Metabase has, and nobody."""

    def __init__(self) -> None:
        self.people: dict[int, Person] = {}
        self.groups = {ALL_USERS: "All Users", ADMINISTRATORS: "Administrators", ALL_TENANT_USERS: "All tenant users"}
        self.tenants: dict[str, Tenant] = {}

    def find(self, email: str) -> Person | None:
        """Upper and lower case are one."""
        wanted = email.lower()
        return next((person for person in self.people.values() if person.email.lower() == wanted), None)

    def add_person(self, email: str, **given: Any) -> Person:
        """`ValueError` when the address is taken, or is none."""
        local, _, domain = email.partition("@")
        if not local or not domain:
            raise ValueError("not an e-mail address")
        if self.find(email):
            raise ValueError("the e-mail address is taken")
        person = Person(len(self.people) + 1, email.lower(), **given)
        person.groups |= {ALL_TENANT_USERS if person.tenant else ALL_USERS}
        self.people[person.id] = person
        return person

    def add_group(self, name: str) -> int:
        number = max(self.groups) + 1
        self.groups[number] = name
        return number

    def add_tenant(self, slug: str, **given: Any) -> Tenant:
        self.tenants[slug] = Tenant(slug, slug, **given)
        return self.tenants[slug]

    def can_act(self, person: Person) -> bool:
        """Whether the person, and the tenant if there is one, is active."""
        return person.active and (person.tenant is None or self.tenants[person.tenant].active)

    def leave(self, person: Person, group: int) -> None:
        """The last administrator stays one."""
        others = any(group in other.groups for other in self.people.values() if other is not person)
        if group != ADMINISTRATORS or others:
            person.groups.discard(group)
