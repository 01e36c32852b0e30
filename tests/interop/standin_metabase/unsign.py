"""The judgement of a token, in the order of checks, the leniences and the words of the library that Metabase uses."""

import base64
import binascii
import hashlib
import hmac
import json
from typing import Any, NoReturn

MAX_AGE_SECONDS = 180
CORRUPT = "Message seems corrupt or manipulated"

Claims = dict[str, Any]


class BadToken(Exception):
    """The message is what Metabase answers."""


def unsign(token: str, secret: str, now: int) -> Claims:
    """The claims of a token, judged at `now` (Unix seconds): first the header, then the signature, then the times.

    The header has to be a JSON object, and nothing in it matters: the algorithm is HMAC-SHA-256 whatever it says. The
    key is the text of the secret as it stands, neither trimmed nor decoded.
    """
    header, _, rest = token.partition(".")
    payload, _, signature = rest.partition(".")
    if not isinstance(_json(_decoded(header)), dict):
        raise BadToken(CORRUPT)
    expected = hmac.digest(secret.encode(), f"{header}.{payload}".encode(), hashlib.sha256)
    if not hmac.compare_digest(expected, _decoded(signature)):
        raise BadToken(CORRUPT)
    claims = _json(_decoded(payload))
    # Anything else has no claims, and is refused for want of an e-mail.
    claims = claims if isinstance(claims, dict) else {}
    _check_times(claims, now)
    return claims


def _check_times(claims: Claims, now: int) -> None:
    """Without leeway. A claim that is missing, null or false is not looked at; an `iat` to come is welcome."""
    if (exp := _number(claims.get("exp"))) is not None and exp <= now:
        raise BadToken(f"Token is expired ({exp})")
    if (nbf := _number(claims.get("nbf"))) is not None and nbf > now:
        raise BadToken(f"Token is not yet valid ({nbf})")
    if (iat := _number(claims.get("iat"))) is not None and now - iat > MAX_AGE_SECONDS:
        raise BadToken(f"Token is older than max-age ({MAX_AGE_SECONDS})")


def _number(value: Any) -> int | float | None:
    if value is None or value is False:
        return None
    if isinstance(value, int | float) and value is not True:
        return value
    java = {str: "java.lang.String", bool: "java.lang.Boolean"}.get(type(value), "clojure.lang.IPersistentCollection")
    raise BadToken(f"class {java} cannot be cast to class java.lang.Number")


def _decoded(part: str) -> bytes:
    try:
        text = part.encode("ascii")
        return base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        raise BadToken(CORRUPT) from None


def _json(text: bytes) -> Any:
    try:
        return json.loads(text.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadToken(CORRUPT) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
