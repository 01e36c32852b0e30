"""Issued tokens are, byte for byte, what Metabase and every common library read."""

import base64
import hashlib
import time
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from grpcurl import INVALID_ARGUMENT, SERVICE, Grpcurl
from jwt_libraries import Library, Refused
from server_process import HS256_HEADER

ADA = {"email": "ada@example.com", "firstName": "Ada", "lastName": "Lovelace"}
ADA_JSON = '"email":"ada@example.com","first_name":"Ada","last_name":"Lovelace"'


def payload_text(jwt: str) -> str:
    """The payload as it was signed."""
    part = jwt.split(".")[1]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()


def seconds(timestamp: str) -> int:
    """A timestamp of a response, in seconds since the epoch; it has no fraction."""
    parsed = datetime.fromisoformat(timestamp)
    assert parsed.microsecond == 0
    return int(parsed.timestamp())


def unix_now() -> int:
    return time.time_ns() // 1_000_000_000


def test_a_token_verifies_in_other_libraries(grpcurl: Grpcurl, library: Library, secret: str) -> None:
    request = {"user": ADA, "groups": {"names": ["Käufer"]}, "attributes": {"plan": "gold"}}
    verified = library.verify(grpcurl.issue(request)["jwt"], secret)
    assert verified.header == {"alg": "HS256", "typ": "JWT"}
    times = {name: verified.claims.pop(name) for name in ("iat", "exp")}
    assert verified.claims == {
        "email": "ada@example.com",
        "first_name": "Ada",
        "last_name": "Lovelace",
        "groups": ["Käufer"],
        "plan": "gold",
    }
    assert times["exp"] - times["iat"] == 600


def test_no_library_verifies_with_another_secret(grpcurl: Grpcurl, library: Library, secret: str) -> None:
    jwt = grpcurl.issue({"user": ADA})["jwt"]
    for wrong in (f"{secret}\n", secret.upper(), secret[::-1]):
        with pytest.raises(Refused):
            library.verify(jwt, wrong)


@pytest.mark.parametrize(
    ("request_", "payload"),
    [
        ({"user": ADA}, f"{{{ADA_JSON},TIMES}}"),
        ({"user": ADA, "groups": {}}, f'{{{ADA_JSON},"groups":[],TIMES}}'),
        (
            {"user": ADA, "groups": {"names": ["Region B", "Region A", "Region B"]}},
            f'{{{ADA_JSON},"groups":["Region B","Region A"],TIMES}}',
        ),
        (
            {"user": ADA, "tenant": {"slug": "acme"}},
            f'{{{ADA_JSON},"@tenant":"acme",TIMES}}',
        ),
        (
            {
                "user": {
                    "id": "4711",
                    "email": "Jose.Munoz@Example.COM",
                    "firstName": 'José "Pepe" 🦀',
                    "lastName": "Muñoz </script> \\ Øst",
                },
                "groups": {"names": ["Süd/West", "Ventas"]},
                "tenant": {"slug": "acme-gmbh", "attributes": {"tier": "2", "Straße": "Müllerweg 1"}},
                "attributes": {"zone": "emea", "Ärea": "42", "plan": "", "Zebra": "true", "10": "ten", "9": "nine"},
            },
            '{"email":"jose.munoz@example.com",'
            '"first_name":"José \\"Pepe\\" 🦀","last_name":"Muñoz </script> \\\\ Øst",'
            '"groups":["Süd/West","Ventas"],"@tenant":"acme-gmbh",'
            '"@tenant.attributes":{"Straße":"Müllerweg 1","tier":"2"},'
            '"10":"ten","9":"nine","Zebra":"true","plan":"","zone":"emea","Ärea":"42",TIMES}',
        ),
    ],
    ids=["no groups claim", "groups emptied", "groups", "tenant", "everything"],
)
def test_the_payload_is_this_text(grpcurl: Grpcurl, request_: dict[str, Any], payload: str) -> None:
    issued = grpcurl.issue(request_)
    times = f'"iat":{seconds(issued["issueTime"])},"exp":{seconds(issued["expireTime"])}'
    assert payload_text(issued["jwt"]) == payload.replace("TIMES", times)
    assert issued["jwt"].split(".")[0] == HS256_HEADER


