"""Sessions: who is signed in, and how the browser is told."""

import pytest

from backend_process import APP_ORIGIN
from browser import REDIRECT, SDK, STATUS, Browser, assert_failure

FOREIGN = ["https://evil.example", f"{APP_ORIGIN}.evil.example", "https://localhost:3001", "null"]


@pytest.mark.parametrize("path", [SDK, REDIRECT, STATUS])
def test_nobody_signed_in_gets_401_as_json(browser: Browser, path: str) -> None:
    assert_failure(browser.get(path), 401, "NOT_SIGNED_IN")


@pytest.mark.parametrize("path", [SDK, REDIRECT, STATUS])
def test_a_made_up_session_is_nobody(browser: Browser, path: str) -> None:
    browser.sign_in("ada")
    assert browser.cookie is not None
    for value in ("ada", "1001", f"{browser.cookie.value}x"):
        answer = Browser(browser._url).get(path, {"cookie": f"{browser.cookie.key}={value}"})
        assert_failure(answer, 401, "NOT_SIGNED_IN")


def test_an_unknown_person_is_not_signed_in(browser: Browser) -> None:
    answer = browser.request("POST", "/login", json={"user": "nobody"})
    assert_failure(answer, 401, "UNKNOWN_USER")
    assert browser.cookie is None


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(browser: Browser) -> None:
    cookie = browser.sign_in("ada").cookie
    assert cookie is not None
    assert cookie["httponly"]
    assert cookie["samesite"].lower() == "lax"
    assert not cookie["secure"], "the browser would drop it: this backend is reached without TLS"
    assert (cookie["path"], cookie["domain"]) == ("/", "")


@pytest.mark.usefixtures("fake")
def test_over_tls_the_session_cookie_is_secure_and_may_go_to_another_site(ada: Browser) -> None:
    cookie = ada.cookie
    assert cookie is not None
    assert cookie["httponly"]
    assert cookie["samesite"].lower() == "none"
    assert cookie["secure"]
    assert cookie.key.startswith("__Host-"), "sibling subdomains could plant one"
    assert (cookie["path"], cookie["domain"]) == ("/", "")


def test_signing_in_makes_a_new_session_and_ends_the_old_one(browser: Browser) -> None:
    old = browser.sign_in("grace").cookie
    new = browser.sign_in("ada").cookie
    assert old is not None
    assert new is not None
    assert old.value != new.value, "whoever planted the old one is now signed in as ada"
    answer = Browser(browser._url).get(SDK, {"cookie": f"{old.key}={old.coded_value}"})
    assert_failure(answer, 401, "NOT_SIGNED_IN")


def test_signing_out_ends_the_session_on_the_server_too(browser: Browser) -> None:
    cookie = browser.sign_in("ada").cookie
    assert cookie is not None
    assert browser.request("POST", "/logout").status_code == 204
    answer = Browser(browser._url).get(SDK, {"cookie": f"{cookie.key}={cookie.coded_value}"})
    assert_failure(answer, 401, "NOT_SIGNED_IN")
    assert_failure(browser.get(SDK), 401, "NOT_SIGNED_IN")


def test_signing_out_without_a_session_is_no_error(browser: Browser) -> None:
    assert browser.request("POST", "/logout").status_code == 204


@pytest.mark.parametrize("origin", FOREIGN)
def test_other_sites_sign_nobody_in_or_out(browser: Browser, origin: str) -> None:
    elsewhere = Browser(browser._url, origin)
    assert_failure(elsewhere.request("POST", "/login", json={"user": "ada"}), 403, "FOREIGN_ORIGIN")
    assert elsewhere.cookie is None
    elsewhere.cookie = browser.sign_in("ada").cookie
    assert_failure(elsewhere.request("POST", "/logout"), 403, "FOREIGN_ORIGIN")
    assert browser.get(SDK).status_code == 200


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"])
def test_only_json_signs_in(browser: Browser, content_type: str) -> None:
    # The attack: a form on another site sends these without a preflight.
    answer = browser.request("POST", "/login", {"content-type": content_type}, content=b'{"user":"ada"}')
    assert answer.status_code in (400, 415, 422)
    assert browser.cookie is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"user":7}', b'{"user":null}', b"{}"])
def test_a_broken_sign_in_is_refused(browser: Browser, body: bytes) -> None:
    answer = browser.request("POST", "/login", {"content-type": "application/json"}, content=body)
    assert answer.status_code in (400, 401, 415, 422)
    assert browser.cookie is None
