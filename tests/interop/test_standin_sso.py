"""The stand-in's /auth/sso, version by version, is the contract's."""

import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from metabase_caller import SDK, Reply, call, token
from standin_metabase import StandIn

IDP = "https://app.example.com/sso"
SIMPLE = {"X-Metabase-Client": "embedding-simple"}
PREFERRED = {"preferred_method": "jwt"}
EXPIRED = int(time.time()) - 60

Start = Callable[..., StandIn]


def sso(metabase: StandIn, headers: dict[str, str] | None = None, **query: str) -> Reply:
    return call("GET", f"{metabase.url}/auth/sso", headers=headers, **query)


def post(metabase: StandIn, body: Any, headers: dict[str, str] | None = None, **query: str) -> Reply:
    return call("POST", f"{metabase.url}/auth/sso", body, headers, **query)


def to_session(metabase: StandIn, body: Any) -> Reply:
    return call("POST", f"{metabase.url}/auth/sso/to_session", body)


def is_session(reply: Reply) -> bool:
    assert reply.status == 200, reply
    assert str(uuid.UUID(reply.json["id"])) == reply.json["id"]
    return True


# Discovery


@pytest.mark.parametrize("version", [55, 57])
def test_discovery_hands_out_a_hash_from_55_to_57(start_metabase: Start, version: int) -> None:
    found = sso(start_metabase(version=version), SDK, **PREFERRED).json
    assert found | {"hash": ""} == {"url": IDP, "method": "jwt", "hash": ""}
    assert found["hash"]


@pytest.mark.parametrize("version", [58, 61])
def test_discovery_names_the_url_from_58(start_metabase: Start, version: int) -> None:
    metabase = start_metabase(version=version)
    assert sso(metabase, SDK, **PREFERRED).json == {"url": IDP, "method": "jwt"}
    assert metabase.counts()["sessions"] == 0


@pytest.mark.parametrize(("version", "headers"), [(49, SDK), (54, SDK), (57, {}), (61, {})])
def test_a_browser_is_sent_to_the_identity_provider(
    start_metabase: Start, version: int, headers: dict[str, str]
) -> None:
    metabase = start_metabase(version=version)
    reply = sso(metabase, headers, redirect="/dashboard/1?a=b&c=d")
    assert (reply.status, reply.headers["Location"]) == (302, f"{IDP}?return_to=/dashboard/1?a=b&c=d")
    metabase.change(jwt_identity_provider_uri=f"{IDP}?x=1")
    assert sso(metabase, headers, redirect="/").headers["Location"] == f"{IDP}?x=1&return_to=/"


def test_saml_goes_first_unless_there_is_a_token_or_a_preference(metabase: StandIn, secret: str) -> None:
    metabase.change(saml_enabled=True)
    assert sso(metabase, SDK).json["method"] == "saml"
    assert sso(metabase, SDK, preferred_method="jwt").json["method"] == "jwt"
    assert is_session(sso(metabase, SDK, jwt=token(secret)))


# The exchange


@pytest.mark.parametrize("version", [50, 54])
def test_up_to_54_token_true_answers_the_session(start_metabase: Start, secret: str, version: int) -> None:
    reply = sso(start_metabase(version=version), token="true", jwt=token(secret))
    assert is_session(reply)
    assert reply.json.keys() == {"id", "exp", "iat"}


@pytest.mark.parametrize("version", [49, 55, 57, 58, 61])
def test_token_true_means_nothing_otherwise(start_metabase: Start, secret: str, version: int) -> None:
    assert sso(start_metabase(version=version), token="true", jwt=token(secret)).status == 302


@pytest.mark.parametrize("version", [55, 57])
def test_from_55_to_57_the_exchange_wants_the_hash(start_metabase: Start, secret: str, version: int) -> None:
    metabase = start_metabase(version=version)
    for given in ({}, {"X-Metabase-SDK-JWT-Hash": "made up"}):
        without = sso(metabase, SDK | given, jwt=token(secret))
        assert (without.status, without.json.keys()) == (200, {"url", "method", "hash"})
    # The token was good, and has left sessions behind.
    assert metabase.counts()["sessions"] == 2
    given = {"X-Metabase-SDK-JWT-Hash": sso(metabase, SDK).json["hash"]}
    assert is_session(sso(metabase, SDK | given, jwt=token(secret)))


def test_the_hash_is_good_for_300_seconds(start_metabase: Start, secret: str) -> None:
    metabase = start_metabase(version=57)
    given = {"X-Metabase-SDK-JWT-Hash": sso(metabase, SDK).json["hash"]}
    metabase.change(clock_offset_seconds=301)
    now = int(time.time()) + 301
    assert "id" not in sso(metabase, SDK | given, jwt=token(secret, iat=now, exp=now + 60)).json


