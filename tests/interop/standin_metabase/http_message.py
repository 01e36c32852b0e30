"""Requests and answers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any

TEXT = "text/plain; charset=utf-8"
JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str]
    """The last value of each name."""

    headers: Mapping[str, str]
    """Names in lower case."""

    body: bytes = field(repr=False)

    @property
    def cookies(self) -> dict[str, str]:
        try:
            return {name: cookie.value for name, cookie in SimpleCookie(self.headers.get("cookie", "")).items()}
        except CookieError:
            return {}

    @property
    def json(self) -> dict[str, Any]:
        """The body; empty when it is no JSON object, or does not call itself JSON."""
        if not self.headers.get("content-type", "").startswith("application/json"):
            return {}
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


@dataclass
class Answer:
    """What is sent, and how."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    date: str | None = None
    """Instead of the time; empty = no `Date` at all."""

    wait_seconds: float = 0
    """Before the first byte."""

    seconds_per_byte: float = 0
    """Between the bytes of the body."""

    cut_after: int | None = None
    """The connection is reset after so many bytes of the body; negative = before the status line."""

    padding: int = 0
    """So many spaces follow the body."""

    declared_length: int | None = None
    """`Content-Length` instead of the true one; negative = none, and the end of the connection ends the body."""


def text(status: int, message: str) -> Answer:
    return Answer(status, message.encode(), {"Content-Type": TEXT})


def json_answer(status: int, value: Any) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": JSON})


def page(status: int, message: str) -> Answer:
    body = f"<!DOCTYPE html><html><head><title>Metabase</title></head><body><h1>{message}</h1></body></html>"
    return Answer(status, body.encode(), {"Content-Type": HTML})


def redirect(location: str) -> Answer:
    return Answer(302, headers={"Location": location})


class Refusal(Exception):
    """An error of Metabase. With nothing but a status it is answered as text; with `code` or `data`, as JSON."""

    def __init__(self, status: int, message: str, code: str | None = None, *, data: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.data = data or code is not None

    def answer(self, error_bodies: str) -> Answer:
        """`error_bodies` as in the settings."""
        if not self.data:
            return text(self.status, self.message)
        if error_bodies == "hidden":
            return json_answer(self.status, {"message": "Something went wrong"})
        shown: dict[str, Any] = {"message": self.message, "status": self.code or self.status}
        if error_bodies == "traces":
            shown |= stack_trace(self.message)
        return json_answer(self.status, shown)


def stack_trace(message: str) -> dict[str, Any]:
    """What the error middleware adds."""
    at = ["metabase_enterprise.sso.integrations.jwt$fn__1", "invokeStatic", "jwt.clj", 1]
    via = [{"type": "clojure.lang.ExceptionInfo", "message": message, "at": at}]
    return {"cause": message, "via": via, "trace": [at] * 40, "data": {}}
