"""The stand-in's /api: health, sessions, keys, settings and the agent's ping."""

import time
import uuid
from typing import Any

import pytest

from metabase_caller import SDK, Reply, call, token
from standin_metabase import StandIn

ADA = "ada@example.com"


def api(metabase: StandIn, path: str, method: str = "GET", **headers: str) -> Reply:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return call(method, f"{metabase.url}{path}", headers=given)


@pytest.fixture
def session(metabase: StandIn) -> str:
    """The key of Ada's session."""
    metabase.add_person(ADA, first_name="Ada", last_name="Lovelace")
    return metabase.open_session(ADA)["id"]


def me(metabase: StandIn, key: str, **headers: str) -> Reply:
    return api(metabase, "/api/user/current", X_Metabase_Session=key, **headers)


def is_unauthenticated(reply: Reply) -> bool:
    assert (reply.status, reply.text) == (401, "Unauthenticated")
    return True


@pytest.mark.parametrize("path", ["/api/health", "/readyz", "/livez"])
def test_health_needs_nobody(metabase: StandIn, path: str) -> None:
    reply = api(metabase, path)
    assert (reply.status, reply.json) == (200, {"status": "ok"})


def test_a_session_of_a_login_is_alive(metabase: StandIn, secret: str) -> None:
    key = call("GET", f"{metabase.url}/auth/sso", headers=SDK, jwt=token(secret)).json["id"]
    user = me(metabase, key).json
    assert (user["email"], user["first_name"], user["is_superuser"]) == (ADA, "Ada", False)


@pytest.mark.parametrize("key", ["", "no UUID", str(uuid.uuid4())])
def test_other_keys_are_unauthenticated(metabase: StandIn, session: str, key: str) -> None:
    assert is_unauthenticated(me(metabase, key))


def test_a_session_ends_with_its_age_and_not_with_the_token(metabase: StandIn, secret: str) -> None:
    exp = int(time.time()) + 60
    reply = call("POST", f"{metabase.url}/auth/sso/to_session", {"jwt": token(secret, exp=exp)})
    key = reply.json["session_token"]
    metabase.change(clock_offset_seconds=20160 * 60 - 60)
    assert me(metabase, key).status == 200
    metabase.change(clock_offset_seconds=20160 * 60)
    assert is_unauthenticated(me(metabase, key))


def test_a_session_ends_with_the_person(metabase: StandIn, session: str) -> None:
    metabase.change_person(ADA, active=False)
    assert is_unauthenticated(me(metabase, session))


def test_a_session_ends_with_the_tenant(metabase: StandIn) -> None:
    metabase.set_tenant("acme")
    metabase.add_person(ADA, tenant="acme")
    key = metabase.open_session(ADA)["id"]
    assert me(metabase, key).status == 200
    metabase.set_tenant("acme", active=False)
    assert is_unauthenticated(me(metabase, key))


def test_a_session_is_deleted_once(metabase: StandIn, session: str) -> None:
    reply = api(metabase, "/api/session", "DELETE", X_Metabase_Session=session)
    assert (reply.status, reply.body) == (204, b"")
    assert is_unauthenticated(me(metabase, session))
    assert api(metabase, "/api/session", "DELETE", X_Metabase_Session=session).status == 404


def test_the_logout_of_sso_reads_the_cookie_only(metabase: StandIn, session: str) -> None:
    reply = api(metabase, "/auth/sso/logout", "POST", X_Metabase_Session=session)
    assert reply.json == {"saml-logout-url": None}
    assert me(metabase, session).status == 200
    api(metabase, "/auth/sso/logout", "POST", Cookie=f"metabase.SESSION={session}")
    assert is_unauthenticated(me(metabase, session))


@pytest.mark.parametrize(("version", "status"), [(61, 401), (66, 200)])
def test_a_stale_cookie_beats_the_header_before_66(metabase: StandIn, session: str, version: int, status: int) -> None:
    metabase.change(version=version)
    assert me(metabase, session, Cookie=f"metabase.SESSION={uuid.uuid4()}").status == status


