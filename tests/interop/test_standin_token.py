"""The stand-in judges tokens as the contract says that Metabase does."""

import base64
import hashlib
import hmac
import time
from email.utils import parsedate_to_datetime
from typing import Any

import jwt
import pytest

from metabase_caller import SDK, Reply, call, token
from standin_metabase import StandIn
from standin_metabase.unsign import BadToken, unsign

CORRUPT = "Message seems corrupt or manipulated"


def exchange(metabase: StandIn, jwt_: str) -> Reply:
    return call("GET", f"{metabase.url}/auth/sso", headers=SDK, jwt=jwt_)


def signed(header: bytes, payload: bytes, secret: str) -> str:
    """HMAC-SHA-256 over any header and payload."""
    parts = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload)]
    signature = hmac.digest(secret.encode(), b".".join(parts), hashlib.sha256)
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def seconds(offset: int) -> int:
    return int(time.time()) + offset


def test_a_good_token_is_exchanged(metabase: StandIn, secret: str) -> None:
    iat, exp = seconds(0), seconds(300)
    reply = exchange(metabase, token(secret, iat=iat, exp=exp))
    assert reply.status == 200
    assert reply.json | {"id": ""} == {"status": "ok", "id": "", "exp": exp, "iat": iat}


@pytest.mark.parametrize("version", [45, 54, 57, 58, 61])
def test_the_probe_that_changes_nothing_finds_the_secret(start_metabase: Any, secret: str, version: int) -> None:
    metabase = start_metabase(version=version)
    exp = seconds(-60)
    reply = exchange(metabase, token(secret, exp=exp))
    assert (reply.status, reply.text) == (401, f"Token is expired ({exp})")
    assert "Date" in reply.headers
    counts = metabase.counts()
    assert (counts["people"], counts["sessions"]) == (0, 0)


def test_the_probe_reactivates_nobody(metabase: StandIn, secret: str) -> None:
    before = metabase.add_person("ada@example.com", active=False)
    assert exchange(metabase, token(secret, exp=seconds(-60), plan="gold")).status == 401
    assert metabase.person("ada@example.com") == before


@pytest.mark.parametrize("version", [45, 54, 57, 58, 61])
def test_the_signature_is_judged_before_the_times(start_metabase: Any, secret: str, version: int) -> None:
    reply = exchange(start_metabase(version=version), token(secret[::-1], exp=seconds(-60)))
    assert (reply.status, reply.text) == (401, CORRUPT)


def test_old_versions_answer_with_a_full_stop_in_a_stack_trace(start_metabase: Any, secret: str) -> None:
    reply = exchange(start_metabase(version=39), token(secret[::-1]))
    assert reply.status == 401
    assert reply.json["message"] == f"{CORRUPT}."
    assert reply.json["trace"]


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_other_algorithms_are_bad_signatures(metabase: StandIn, secret: str, algorithm: str) -> None:
    now = seconds(0)
    other = jwt.encode({"email": "ada@example.com", "iat": now, "exp": now + 60}, secret, algorithm)
    assert exchange(metabase, other).text == CORRUPT


@pytest.mark.parametrize("header", [b'{"alg":"none"}', b'{"alg":"RS256","kid":"1"}', b"{}"])
def test_the_header_does_not_choose_the_algorithm(metabase: StandIn, secret: str, header: bytes) -> None:
    assert exchange(metabase, signed(header, b'{"email":"ada@example.com"}', secret)).status == 200


@pytest.mark.parametrize("header", [b"[]", b'"HS256"', b"not JSON"])
def test_the_header_has_to_be_a_json_object(metabase: StandIn, secret: str, header: bytes) -> None:
    assert exchange(metabase, signed(header, b'{"email":"ada@example.com"}', secret)).text == CORRUPT


