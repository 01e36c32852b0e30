"""Interactive embedding: the person comes from Metabase, and has to get back to where they wanted."""

from urllib.parse import parse_qs, urlsplit

import jwt
import pytest

from browser import CLIENT, REDIRECT, Browser, assert_failure
from standin_metabase import StandIn

ENCODED = "return_to=%2Fdashboard%2F1%3Ftab%3D2%26who%3Da%2520b"


@pytest.mark.parametrize(
    ("query", "lands_on"),
    [
        ("", "/"),
        ("?return_to=", "/"),
        ("?return_to=/dashboard/1", "/dashboard/1"),
        (f"?{ENCODED}", "/dashboard/1?tab=2&who=a%20b"),
        (f"?shop=7&{ENCODED}&theme=dark", "/dashboard/1?tab=2&who=a%20b"),
        # As Metabase sends it: appended, and not encoded.
        ("?return_to=/dashboard/1?tab=2&who=a%20b", "/dashboard/1?tab=2&who=a%20b"),
        ("?shop=7&return_to=/dashboard/1?tab=2&who=a%26b", "/dashboard/1?tab=2&who=a%26b"),
        ("?return_to=/question/5?a={b}|c&d=[e]", "/question/5?a=%7Bb%7D%7Cc&d=[e]"),
        ("?return_to=/question/5?x=1&response=json", "/question/5?x=1&response=json"),
        ("?return_to=/question/5?x=1&return_to=/other", "/question/5?x=1&return_to=/other"),
    ],
)
def test_the_person_lands_where_metabase_wanted_them(
    browser: Browser, metabase: StandIn, secret: str, query: str, lands_on: str
) -> None:
    answer = browser.sign_in("ada").get(REDIRECT + query)
    assert answer.status_code in (302, 303), answer.text
    assert answer.headers["cache-control"] == "no-store"
    location = answer.headers["location"]
    assert location.startswith(f"{metabase.url}/auth/sso?")
    parameters = parse_qs(urlsplit(location).query)
    assert set(parameters) == {"jwt", "return_to"}
    assert jwt.decode(parameters["jwt"][0], secret, algorithms=["HS256"])["email"] == "ada@example.com"
    there = CLIENT.get(location)
    assert there.status_code == 302, there.text
    assert there.headers["location"].removeprefix(metabase.url) == lands_on
    assert "metabase.SESSION=" in there.headers["set-cookie"]


def test_an_absolute_url_of_the_instance_is_fine(browser: Browser, metabase: StandIn) -> None:
    location = (
        browser.sign_in("ada").get(f"{REDIRECT}?return_to={metabase.url}/dashboard/1?a=b&c=d").headers["location"]
    )
    assert parse_qs(urlsplit(location).query)["return_to"] == [f"{metabase.url}/dashboard/1?a=b&c=d"]


@pytest.mark.parametrize(
    "return_to",
    [
        "https://evil.example/",
        "//evil.example",
        "%2F%2Fevil.example",
        "/%5Cevil.example",
        "dashboard/1",
        "javascript:x",
    ],
)
def test_nobody_is_sent_elsewhere(browser: Browser, return_to: str) -> None:
    answer = browser.sign_in("ada").get(f"{REDIRECT}?return_to={return_to}")
    assert_failure(answer, 400, "INVALID_RETURN_TO")
    assert "location" not in answer.headers


def test_the_sdk_is_answered_whatever_else_is_in_the_query(browser: Browser) -> None:
    browser.sign_in("ada")
    for query in ("?response=json&x=1", "?x=1&response=json", "?x=/a?b&response=json", f"?response=json&{ENCODED}"):
        assert set(browser.get(REDIRECT + query).json()) == {"jwt"}
    for query in ("?response=JSON", "?response=", "?x=response=json", "?xresponse=json"):
        assert browser.get(REDIRECT + query).status_code in (302, 303)
