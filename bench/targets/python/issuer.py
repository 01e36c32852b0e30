"""A token issuer as a team would write it in Python: the same contract, claims and checks."""

import hashlib
import re
import time

import grpc
import jwt
from google.protobuf.timestamp_pb2 import Timestamp
from metabase.token.v1 import token_service_pb2 as messages

EMAIL = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-z0-9-]+(\.[a-z0-9-]+)+")
DEFAULT_LIFETIME = 600
MOST_LIFETIME = 3600
BACKDATED = 5
MAX_AGE = 180


class Invalid(Exception):
    """What the request breaks."""


def check(request: messages.IssueMetabaseTokenRequest) -> None:
    if not request.HasField("user"):
        raise Invalid("user: required")
    user, found = request.user, []
    if len(user.email) > 254 or not EMAIL.fullmatch(user.email.lower()):
        found.append("user.email: not an e-mail address")
    for field in ("first_name", "last_name"):
        name = getattr(user, field)
        if not name.strip() or len(name) > 254:
            found.append(f"user.{field}: 1 to 254 characters")
    if request.HasField("lifetime"):
        lifetime = request.lifetime
        if lifetime.nanos or not 60 <= lifetime.seconds <= MOST_LIFETIME:
            found.append(f"lifetime: whole seconds, 60 to {MOST_LIFETIME}")
    if found:
        raise Invalid("; ".join(found))


def issue(request: messages.IssueMetabaseTokenRequest, secret: str) -> messages.IssueMetabaseTokenResponse:
    check(request)
    user = request.user
    issued = int(time.time()) - BACKDATED
    expires = issued + (request.lifetime.seconds if request.HasField("lifetime") else DEFAULT_LIFETIME)
    claims = {"email": user.email.lower(), "first_name": user.first_name, "last_name": user.last_name}
    if request.HasField("groups"):
        claims["groups"] = list(request.groups.names)
    token = jwt.encode({**claims, **request.attributes, "iat": issued, "exp": expires}, secret, algorithm="HS256")
    return messages.IssueMetabaseTokenResponse(
        jwt=token,
        issue_time=Timestamp(seconds=issued),
        expire_time=Timestamp(seconds=expires),
        exchange_deadline=Timestamp(seconds=min(expires, issued + MAX_AGE)),
        token_fingerprint=hashlib.sha256(token.encode()).hexdigest()[:16],
    )


OPTIONS = [
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", 64 * 1024),
    ("grpc.so_reuseport", 0),
]
INVALID = grpc.StatusCode.INVALID_ARGUMENT
