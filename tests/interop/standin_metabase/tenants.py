"""Tenant rules. Every refusal that depends on the tenant is a 403."""

from typing import Any

from .directory import Directory, Person
from .http_message import Refusal
from .settings import Settings

SCALARS = (str, int, float, bool)


def judge_tenant(directory: Directory, person: Person | None, claims: dict[str, Any], settings: Settings) -> str | None:
    """The slug that the login is for. Changes nothing."""
    if not settings.has("tenants"):
        return None
    slug = _slug(claims, settings.jwt_attribute_tenant)
    if not settings.tenants_work:
        if slug is not None or (person and person.tenant):
            raise _forbidden("Tenants and tenant users are disabled.")
        return None
    if person and person.tenant is None and slug is not None:
        raise _forbidden("Cannot add tenant claim to internal user")
    if person and person.tenant is not None and slug is None:
        raise _forbidden("Tenant claim required for external user")
    if person and person.tenant != slug:
        raise _forbidden("Tenant ID mismatch with existing user")
    tenant = directory.tenants.get(slug) if slug is not None else None
    if tenant and not tenant.active and not settings.jwt_user_provisioning:
        raise _forbidden("Tenant is not active")
    return slug


def provide_tenant(directory: Directory, slug: str, claims: dict[str, Any], settings: Settings) -> None:
    """Creates an unknown tenant, reactivates one that is not active, and adds the attributes it does not have yet."""
    tenant = directory.tenants.get(slug) or directory.add_tenant(slug)
    tenant.active = True
    given = claims.get(settings.jwt_attribute_tenant_attributes)
    if not settings.has("tenant_attributes") or not isinstance(given, dict):
        return
    if all(isinstance(value, SCALARS) for value in given.values()):
        tenant.attributes = given | tenant.attributes


def _slug(claims: dict[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise Refusal(401, f"Value of `{name}` must be a string")


def _forbidden(message: str) -> Refusal:
    return Refusal(403, message, data=True)
