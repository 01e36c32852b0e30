"""/api: health, the session and its user, settings, and the agent's ping."""

from typing import TYPE_CHECKING, Any

from .directory import ADMINISTRATORS, Person
from .http_message import Answer, Refusal, Request, json_answer, text
from .login import judged_claims
from .unsign import BadToken, unsign

if TYPE_CHECKING:
    from .instance import Instance

EMBED_PATH = "/api/embed/dashboard/"
EMBED_LEEWAY_SECONDS = 60
ADMIN_ONLY = (
    "jwt_enabled",
    "jwt_configured",
    "jwt_shared_secret",
    "jwt_identity_provider_uri",
    "jwt_user_provisioning",
    "jwt_attribute_email",
    "jwt_attribute_firstname",
    "jwt_attribute_lastname",
    "jwt_attribute_groups",
    "jwt_group_sync",
    "jwt_group_mappings",
)


def health(_instance: "Instance", _request: Request) -> Answer:
    return json_answer(200, {"status": "ok"})


def current_user(instance: "Instance", request: Request) -> Answer:
    """GET /api/user/current."""
    person, group = caller(instance, request)
    if person:
        return json_answer(200, _user(person))
    if group is not None:
        key = {"id": 0, "email": "api-key-user-1@api-key.invalid", "first_name": "API key", "last_name": ""}
        return json_answer(200, key | {"is_superuser": group == ADMINISTRATORS, "attributes": {}})
    return text(401, "Unauthenticated")


def delete_session(instance: "Instance", request: Request) -> Answer:
    """DELETE /api/session."""
    closed = instance.sessions.close(session_key(instance, request) or "")
    return Answer(204) if closed else text(404, "Not found.")


def properties(instance: "Instance", request: Request) -> Answer:
    """GET /api/session/properties: what anybody may know, and more for those who are signed in."""
    settings = instance.settings
    paid = settings.edition == "enterprise" and settings.licence == "valid"
    features = {"sso_jwt": paid, "embedding_sdk": paid, "tenants": paid and settings.has("tenants")}
    shown: dict[str, Any] = {
        "site-name": settings.site_name,
        "site-url": settings.site_url,
        "version": {"tag": settings.tag, "date": "2026-01-01", "hash": "0000000"},
        "token-features": features,
        "other-sso-enabled?": settings.jwt_works or settings.saml_enabled,
        "embedding-app-origins-sdk": settings.embedding_app_origins_sdk,
    }
    person, group = caller(instance, request)
    if person or group is not None:
        shown["enable-embedding-sdk"] = settings.enable_embedding_sdk
    if _is_admin(person, group):
        shown |= _admin_settings(instance)
    return json_answer(200, shown)


def all_settings(instance: "Instance", request: Request) -> Answer:
    """GET /api/setting: for administrators, with the secret in clear."""
    person, group = caller(instance, request)
    if not person and group is None:
        return text(401, "Unauthenticated")
    if not _is_admin(person, group):
        return text(403, "You don't have permissions to do that.")
    return json_answer(200, [{"key": key, "value": value} for key, value in _admin_settings(instance).items()])


def embedded_dashboard(instance: "Instance", request: Request) -> Answer:
    """GET /api/embed/dashboard/TOKEN: guest embedding, which judges tokens by a secret of its own. There are no dashboards."""
    secret = instance.settings.embedding_secret_key
    if not secret:
        return text(400, "Embedding is not enabled.")
    try:
        claims = unsign(request.path.removeprefix(EMBED_PATH), secret, instance.now() - EMBED_LEEWAY_SECONDS)
    except BadToken as refused:
        return text(400, str(refused))
    if "resource" not in claims:
        return text(400, "Token is missing value for keypath [:resource :dashboard]")
    return text(404, "Not found.")


def agent_ping(instance: "Instance", request: Request) -> Answer:
    """GET /api/agent/v1/ping: judges a token and changes nothing. The person has to exist already."""
    if not instance.settings.has("agent_api"):
        return no_such_endpoint(instance, request)
    given = request.headers.get("authorization")
    if given is None:
        return _agent_refusal("missing_authorization", "Missing Authorization header.")
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer" or not token:
        return _agent_refusal("invalid_authorization_format", "Authorization header must use Bearer scheme.")
    if not instance.settings.jwt_works:
        return _agent_refusal("jwt_not_configured", "JWT authentication is not configured.")
    try:
        email = judged_claims(token, instance.settings, instance.now()).get(instance.settings.jwt_attribute_email)
        person = instance.directory.find(email) if isinstance(email, str) else None
    except Refusal:
        person = None
    if person is None or not instance.directory.can_act(person):
        return _agent_refusal("invalid_jwt", "Invalid or expired JWT token.")
    return json_answer(200, {"message": "pong"})


def no_such_endpoint(_instance: "Instance", _request: Request) -> Answer:
    return text(404, "API endpoint does not exist.")


def session_key(instance: "Instance", request: Request) -> str | None:
    """The key that counts: in older versions a cookie, even a stale one, beats the header."""
    header = request.headers.get("x-metabase-session")
    cookie = request.cookies.get("metabase.SESSION")
    return header or cookie if instance.settings.has("header_beats_cookie") else cookie or header


def caller(instance: "Instance", request: Request) -> tuple[Person | None, int | None]:
    """The person of a live session, or else the group of an API key."""
    age = instance.settings.max_session_age_minutes
    session = instance.sessions.find(session_key(instance, request), instance.now(), age)
    if session and instance.directory.can_act(session.person):
        return session.person, None
    return None, instance.sessions.api_keys.get(request.headers.get("x-api-key", ""))


def _is_admin(person: Person | None, group: int | None) -> bool:
    return ADMINISTRATORS in (person.groups if person else {group})


def _user(person: Person) -> dict[str, Any]:
    return {
        "id": person.id,
        "email": person.email,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "common_name": " ".join(name for name in (person.first_name, person.last_name) if name) or person.email,
        "is_superuser": ADMINISTRATORS in person.groups,
        "is_active": person.active,
        "sso_source": person.sso_source,
        "group_ids": sorted(person.groups),
        # What an administrator set beats what a token says.
        "attributes": person.jwt_attributes | person.login_attributes,
    }


def _admin_settings(instance: "Instance") -> dict[str, Any]:
    settings = instance.settings
    shown = {name.replace("_", "-"): getattr(settings, name) for name in ADMIN_ONLY}
    return shown | {"jwt-enabled-and-configured": settings.jwt_works}


def _agent_refusal(error: str, message: str) -> Answer:
    return json_answer(401, {"error": error, "message": message})
