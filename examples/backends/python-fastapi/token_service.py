"""Asks metabase-token-service for tokens, in bounded time, and says in HTTP what it answers."""

import json
import logging
from dataclasses import dataclass
from urllib.parse import urlsplit

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_status import rpc_status

from metabase.token.v1 import token_service_pb2 as pb
from metabase.token.v1.token_service_pb2_grpc import MetabaseTokenServiceStub
from settings import Settings

DEADLINE_SECONDS = 2.0
"""For an RPC with all its tries."""

RETRIES = {
    "maxAttempts": 3,
    "initialBackoff": "0.1s",
    "maxBackoff": "0.5s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
METHODS = [{"name": [{"service": "metabase.token.v1.MetabaseTokenService"}], "retryPolicy": RETRIES}]
OPTIONS = [
    ("grpc.service_config", json.dumps({"methodConfig": METHODS})),
    ("grpc.max_reconnect_backoff_ms", 2000),  # Back soon after the service is; the default waits up to 2 minutes.
    ("grpc.keepalive_time_ms", 30_000),  # Notices a peer that vanished without a word.
    ("grpc.keepalive_timeout_ms", 5_000),
]
LOG = logging.getLogger("uvicorn.error")
"""For operators. What the service says never holds a token."""

BY_CODE = {
    grpc.StatusCode.PERMISSION_DENIED: (403, "NO_ACCESS", "You have no access to these analytics."),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (429, "TOO_MANY_REQUESTS", "Too many people at once; try again."),
    grpc.StatusCode.UNAVAILABLE: (503, "TRY_AGAIN", "Analytics cannot sign you in at the moment; try again."),
    grpc.StatusCode.CANCELLED: (503, "TRY_AGAIN", "Analytics cannot sign you in at the moment; try again."),
    grpc.StatusCode.DEADLINE_EXCEEDED: (503, "TRY_AGAIN", "Analytics cannot sign you in at the moment; try again."),
}
# UNAUTHENTICATED too: it is about this backend. As 401 it would send who is signed in to sign in, in a circle.
OTHERWISE = (500, "MISCONFIGURED", "Analytics is not set up correctly.")


@dataclass
class Failure(Exception):
    """An answer for the browser: says nothing of what the service said."""

    status: int
    code: str
    message: str


def connect(settings: Settings) -> "TokenService":
    """Connects when first asked. TLS if the address says https; plaintext is for a mesh's sidecar or this machine."""
    address = urlsplit(settings.metabase_token_service_address).netloc
    if ca := settings.metabase_token_service_tls_ca:
        files = [settings.metabase_token_service_tls_key, settings.metabase_token_service_tls_certificate]
        own = [file.read_bytes() if file else None for file in files]
        channel = grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(ca.read_bytes(), *own), OPTIONS)
    else:
        channel = grpc.aio.insecure_channel(address, OPTIONS)
    return TokenService(MetabaseTokenServiceStub(channel), settings.metabase_instance)


class TokenService:
    """The two RPCs, for people as the demo's file has them."""

    def __init__(self, stub: MetabaseTokenServiceStub, instance: str) -> None:
        self._stub = stub
        self._instance = instance

    async def issue(self, person: dict, return_to: str | None = None) -> pb.IssueMetabaseTokenResponse:
        """A token for this person, for this one request: never kept. With `return_to`, also the URL to send them to."""
        request = pb.IssueMetabaseTokenRequest(
            instance=self._instance,
            user=pb.User(**{key: person[key] for key in ("id", "email", "first_name", "last_name")}),
            groups=pb.GroupList(names=person["groups"]),
            attributes=person["attributes"],
            return_to=return_to,
        )
        return await self._answer(self._stub.IssueMetabaseToken(request, timeout=DEADLINE_SECONDS))

    async def check(self, jwt: str) -> pb.CheckAuthStatusResponse:
        """What Metabase would say to the token; judged by the service, without an effect."""
        request = pb.CheckAuthStatusRequest(instance=self._instance, jwt=jwt)
        judged = await self._answer(self._stub.CheckAuthStatus(request, timeout=DEADLINE_SECONDS))
        for warning in judged.warnings:
            LOG.warning("token service: %s", warning)
        return judged

    async def _answer(self, call):
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            LOG.warning("token service: %s: %s", error.code().name, error.details())
            if any(violation.field == "return_to" for violation in _violations(error)):
                raise Failure(400, "INVALID_RETURN_TO", "The link leads nowhere in Metabase.") from None
            if any(info.reason == "SHARED_ACCOUNT" for info in _details(error, ErrorInfo)):
                raise Failure(409, "SHARED_ACCOUNT", "Another person uses this e-mail address here; ask for one of your own.") from None
            raise Failure(*BY_CODE.get(error.code(), OTHERWISE)) from None


def _violations(error: grpc.aio.AioRpcError) -> list:
    return [violation for request in _details(error, BadRequest) for violation in request.field_violations]


def _details(error: grpc.aio.AioRpcError, kind: type) -> list:
    details = getattr(rpc_status.from_call(error), "details", [])  # None: nothing but a code and a message.
    return [message for detail in details if detail.Unpack(message := kind())]