@pytest.mark.parametrize("jwt_", ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", "é.é.é", "%00"])
def test_what_is_no_token_is_corrupt(metabase: StandIn, jwt_: str) -> None:
    reply = exchange(metabase, jwt_)
    assert (reply.status, reply.text) == (401, CORRUPT)


def test_a_signed_payload_that_is_no_json_is_corrupt(metabase: StandIn, secret: str) -> None:
    assert exchange(metabase, signed(b'{"alg":"HS256"}', b"not JSON", secret)).text == CORRUPT


def test_the_key_is_the_text_of_the_secret(metabase: StandIn, secret: str) -> None:
    header, payload, _ = token(secret).split(".")
    signature = hmac.digest(bytes.fromhex(secret), f"{header}.{payload}".encode(), hashlib.sha256)
    hex_decoded = f"{header}.{payload}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
    assert exchange(metabase, hex_decoded).text == CORRUPT


def test_the_secret_is_not_trimmed(metabase: StandIn, secret: str) -> None:
    assert exchange(metabase, token(f"{secret}\n")).text == CORRUPT
    metabase.change(jwt_shared_secret=f"{secret}\n")
    assert exchange(metabase, token(secret)).text == CORRUPT
    assert exchange(metabase, token(f"{secret}\n")).status == 200


@pytest.mark.parametrize(
    ("claims", "refused"),
    [
        ({"exp": 0}, "Token is expired (0)"),
        ({"exp": None}, None),
        ({"exp": 99_999_999_999_999}, None),
        ({"iat": None}, None),
        ({"iat": 99_999_999_999_999}, None),
        ({"iat": 1}, "Token is older than max-age (180)"),
        ({"nbf": 99_999_999_999}, "Token is not yet valid (99999999999)"),
        ({"nbf": 1}, None),
        ({"exp": 1, "nbf": 99_999_999_999, "iat": 1}, "Token is expired (1)"),
        ({"nbf": 99_999_999_999, "iat": 1}, "Token is not yet valid (99999999999)"),
        ({"iss": "anybody", "aud": ["elsewhere"], "sub": "x", "jti": "1"}, None),
    ],
)
def test_the_times_are_judged_in_order_and_nothing_else_is(
    metabase: StandIn, secret: str, claims: dict[str, Any], refused: str | None
) -> None:
    reply = exchange(metabase, token(secret, **claims))
    assert (reply.status, reply.text if refused else None) == ((401, refused) if refused else (200, None))


@pytest.mark.parametrize(
    ("claims", "refused"),
    [
        ({"exp": 1000}, "Token is expired (1000)"),
        ({"exp": 1001}, None),
        ({"nbf": 1000}, None),
        ({"nbf": 1001}, "Token is not yet valid (1001)"),
        ({"iat": 820}, None),
        ({"iat": 819}, "Token is older than max-age (180)"),
    ],
)
def test_there_is_no_leeway(secret: str, claims: dict[str, int], refused: str | None) -> None:
    try:
        unsign(jwt.encode(claims, secret), secret, 1000)
        said = None
    except BadToken as bad:
        said = str(bad)
    assert said == refused


def test_dates_that_are_no_numbers_are_refused(metabase: StandIn, secret: str) -> None:
    assert exchange(metabase, signed(b"{}", b'{"email":"a@b.c","exp":"1700000000"}', secret)).status == 401
    assert exchange(metabase, signed(b"{}", b'{"email":"a@b.c","exp":99999999999.5}', secret)).status == 200


def test_tokens_can_be_used_again(metabase: StandIn, secret: str) -> None:
    again = token(secret, jti="1")
    assert [exchange(metabase, again).status for _ in range(2)] == [200, 200]


def test_the_clock_is_that_of_metabase_and_its_date_says_so(metabase: StandIn, secret: str) -> None:
    metabase.change(clock_offset_seconds=86_400)
    reply = exchange(metabase, token(secret))
    assert reply.text.startswith("Token is expired")
    ahead = parsedate_to_datetime(reply.headers["Date"]).timestamp() - time.time()
    # An hour either way: the day is what counts.
    assert 82_800 < ahead < 90_000


def test_versions_before_44_want_64_hexadecimal_characters(start_metabase: Any, secret: str) -> None:
    metabase = start_metabase(version=43)
    with pytest.raises(ValueError, match="64 hexadecimal"):
        metabase.change(jwt_shared_secret="any text")
    assert exchange(metabase, token(secret)).status == 302
    metabase.change(version=44, jwt_shared_secret="any text")
