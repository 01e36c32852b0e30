"""The one request that everybody is asked, and what its answer has to be: looked into by PyJWT, field by field."""

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path

import grpc
import jwt
from metabase.token.v1 import token_service_pb2 as messages

from .machine import Void

RPC = "/metabase.token.v1.MetabaseTokenService/IssueMetabaseToken"
SECRET = "4f1c9a7e03b85d26f7a1c3e9b0d48e6275ac13f0e9b7d6482c5e8f01a3b4d697"  # Of the benchmark alone.
GROUPS = ["Customers", "Region EMEA"]
ATTRIBUTES = {"customer_id": "42", "region": "emea"}
LIFETIME_SECONDS = 600
GRPC_PREFIX_BYTES = 5


def request(attributes: Mapping[str, str] = ATTRIBUTES, instance: str = "") -> messages.IssueMetabaseTokenRequest:
    user = messages.User(id="1815", email="ada@example.com", first_name="Ada", last_name="Lovelace")
    return messages.IssueMetabaseTokenRequest(
        instance=instance, user=user, groups=messages.GroupList(names=GROUPS), attributes=attributes
    )


def write(message: messages.IssueMetabaseTokenRequest, folder: Path) -> tuple[Path, Path]:
    """The request as a file: with the five bytes that gRPC puts before a message, and without."""
    plain = message.SerializeToString(deterministic=True)
    framed_file, plain_file = folder / "request.grpc", folder / "request.binpb"
    framed_file.write_bytes(b"\0" + len(plain).to_bytes(4, "big") + plain)
    plain_file.write_bytes(plain)
    return framed_file, plain_file


def ask(
    channel: grpc.Channel, message: messages.IssueMetabaseTokenRequest
) -> tuple[messages.IssueMetabaseTokenResponse, int]:
    """gRPC status 0, or the run is void. The answer, and the bytes of DATA frames that it takes as the server has written it."""
    call = channel.unary_unary(RPC, request_serializer=messages.IssueMetabaseTokenRequest.SerializeToString)
    try:
        raw = call(message, timeout=30)
    except grpc.RpcError as error:
        raise Void(f"a request was answered with {error.code()}: {error.details()}") from None
    return messages.IssueMetabaseTokenResponse.FromString(raw), GRPC_PREFIX_BYTES + len(raw)


def check(answer: messages.IssueMetabaseTokenResponse, asked: messages.IssueMetabaseTokenRequest) -> None:
    """The token is signed with the secret, fresh, and says exactly what it should; the other fields fit it."""
    try:
        claims = jwt.decode(answer.jwt, SECRET, algorithms=["HS256"])
    except jwt.InvalidTokenError as error:
        raise Void(f"PyJWT refuses a token: {error}") from None
    issued, expires = answer.issue_time.seconds, answer.expire_time.seconds
    expected = {
        "email": asked.user.email,
        "first_name": asked.user.first_name,
        "last_name": asked.user.last_name,
        "groups": list(asked.groups.names),
        **asked.attributes,
        "iat": issued,
        "exp": expires,
    }
    fingerprint = hashlib.sha256(answer.jwt.encode()).hexdigest()[:16]
    facts = {
        "claims": claims == expected,
        "freshness": abs(time.time() - issued) < 30,
        "lifetime": expires - issued == LIFETIME_SECONDS,
        "exchange_deadline": answer.exchange_deadline.seconds == issued + 180,
        "token_fingerprint": answer.token_fingerprint == fingerprint,
    }
    wrong = [name for name, holds in facts.items() if not holds]
    if wrong:
        raise Void(f"a token has wrong {', '.join(wrong)}")
