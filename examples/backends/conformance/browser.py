"""A browser, as far as a backend can tell: it keeps one session cookie and says where its page comes from."""

from http.cookies import Morsel, SimpleCookie

import httpx

from backend_process import APP_ORIGIN, DEADLINE_SECONDS

SDK = "/sso/metabase?response=json"
REDIRECT = "/sso/metabase"
STATUS = "/sso/metabase/status"

CLIENT = httpx.Client(verify=False, limits=httpx.Limits(max_keepalive_connections=0), timeout=DEADLINE_SECONDS)
"""One for all: it never speaks TLS, and to prepare for it takes longer than a request."""


class Browser:
    """Sends the query exactly as given; follows no redirect; sends the cookie whatever its flags."""

    def __init__(self, url: str, origin: str | None = APP_ORIGIN, **told: str) -> None:
        """`told`: further headers of every request."""
        self._url = url
        self._told = told if origin is None else told | {"origin": origin}
        self.cookie: Morsel[str] | None = None
        """As the backend set it last."""

    def request(self, method: str, path: str, headers: dict[str, str] | None = None, **body: object) -> httpx.Response:
        told = dict(self._told)
        if self.cookie is not None:
            told["cookie"] = f"{self.cookie.key}={self.cookie.coded_value}"
        # As raw bytes: httpx would encode what Metabase leaves as it is.
        url = httpx.URL(self._url).copy_with(raw_path=path.encode())
        answer = CLIENT.request(method, url, headers=told | (headers or {}), **body)
        CLIENT.cookies.clear()
        for line in answer.headers.get_list("set-cookie"):
            (self.cookie,) = SimpleCookie(line).values()
        return answer

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return self.request("GET", path, headers)

    def sign_in(self, name: str) -> "Browser":
        answer = self.request("POST", "/login", json={"user": name})
        assert answer.status_code == 204, answer.text
        assert self.cookie is not None
        return self


def assert_failure(answer: httpx.Response, status: int, code: str) -> None:
    """The SDK shows the HTTP status alone; `code` and `message` are for the page around it."""
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (status, "application/json")
    body = answer.json()
    assert set(body) == {"status", "code", "message"}, body
    assert (body["status"], body["code"]) == ("error", code)
    assert isinstance(body["message"], str)
    assert body["message"]
    assert answer.headers["cache-control"] == "no-store"