def test_iat_is_5_s_ago(grpcurl: Grpcurl) -> None:
    before = unix_now()
    issued = grpcurl.issue({"user": ADA})
    after = unix_now()
    assert before - 5 <= seconds(issued["issueTime"]) <= after - 5


@pytest.mark.parametrize(("lifetime", "exchangeable"), [(None, 180), (60, 60), (179, 179), (181, 180), (3600, 180)])
def test_the_response_agrees_with_the_claims(grpcurl: Grpcurl, lifetime: int | None, exchangeable: int) -> None:
    issued = grpcurl.issue({"user": ADA} | ({"lifetime": f"{lifetime}s"} if lifetime else {}))
    issue_time = seconds(issued["issueTime"])
    assert seconds(issued["expireTime"]) == issue_time + (lifetime or 600)
    assert seconds(issued["exchangeDeadline"]) == issue_time + exchangeable
    assert payload_text(issued["jwt"]).endswith(f',"iat":{issue_time},"exp":{issue_time + (lifetime or 600)}}}')
    assert issued["tokenFingerprint"] == hashlib.sha256(issued["jwt"].encode()).hexdigest()[:16]
    assert "ssoUrl" not in issued


@pytest.mark.parametrize(
    ("lifetime", "rule"),
    [
        ("59s", "must be from 60 s to 3600 s, is 59 s"),
        ("3601s", "must be from 60 s to 3600 s, is 3601 s"),
        ("-600s", "must be from 60 s to 3600 s, is -600 s"),
        ("60.5s", "must be whole seconds, from 60 s to 3600 s"),
    ],
)
def test_a_lifetime_out_of_range_is_refused_with_the_numbers(grpcurl: Grpcurl, lifetime: str, rule: str) -> None:
    refusal = grpcurl.refusal(f"{SERVICE}/IssueMetabaseToken", {"user": ADA, "lifetime": lifetime})
    assert refusal.code == INVALID_ARGUMENT
    assert refusal.violations() == {"lifetime": rule}
    assert rule in refusal.message


@pytest.mark.parametrize(
    ("asked", "received"),
    [
        ("", "/"),
        ("/", "/"),
        ("/dashboard/1?tab=2&city=Z%C3%BCrich#logo=false", "/dashboard/1?tab=2&city=Z%C3%BCrich#logo=false"),
        ("/question/5?rate=100%25&next=%26%23%3F%3D+x", "/question/5?rate=100%25&next=%26%23%3F%3D+x"),
        ("/q?to=https://elsewhere.example/?jwt=x&return_to=y", "/q?to=https://elsewhere.example/?jwt=x&return_to=y"),
        ("https://metabase.example.com/dashboard/1?a=b&c=d", "https://metabase.example.com/dashboard/1?a=b&c=d"),
        ("/dashboard/1?city=Zürich Süd", "/dashboard/1?city=Z%C3%BCrich%20S%C3%BCd"),
    ],
)
def test_sso_url_carries_the_token_and_where_to_go(grpcurl: Grpcurl, asked: str, received: str) -> None:
    issued = grpcurl.issue({"user": ADA, "returnTo": asked})
    url = urlsplit(issued["ssoUrl"])
    assert (url.scheme, url.netloc, url.path, url.fragment) == ("https", "metabase.example.com", "/auth/sso", "")
    assert issued["ssoUrl"].isascii()
    query = parse_qsl(url.query, keep_blank_values=True, strict_parsing=True)
    assert query == [("jwt", issued["jwt"]), ("return_to", received)]
    assert unquote(received) == unquote(asked or "/")