@pytest.mark.parametrize("version", [58, 61])
@pytest.mark.parametrize("headers", [SDK, SIMPLE])
def test_from_58_the_client_header_is_enough(
    start_metabase: Start, secret: str, version: int, headers: dict[str, str]
) -> None:
    reply = sso(start_metabase(version=version), headers, jwt=token(secret))
    assert is_session(reply)
    assert reply.json["status"] == "ok"


@pytest.mark.parametrize("version", [45, 54, 57, 58, 61])
def test_without_client_header_a_cookie_is_set(start_metabase: Start, secret: str, version: int) -> None:
    reply = sso(start_metabase(version=version), jwt=token(secret), return_to="/question/1")
    assert (reply.status, reply.headers["Location"]) == (302, "/question/1")
    assert reply.headers["Set-Cookie"].startswith("metabase.SESSION=")


def test_in_a_frame_it_is_the_embedded_cookie(metabase: StandIn, secret: str) -> None:
    reply = sso(metabase, {"Sec-Fetch-Dest": "iframe"}, jwt=token(secret))
    assert reply.headers["Set-Cookie"].startswith("metabase.EMBEDDED_SESSION=")
    assert reply.headers["X-Metabase-Anti-CSRF-Token"]


@pytest.mark.parametrize(("version", "root"), [(56, "%2F"), (57, "/")])
def test_a_missing_return_to_is_the_root(start_metabase: Start, secret: str, version: int, root: str) -> None:
    assert sso(start_metabase(version=version), jwt=token(secret)).headers["Location"] == root


def test_return_to_may_name_the_site_itself(metabase: StandIn, secret: str) -> None:
    for good in ("/a?b=c", "https://metabase.example.com/a", "http://metabase.example.com:8080/a"):
        assert sso(metabase, jwt=token(secret), return_to=good).headers["Location"] == good


@pytest.mark.parametrize("bad", ["https://badsite.com", "//badsite.com", "https:///badsite.com"])
def test_return_to_stays_on_the_site(metabase: StandIn, secret: str, bad: str) -> None:
    reply = sso(metabase, jwt=token(secret), return_to=bad)
    assert (reply.status, reply.json["message"]) == (400, "Invalid redirect URL")
    assert metabase.counts()["sessions"] == 0


# By POST


@pytest.mark.parametrize(("version", "status"), [(49, 400), (54, 501), (57, 501), (60, 501)])
def test_versions_without_post_answer_a_page(start_metabase: Start, secret: str, version: int, status: int) -> None:
    reply = post(start_metabase(version=version), {"jwt": token(secret)}, SDK)
    assert reply.status == status
    assert reply.headers["Content-Type"].startswith("text/html")
    assert "POST not valid for JWT SSO requests" in reply.text


def test_post_logs_in_as_get_does(metabase: StandIn, secret: str) -> None:
    assert is_session(post(metabase, {"jwt": token(secret)}, SDK))
    reply = post(metabase, {"jwt": token(secret)}, return_to="/a")
    assert (reply.status, reply.headers["Location"]) == (302, "/a")


def test_post_does_not_read_the_query(metabase: StandIn, secret: str) -> None:
    assert post(metabase, {}, SDK, jwt=token(secret)).status == 400


@pytest.mark.parametrize(("errors", "kind"), [("html", "text/html"), ("plain", "text/plain")])
def test_errors_of_post_are_pages_or_not(metabase: StandIn, secret: str, errors: str, kind: str) -> None:
    metabase.change(post_errors=errors)
    reply = post(metabase, {"jwt": token(secret, exp=EXPIRED)}, SDK)
    assert reply.status == 401
    assert reply.headers["Content-Type"].startswith(kind)
    assert f"Token is expired ({EXPIRED})" in reply.text


@pytest.mark.parametrize("version", [56, 58, 61])
def test_to_session_wants_neither_toggle_nor_header(start_metabase: Start, secret: str, version: int) -> None:
    metabase = start_metabase(version=version, enable_embedding_sdk=False)
    reply = to_session(metabase, {"jwt": token(secret)})
    assert (reply.status, reply.json.keys()) == (200, {"session_token"})
    uuid.UUID(reply.json["session_token"])
    assert metabase.counts()["sessions"] == 1


@pytest.mark.parametrize("body", [{}, {"jwt": ""}, {"jwt": " "}, {"jwt": 1}])
def test_to_session_wants_a_text(metabase: StandIn, body: dict[str, Any]) -> None:
    reply = to_session(metabase, body)
    assert (reply.status, reply.json["errors"]) == (400, {"jwt": "value must be a non-blank string."})


def test_to_session_judges_as_the_exchange_does(metabase: StandIn, secret: str) -> None:
    reply = to_session(metabase, {"jwt": token(secret, exp=EXPIRED)})
    assert (reply.status, reply.text) == (401, f"Token is expired ({EXPIRED})")
    assert metabase.counts()["people"] == 0


def test_older_versions_have_no_to_session(start_metabase: Start, secret: str) -> None:
    assert to_session(start_metabase(version=55), {"jwt": token(secret)}).status == 404
