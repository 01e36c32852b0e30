"""From a token to a session: judgement, provisioning, attributes, groups."""

import json
from dataclasses import dataclass, field
from typing import Any

from .directory import Directory, Person
from .groups import sync_groups
from .http_message import Refusal
from .sessions import Sessions
from .settings import Settings
from .tenants import judge_tenant, provide_tenant
from .unsign import CORRUPT, BadToken, Claims, unsign

REGISTERED = frozenset({"iss", "iat", "sub", "aud", "exp", "nbf", "jti"})


@dataclass(frozen=True)
class LoggedIn:
    key: str = field(repr=False)
    claims: Claims = field(repr=False)

    def session_object(self) -> dict[str, Any]:
        """`exp` and `iat` are the token's."""
        return {"id": self.key, "exp": self.claims.get("exp"), "iat": self.claims.get("iat")}


def judged_claims(token: str, settings: Settings, now: int) -> Claims:
    """The claims, or the refusal that Metabase answers."""
    try:
        return unsign(token, settings.jwt_shared_secret, now)
    except BadToken as refused:
        message = str(refused)
        if settings.has("refusals_are_traces"):
            raise Refusal(401, f"{message}." if message == CORRUPT else message, data=True) from None
        raise Refusal(401, message) from None


def log_in(token: str, settings: Settings, directory: Directory, sessions: Sessions, now: int) -> LoggedIn:
    """A session, after everything that a login changes: nothing does before token, e-mail and tenant are judged."""
    claims = judged_claims(token, settings, now)
    email = _email(claims, settings)
    person = directory.find(email)
    slug = judge_tenant(directory, person, claims, settings)
    if (person is None or not person.active) and not settings.jwt_user_provisioning:
        site = settings.site_name
        raise Refusal(
            401,
            f"Sorry, but you'll need a {site} account to view this page. Please contact your administrator.",
        )
    if person is None:
        person = _provisioned(email, slug, directory, settings)
    if slug is not None:
        provide_tenant(directory, slug, claims, settings)
    person.active = True
    person.sso_source = "jwt"
    person.logins += 1
    _update_names(person, claims, settings)
    _update_attributes(person, claims, settings)
    sync_groups(directory, person, claims, settings)
    return LoggedIn(sessions.open(person, now), claims)


def _email(claims: Claims, settings: Settings) -> str:
    email = claims.get(settings.jwt_attribute_email)
    if isinstance(email, str):
        return email
    if email is None and settings.has("auth_identity"):
        raise Refusal(401, "JWT token missing email claim")
    raise _unexpected(settings)


def _unexpected(settings: Settings) -> Refusal:
    if settings.has("auth_identity"):
        return Refusal(401, "An unexpected error occurred during authentication")
    return Refusal(500, "Value does not match schema: {:email (not (valid-email? nil))}", data=True)


def _provisioned(email: str, slug: str | None, directory: Directory, settings: Settings) -> Person:
    names = {"first_name": "Unknown", "last_name": "Unknown"} if settings.has("unknown_names") else {}
    try:
        return directory.add_person(email, tenant=slug, **names)
    except ValueError:
        raise _unexpected(settings) from None


def _update_names(person: Person, claims: Claims, settings: Settings) -> None:
    """A name that is missing never replaces one."""
    person.first_name = claims.get(settings.jwt_attribute_firstname) or person.first_name
    person.last_name = claims.get(settings.jwt_attribute_lastname) or person.last_name


def _update_attributes(person: Person, claims: Claims, settings: Settings) -> None:
    attributes = {name: value for name, value in claims.items() if name not in _excluded(settings)}
    if settings.has("jwt_attributes"):
        person.jwt_attributes = {
            name: _text(value)
            for name, value in attributes.items()
            if not name.startswith("@") and isinstance(value, str | int | float)
        }
    else:
        person.login_attributes = attributes


def _excluded(settings: Settings) -> set[str]:
    excluded = {settings.jwt_attribute_email, settings.jwt_attribute_firstname, settings.jwt_attribute_lastname}
    if settings.has("registered_claims_are_attributes"):
        return excluded | {"iat", "max_age"}
    excluded |= REGISTERED | {settings.jwt_attribute_groups}
    if settings.tenants_work:
        excluded |= {settings.jwt_attribute_tenant, settings.jwt_attribute_tenant_attributes}
    return excluded


def _text(value: str | int | float) -> str:
    return value if isinstance(value, str) else json.dumps(value)
