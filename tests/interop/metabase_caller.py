"""Calls a Metabase over HTTP, one connection for each call, and follows nothing."""

import http.client
import json
import ssl
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt

DEADLINE_SECONDS = 60
SDK = {"X-Metabase-Client": "embedding-sdk-react"}


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def call(
    method: str,
    url: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
    **query: str,
) -> Reply:
    """`body` is sent as JSON."""
    parts = urlsplit(url)
    assert parts.hostname
    if tls:
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=DEADLINE_SECONDS, context=tls
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=DEADLINE_SECONDS)
    content = {} if body is None else {"Content-Type": "application/json"}
    try:
        connection.request(
            method,
            parts.path + (f"?{urlencode(query)}" if query else ""),
            None if body is None else json.dumps(body),
            content | (headers or {}),
        )
        response = connection.getresponse()
        return Reply(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


def token(secret: str, **changes: Any) -> str:
    """A good token, issued now, with changes; None leaves a claim out."""
    now = int(time.time())
    good = {"email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace", "iat": now, "exp": now + 600}
    return jwt.encode({name: value for name, value in (good | changes).items() if value is not None}, secret)
