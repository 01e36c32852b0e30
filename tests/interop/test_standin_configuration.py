"""What the stand-in answers when JWT is off, not licensed or not configured, and in which shape."""

from collections.abc import Callable
from typing import Any

import pytest

from metabase_caller import SDK, Reply, call, token
from standin_metabase import StandIn

SIMPLE = {"X-Metabase-Client": "embedding-simple"}

Start = Callable[..., StandIn]


def sso(metabase: StandIn, headers: dict[str, str] | None = None, **query: str) -> Reply:
    return call("GET", f"{metabase.url}/auth/sso", headers=headers, **query)


def is_refused(reply: Reply, status: int, code: str, message: str) -> bool:
    assert reply.status == status, reply
    assert (reply.json["status"], message in reply.json["message"]) == (code, True)
    return True


OFF = [{"jwt_enabled": False}, {"jwt_shared_secret": ""}, {"jwt_identity_provider_uri": ""}, {"licence": "missing"}]


@pytest.mark.parametrize("version", [49, 52, 55, 58, 61])
@pytest.mark.parametrize("off", OFF, ids=lambda off: next(iter(off)))
def test_jwt_that_is_off_is_a_400(start_metabase: Start, secret: str, version: int, off: dict[str, Any]) -> None:
    metabase = start_metabase(version=version)
    metabase.change(**off)
    for query in ({}, {"jwt": token(secret)}):
        reply = sso(metabase, SDK, **query)
        assert is_refused(reply, 400, "error-sso-disabled", "SSO has not been enabled and/or configured")


@pytest.mark.parametrize("off", OFF, ids=lambda off: next(iter(off)))
def test_to_session_says_so_in_text(metabase: StandIn, secret: str, off: dict[str, Any]) -> None:
    metabase.change(**off)
    reply = call("POST", f"{metabase.url}/auth/sso/to_session", {"jwt": token(secret)})
    assert (reply.status, reply.text) == (400, "JWT authentication is not enabled")


def test_53_and_54_do_without_the_uri_and_55_does_not(start_metabase: Start, secret: str) -> None:
    for version, status in ((52, 400), (53, 200), (54, 200), (55, 400)):
        metabase = start_metabase(version=version, jwt_identity_provider_uri="")
        assert sso(metabase, token="true", jwt=token(secret)).status == status


def test_a_lost_licence_is_a_402(metabase: StandIn, secret: str) -> None:
    metabase.change(licence="lost")
    message = "JWT-based authentication is a paid feature not currently available to your instance"
    reply = sso(metabase, SDK, jwt=token(secret))
    assert is_refused(reply, 402, "error-premium-feature-not-available", message)


def test_open_source_says_so(start_metabase: Start) -> None:
    reply = sso(start_metabase(edition="oss"))
    message = "The auth/sso endpoint only exists in enterprise builds"
    assert (reply.status, reply.json) == (400, {"message": message, "status": "ee-build-required"})
    older = sso(start_metabase(edition="oss", version=50))
    assert older.status == 404
    assert older.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("version", [55, 58, 61])
def test_the_toggle_of_the_sdk_is_looked_at(start_metabase: Start, version: int) -> None:
    metabase = start_metabase(version=version, enable_embedding_sdk=False)
    message = "Embedding SDK for React is disabled. Enable it in the embedding settings."
    assert is_refused(sso(metabase, SDK), 402, "error-embedding-sdk-disabled", message)
    assert sso(metabase, SIMPLE).status == 200


def test_the_toggle_of_embed_js_is_looked_at(start_metabase: Start) -> None:
    metabase = start_metabase(enable_embedding_simple=False)
    message = "You need to turn on modular embedding in the embedding settings."
    assert is_refused(sso(metabase, SIMPLE), 402, "error-embedding-simple-disabled", message)
    assert sso(metabase, SDK).status == 200


def test_the_toggle_is_looked_at_after_the_login(start_metabase: Start, secret: str) -> None:
    metabase = start_metabase(enable_embedding_sdk=False)
    assert sso(metabase, SDK, jwt=token(secret[::-1])).status == 401
    assert metabase.counts()["sessions"] == 0
    assert sso(metabase, SDK, jwt=token(secret)).status == 402
    assert metabase.counts()["sessions"] == 1
    # And a browser needs none.
    assert sso(metabase, jwt=token(secret)).status == 302


def test_the_toggle_has_another_text_before_55(start_metabase: Start, secret: str) -> None:
    metabase = start_metabase(version=54, enable_embedding_sdk=False)
    assert sso(metabase, token="true", jwt=token(secret)).json["message"] == "SDK Embedding is not enabled."


@pytest.mark.parametrize(
    ("bodies", "keys"),
    [
        ("traces", {"message", "status", "cause", "via", "trace", "data"}),
        ("plain", {"message", "status"}),
        ("hidden", {"message"}),
    ],
)
def test_errors_with_data_have_three_shapes(metabase: StandIn, secret: str, bodies: str, keys: set[str]) -> None:
    metabase.change(error_bodies=bodies)
    reply = sso(metabase, jwt=token(secret), return_to="//badsite.com")
    assert (reply.status, reply.json.keys()) == (400, keys)
    assert (reply.json["message"] == "Something went wrong") is (bodies == "hidden")
    # Those without are text in any case.
    assert sso(metabase, jwt="a.b.c").text == "Message seems corrupt or manipulated"


def test_settings_change_as_a_whole_or_not(metabase: StandIn) -> None:
    before = metabase.settings()
    for cannot in ({"versoin": 57}, {"version": "57"}, {"licence": "none"}, {"features": {"no such": True}}):
        with pytest.raises(ValueError, match=r"must be|there is no"):
            metabase.change(site_name="Changed", **cannot)
    assert metabase.settings() == before


def test_every_feature_can_be_overridden(start_metabase: Start, secret: str) -> None:
    metabase = start_metabase(version=57, features={"to_session": False, "discovery_hash": False})
    assert call("POST", f"{metabase.url}/auth/sso/to_session", {"jwt": token(secret)}).status == 404
    assert "id" in sso(metabase, SDK, jwt=token(secret)).json
