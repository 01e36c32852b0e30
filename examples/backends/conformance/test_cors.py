"""Another origin, with credentials: what the browser asks and has to be told."""

import pytest

from backend_process import APP_ORIGIN
from browser import REDIRECT, SDK, STATUS, Browser
from test_sign_in import FOREIGN

ALLOW_ORIGIN = "access-control-allow-origin"


def assert_readable_by_the_app(headers: dict[str, str]) -> None:
    assert headers.get(ALLOW_ORIGIN) == APP_ORIGIN
    assert headers.get("access-control-allow-credentials") == "true"
    assert "origin" in [name.strip().lower() for name in headers.get("vary", "").split(",")]


@pytest.mark.parametrize("path", [SDK, STATUS])
@pytest.mark.parametrize("name", ["ada", "alan", None])
def test_the_app_may_read_every_answer(browser: Browser, path: str, name: str | None) -> None:
    if name:
        browser.sign_in(name)
    answer = browser.get(path)
    assert answer.status_code == {"ada": 200, "alan": 403, None: 401}[name]
    assert_readable_by_the_app(answer.headers)


@pytest.mark.parametrize(("method", "path"), [("GET", SDK), ("GET", STATUS), ("POST", "/login"), ("POST", "/logout")])
def test_a_preflight_allows_custom_headers(browser: Browser, method: str, path: str) -> None:
    asked = {"access-control-request-method": method}
    asked["access-control-request-headers"] = "authorization,content-type,x-requested-with"
    answer = browser.request("OPTIONS", path, asked)
    assert answer.status_code in (200, 204)
    assert_readable_by_the_app(answer.headers)
    allowed = [name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")]
    # Beside credentials, `*` is the name of a header.
    assert {"authorization", "content-type", "x-requested-with"} <= set(allowed)
    assert method in [name.strip() for name in answer.headers["access-control-allow-methods"].split(",")]
    # In seconds; a shorter time is a unit mistaken.
    assert int(answer.headers.get("access-control-max-age", 60)) >= 60


@pytest.mark.parametrize("path", [SDK, REDIRECT, STATUS])
@pytest.mark.parametrize("origin", FOREIGN)
def test_no_other_origin_may_read_anything(browser: Browser, path: str, origin: str) -> None:
    elsewhere = Browser(browser._url, origin)
    elsewhere.cookie = browser.sign_in("ada").cookie
    for answer in (
        elsewhere.get(path),
        elsewhere.request("OPTIONS", path, {"access-control-request-method": "GET"}),
    ):
        assert ALLOW_ORIGIN not in answer.headers
        assert answer.status_code == 403
        assert "jwt" not in answer.text
        assert "location" not in answer.headers


@pytest.mark.parametrize("path", [SDK, REDIRECT, STATUS])
def test_who_names_no_origin_is_told_none(browser: Browser, path: str) -> None:
    answer = Browser(browser._url, None).get(path)
    assert answer.headers.get(ALLOW_ORIGIN) in (None, APP_ORIGIN)