def test_a_key_acts_for_its_group(metabase: StandIn, session: str) -> None:
    key = metabase.add_api_key("Administrators")["key"]
    assert me(metabase, "", X_API_Key=key).json["is_superuser"]
    # A session that is valid wins.
    assert me(metabase, session, X_API_Key=key).json["email"] == ADA
    assert is_unauthenticated(me(metabase, "", X_API_Key="mb_other"))


def test_properties_show_more_to_those_signed_in(metabase: StandIn, session: str, secret: str) -> None:
    path = "/api/session/properties"
    public = api(metabase, path).json
    assert public["token-features"] == {"sso_jwt": True, "embedding_sdk": True, "tenants": True}
    assert (public["version"]["tag"], public["other-sso-enabled?"]) == ("v1.61.1", True)
    signed_in = api(metabase, path, X_Metabase_Session=session).json
    assert signed_in.keys() - public.keys() == {"enable-embedding-sdk"}
    admin = api(metabase, path, X_API_Key=metabase.add_api_key("Administrators")["key"]).json
    assert (admin["jwt-enabled-and-configured"], admin["jwt-shared-secret"] == secret) == (True, True)


def test_properties_follow_licence_and_edition(metabase: StandIn) -> None:
    metabase.change(licence="missing", edition="oss", version=58)
    public = api(metabase, "/api/session/properties").json
    assert not any(public["token-features"].values())
    assert (public["version"]["tag"], public["other-sso-enabled?"]) == ("v0.58.1", False)


def test_settings_are_for_administrators(metabase: StandIn, session: str, secret: str) -> None:
    assert is_unauthenticated(api(metabase, "/api/setting"))
    assert api(metabase, "/api/setting", X_Metabase_Session=session).status == 403
    shown = api(metabase, "/api/setting", X_API_Key=metabase.add_api_key("Administrators")["key"]).json
    values = {setting["key"]: setting["value"] for setting in shown}
    assert (values["jwt-enabled"], values["jwt-shared-secret"] == secret) == (True, True)


def ping(metabase: StandIn, **headers: str) -> tuple[int, Any]:
    reply = api(metabase, "/api/agent/v1/ping", **headers)
    return reply.status, reply.json.get("message" if reply.status == 200 else "error")


def test_the_ping_judges_a_token_and_changes_nothing(metabase: StandIn, session: str, secret: str) -> None:
    before = metabase.people(), metabase.sessions()
    assert ping(metabase, Authorization=f"Bearer {token(secret, plan='gold')}") == (200, "pong")
    assert (metabase.people(), metabase.sessions()) == before


def test_the_ping_hides_the_reason(metabase: StandIn, session: str, secret: str) -> None:
    assert ping(metabase) == (401, "missing_authorization")
    assert ping(metabase, Authorization="Basic x") == (401, "invalid_authorization_format")
    for bad in (token(secret[::-1]), token(secret, exp=1), token(secret, email="nobody@example.com"), "x"):
        assert ping(metabase, Authorization=f"Bearer {bad}") == (401, "invalid_jwt")
    metabase.change_person(ADA, active=False)
    assert ping(metabase, Authorization=f"Bearer {token(secret)}") == (401, "invalid_jwt")
    metabase.change(jwt_enabled=False)
    assert ping(metabase, Authorization=f"Bearer {token(secret)}") == (401, "jwt_not_configured")
    metabase.change(version=58)
    assert api(metabase, "/api/agent/v1/ping").status == 404


def test_cors_is_for_known_origins(metabase: StandIn) -> None:
    metabase.change(embedding_app_origins_sdk="https://app.example.com https://two.example.com")
    for origin in ("https://app.example.com", "http://localhost:3000"):
        reply = api(metabase, "/auth/sso", "OPTIONS", Origin=origin)
        assert (reply.status, reply.headers["Access-Control-Allow-Origin"]) == (200, origin)
        assert "Access-Control-Allow-Credentials" not in reply.headers
    assert "Access-Control-Allow-Origin" not in api(metabase, "/api/health", Origin="https://evil.example").headers
