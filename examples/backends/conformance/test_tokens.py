"""What the SDK gets: a token for whoever the session names, and for nobody else."""

from typing import Any

import jwt
import pytest

from backend_process import BackendProcess
from browser import CLIENT, SDK, STATUS, Browser, assert_failure
from standin_metabase import StandIn

ADA = {
    "email": "ada@example.com",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "groups": ["Customers", "Region EMEA"],
    "customer_id": "42",
    "region": "emea",
}
GRACE = {
    "email": "grace@example.com",
    "first_name": "Grace",
    "last_name": "Hopper",
    "groups": ["Customers", "Region APAC"],
    "customer_id": "7",
    "region": "apac",
}


def claims(answer: Any, secret: str) -> dict[str, Any]:
    """Of the token that the SDK is handed, less its times."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].split(";")[0] == "application/json"
    body = answer.json()
    assert list(body) == ["jwt"]
    found = jwt.decode(body["jwt"], secret, algorithms=["HS256"])
    return {name: value for name, value in found.items() if name not in ("iat", "exp")}


@pytest.mark.parametrize(("name", "expected"), [("ada", ADA), ("grace", GRACE)])
def test_the_token_says_what_the_backend_knows(
    browser: Browser, secret: str, name: str, expected: dict[str, Any]
) -> None:
    assert claims(browser.sign_in(name).get(SDK), secret) == expected


def test_groups_arrive_as_a_list(browser: Browser, secret: str) -> None:
    answer = browser.sign_in("ada").get(SDK)
    assert answer.status_code == 200, "the service refuses groups that are none"
    assert claims(answer, secret)["groups"] == ["Customers", "Region EMEA"]


def test_two_people_get_two_tokens(browser: Browser, secret: str) -> None:
    other = Browser(browser._url).sign_in("grace")
    browser.sign_in("ada")
    for _ in range(2):
        assert claims(browser.get(SDK), secret)["email"] == "ada@example.com"
        assert claims(other.get(SDK), secret)["email"] == "grace@example.com"


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("&email=grace@example.com&first_name=Grace&last_name=Hopper", {}),
        ("&user=grace&id=1002&user_id=1002&name=grace", {}),
        ("&groups=Region%20APAC&customer_id=7&region=apac&tenant=acme", {}),
        ("", {"x-user": "grace", "x-forwarded-user": "grace", "x-email": "grace@example.com", "remote-user": "grace"}),
        ("", {"authorization": "Bearer grace"}),
    ],
)
def test_identity_comes_from_the_session_only(
    browser: Browser, secret: str, query: str, headers: dict[str, str]
) -> None:
    assert_failure(browser.get(SDK + query, headers), 401, "NOT_SIGNED_IN")
    assert claims(browser.sign_in("ada").get(SDK + query, headers), secret) == ADA


def test_the_answer_is_never_stored(browser: Browser) -> None:
    assert browser.sign_in("ada").get(SDK).headers["cache-control"] == "no-store"
    assert browser.get("/sso/metabase").headers["cache-control"] == "no-store"
    assert browser.get(STATUS).headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", [SDK, "/sso/metabase", STATUS])
def test_a_person_without_access_gets_403(browser: Browser, path: str) -> None:
    answer = browser.sign_in("alan").get(path)
    assert_failure(answer, 403, "NO_ACCESS")
    assert "EMAIL_DOMAIN" not in answer.text, "the policy's reasons are for operators"


def test_metabase_takes_the_token(browser: Browser, metabase: StandIn) -> None:
    token = browser.sign_in("ada").get(SDK).json()["jwt"]
    answer = CLIENT.post(f"{metabase.url}/auth/sso/to_session", json={"jwt": token})
    assert answer.status_code == 200, answer.text
    session = {"x-metabase-session": answer.json()["session_token"]}
    person = CLIENT.get(f"{metabase.url}/api/user/current", headers=session).json()
    assert (person["email"], person["first_name"]) == ("ada@example.com", "Ada")


def test_the_status_is_the_one_the_sdk_would_end_in(browser: Browser) -> None:
    answer = browser.sign_in("ada").get(STATUS)
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"status", "reason", "message"}
    assert (body["status"], body["reason"]) == ("success", "ACCEPTED")
    assert body["message"]
    assert "eyJ" not in answer.text


def test_no_token_was_logged(browser: Browser, before_service: BackendProcess) -> None:
    browser.sign_in("ada")
    for path in (SDK, "/sso/metabase?return_to=/a", "/sso/metabase?return_to=//elsewhere.example", STATUS):
        browser.get(path)
    # Not by `in` within an assert: pytest would show what must not be shown.
    assert not before_service.logged_a_token
