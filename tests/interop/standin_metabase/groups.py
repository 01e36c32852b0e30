"""Group sync: which groups a login joins and leaves."""

from typing import Any

from .directory import ALL_TENANT_USERS, ALL_USERS, EVERYBODY, Directory, Person
from .settings import Settings


def sync_groups(directory: Directory, person: Person, claims: dict[str, Any], settings: Settings) -> None:
    """Without the claim nothing changes. An empty list leaves all groups that the sync manages."""
    claimed = claims.get(settings.jwt_attribute_groups)
    if not settings.jwt_group_sync or claimed is None:
        return
    names = _names(claimed, coerced=settings.has("groups_coerced"))
    existing = directory.groups.keys() - EVERYBODY
    if settings.jwt_group_mappings:
        managed = {number for numbers in settings.jwt_group_mappings.values() for number in numbers} & existing
        wanted = {number for name in names for number in settings.jwt_group_mappings.get(name, [])} & managed
    elif settings.has("groups_by_name"):
        managed = set(existing)
        wanted = {number for number in existing if directory.groups[number] in names}
    else:
        return
    for number in person.groups & (managed - wanted):
        directory.leave(person, number)
    person.groups |= wanted
    person.groups |= {ALL_TENANT_USERS if person.tenant else ALL_USERS}


def _names(claimed: Any, *, coerced: bool) -> list[str]:
    """A bare text is taken apart into characters, as a sequence, until it is coerced."""
    if isinstance(claimed, str):
        return [claimed] if coerced else list(claimed)
    return [name for name in claimed if isinstance(name, str)] if isinstance(claimed, list) else []
