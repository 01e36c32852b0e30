"""What was asked, without the tokens and keys that came with it."""

import base64
import hashlib
import json
from typing import Any

from .http_message import Answer, Request

SECRET_HEADERS = frozenset({"authorization", "cookie", "x-api-key", "x-metabase-sdk-jwt-hash", "x-metabase-session"})
SHOWN_INSTEAD = "(given)"


class RequestLog:
    """The requests since the start, or since it was cleared."""

    def __init__(self) -> None:
        self._entries: list[dict[str, Any]] = []

    def add(self, request: Request, answer: Answer, fault: str | None, now: int) -> None:
        headers = {name: SHOWN_INSTEAD if name in SECRET_HEADERS else value for name, value in request.headers.items()}
        self._entries.append(
            {
                "at": now,
                "method": request.method,
                "path": request.path,
                "query": {name: SHOWN_INSTEAD if name == "jwt" else value for name, value in request.query.items()},
                "headers": headers,
                "token": _token(request),
                "status": answer.status,
                "fault": fault,
            }
        )

    def shown(self) -> list[dict[str, Any]]:
        """`token` is null, or: where it was, the SHA-256 of its text in hexadecimal, and its claims, unproven."""
        return list(self._entries)

    def clear(self) -> None:
        self._entries.clear()


def _token(request: Request) -> dict[str, Any] | None:
    body = request.json.get("jwt")
    authorization = request.headers.get("authorization", "")
    places = {"query": request.query.get("jwt"), "body": body if isinstance(body, str) else None}
    places["authorization"] = authorization.partition(" ")[2] or None
    place = next((place for place, token in places.items() if token is not None), None)
    if place is None:
        return None
    token = places[place] or ""
    return {"in": place, "sha256": hashlib.sha256(token.encode()).hexdigest(), "claims": _unproven(token)}


def _unproven(token: str) -> dict[str, Any] | None:
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, IndexError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None
