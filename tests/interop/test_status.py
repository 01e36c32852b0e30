"""CheckAuthStatus judges tokens of any origin as Metabase would."""

import time
from typing import Any

import pytest

from grpcurl import Grpcurl
from jwt_libraries import Claims, Library

CORRUPT = "Message seems corrupt or manipulated"


def claims(**changes: Any) -> Claims:
    """Good claims, issued now, with changes; None leaves a claim out."""
    now = int(time.time())
    good = {
        "email": "Ada@Example.com",
        "first_name": "Ada",
        "last_name": "Lovelace",
        "groups": ["Customers", "Süd"],
        "plan": "gold",
        "customer_id": 42,
        "iat": now,
        "exp": now + 600,
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def is_error(judged: dict[str, Any], reason: str, answer: str) -> bool:
    """Whether the judgement is this error and says what Metabase would answer."""
    assert (judged["status"], judged["reason"]) == ("AUTH_STATUS_ERROR", f"AUTH_STATUS_REASON_{reason}"), judged
    assert answer in judged["message"]
    return True


def test_a_good_token_is_read_as_metabase_reads_it(grpcurl: Grpcurl, library: Library, secret: str) -> None:
    judged = grpcurl.check({"jwt": library.sign(claims(), secret)})
    assert (judged["status"], judged["reason"]) == ("AUTH_STATUS_SUCCESS", "AUTH_STATUS_REASON_ACCEPTED")
    assert judged["user"] == {"email": "ada@example.com", "firstName": "Ada", "lastName": "Lovelace"}
    assert judged["groups"] == {"names": ["Customers", "Süd"]}
    assert judged["attributes"] == {"plan": "gold", "customer_id": "42"}
    assert "tenant" not in judged
    (warning,) = judged["warnings"]
    assert "customer_id" in warning


@pytest.mark.parametrize(("groups", "read"), [(None, None), ([], {})], ids=["absent", "empty"])
def test_no_groups_and_an_empty_list_are_told_apart(
    grpcurl: Grpcurl, library: Library, secret: str, groups: list[str] | None, read: dict[str, Any] | None
) -> None:
    judged = grpcurl.check({"jwt": library.sign(claims(groups=groups), secret)})
    assert judged["status"] == "AUTH_STATUS_SUCCESS"
    assert judged.get("groups") == read


def test_a_tenant_is_read(grpcurl: Grpcurl, library: Library, secret: str) -> None:
    token = library.sign(claims(**{"@tenant": "acme", "@tenant.attributes": {"tier": "2"}}), secret)
    judged = grpcurl.check({"jwt": token})
    assert judged["status"] == "AUTH_STATUS_SUCCESS"
    assert judged["tenant"] == {"slug": "acme", "attributes": {"tier": "2"}}


def test_further_header_fields_do_no_harm(grpcurl: Grpcurl, library: Library, secret: str) -> None:
    judged = grpcurl.check({"jwt": library.sign(claims(), secret, header={"kid": "2026", "cty": "x"})})
    assert judged["status"] == "AUTH_STATUS_SUCCESS"


def test_another_secret_is_a_signature_mismatch(grpcurl: Grpcurl, library: Library, secret: str) -> None:
    token = library.sign(claims(), secret[::-1])
    judged = grpcurl.check({"jwt": token})
    assert is_error(judged, "SIGNATURE_MISMATCH", CORRUPT)
    # Nothing that an unproven token claims is repeated.
    assert not judged.keys() & {"user", "groups", "attributes", "tenant", "issueTime", "expireTime"}


def test_a_changed_payload_is_a_signature_mismatch(grpcurl: Grpcurl, library: Library, secret: str) -> None:
    header, _, signature = library.sign(claims(), secret).split(".")
    _, payload, _ = library.sign(claims(email="grace@example.com"), secret).split(".")
    assert is_error(grpcurl.check({"jwt": f"{header}.{payload}.{signature}"}), "SIGNATURE_MISMATCH", CORRUPT)


@pytest.mark.parametrize(
    ("algorithm", "reason"),
    [("HS384", "UNSUPPORTED_ALGORITHM"), ("HS512", "UNSUPPORTED_ALGORITHM"), ("none", "UNSUPPORTED_ALGORITHM")],
)
def test_other_algorithms_are_unsupported(
    grpcurl: Grpcurl, library: Library, secret: str, algorithm: str, reason: str
) -> None:
    judged = grpcurl.check({"jwt": library.sign(claims(), secret, algorithm)})
    assert is_error(judged, reason, CORRUPT)
    assert algorithm in judged["message"]


def test_an_expired_token_is_expired(grpcurl: Grpcurl, library: Library, secret: str) -> None:
    past = int(time.time()) - 1
    judged = grpcurl.check({"jwt": library.sign(claims(iat=past - 60, exp=past), secret)})
    assert is_error(judged, "EXPIRED", f"Token is expired ({past})")
    # The secret is proven, so the person is read all the same.
    assert judged["user"]["email"] == "ada@example.com"


def test_a_token_of_200_s_is_too_old(grpcurl: Grpcurl, library: Library, secret: str) -> None:
    judged = grpcurl.check({"jwt": library.sign(claims(iat=int(time.time()) - 200), secret)})
    assert is_error(judged, "TOO_OLD_TO_EXCHANGE", "Token is older than max-age (180)")


def test_a_token_for_later_is_not_yet_valid(grpcurl: Grpcurl, library: Library, secret: str) -> None:
    later = int(time.time()) + 300
    judged = grpcurl.check({"jwt": library.sign(claims(nbf=later), secret)})
    assert is_error(judged, "NOT_YET_VALID", f"Token is not yet valid ({later})")


def test_a_token_without_email_is_refused(grpcurl: Grpcurl, library: Library, secret: str) -> None:
    judged = grpcurl.check({"jwt": library.sign(claims(email=None), secret)})
    assert is_error(judged, "MISSING_EMAIL", "JWT token missing email claim")


def test_exp_in_milliseconds_is_accepted_with_a_warning(grpcurl: Grpcurl, library: Library, secret: str) -> None:
    judged = grpcurl.check({"jwt": library.sign(claims(exp=(int(time.time()) + 600) * 1000), secret)})
    assert judged["status"] == "AUTH_STATUS_SUCCESS"
    assert any("exp" in warning and "milliseconds" in warning for warning in judged["warnings"])
    # The year 58000 is beyond what a timestamp can hold.
    assert "expireTime" not in judged


def test_a_token_without_times_is_accepted_with_warnings(grpcurl: Grpcurl, library: Library, secret: str) -> None:
    judged = grpcurl.check({"jwt": library.sign(claims(iat=None, exp=None), secret)})
    assert judged["status"] == "AUTH_STATUS_SUCCESS"
    for claim in ("exp", "iat"):
        assert any(f"`{claim}` is missing" in warning for warning in judged["warnings"])


@pytest.mark.parametrize(
    "garbage",
    ["garbage", "a.b", "...", "a.b.c", "bm90IGpzb24.e30.AAAA", "WzFd.e30.AAAA", "eyJhbGciOiJIUzI1NiJ9.e30.A"],
    ids=["word", "two parts", "dots", "no base64url", "header no JSON", "header no object", "signature no base64url"],
)
def test_garbage_is_malformed(grpcurl: Grpcurl, garbage: str) -> None:
    judged = grpcurl.check({"jwt": garbage})
    assert is_error(judged, "MALFORMED", CORRUPT)


def test_no_credential_is_uninitialized(grpcurl: Grpcurl) -> None:
    judged = grpcurl.check({})
    assert judged.pop("message")
    assert judged == {"status": "AUTH_STATUS_UNINITIALIZED"}


@pytest.mark.parametrize(
    "request_",
    [{"jwt": "a.b.c", "live": True}, {"sessionId": "0f0e0d0c-0b0a-4908-8706-050403020100"}, {"apiKey": "mb_key"}],
    ids=["live", "session_id", "api_key"],
)
def test_without_metabase_a_live_check_is_unreachable(grpcurl: Grpcurl, request_: dict[str, Any]) -> None:
    judged = grpcurl.check(request_)
    assert (judged["status"], judged["reason"]) == (
        "AUTH_STATUS_ERROR",
        "AUTH_STATUS_REASON_METABASE_UNREACHABLE",
    )
