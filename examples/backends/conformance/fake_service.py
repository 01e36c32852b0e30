"""A token service that fails on demand and remembers what it was asked, for what the real one cannot be made to do."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from metabase.token.v1 import token_service_pb2 as pb
from metabase.token.v1.token_service_pb2_grpc import (
    MetabaseTokenServiceServicer,
    add_MetabaseTokenServiceServicer_to_server,
)

from backend_process import hold_port

DETAIL = "detail-for-operators-only"
"""In the message of every error."""


@dataclass
class FakeService(MetabaseTokenServiceServicer):
    """Context manager; inside it the fake answers. Tokens are numbered: `token-1` and so on."""

    port: int = 0
    issued: list[pb.IssueMetabaseTokenRequest] = field(default_factory=list)
    checked: list[pb.CheckAuthStatusRequest] = field(default_factory=list)
    seconds_left: list[float | None] = field(default_factory=list)
    """Until the deadline, for each RPC."""
    failures: deque[grpc.StatusCode] = field(default_factory=deque)
    """The next RPCs end in these."""
    reason: str = ""
    """In the details of every failure; empty: there are none."""
    judgement: pb.CheckAuthStatusResponse = field(default_factory=pb.CheckAuthStatusResponse)
    answers: threading.Event = field(default_factory=threading.Event)
    """Cleared: RPCs are taken and not answered."""

    def start(self) -> None:
        """Later starts take the same port."""
        self.answers.set()
        options = [("grpc.so_reuseport", 0)]
        self._server = grpc.server(ThreadPoolExecutor(32), options=options)
        add_MetabaseTokenServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()

    def stop(self) -> None:
        self.answers.set()
        # With no grace at all it would break its connections off with INTERNAL_ERROR, as the real service never does.
        self._server.stop(grace=0.5).wait()

    def __enter__(self) -> "FakeService":
        self._holder = hold_port()  # Also while the fake is gone.
        self.port = self._holder.getsockname()[1]
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._holder.close()

    def reset(self) -> None:
        # New ones: an RPC that was given up, and waits still, must not take what is meant for the next check.
        self.answers.set()
        self.answers = threading.Event()
        self.answers.set()
        self.reason = ""
        self.issued, self.checked, self.seconds_left, self.failures = [], [], [], deque()
        self.judgement = pb.CheckAuthStatusResponse(
            status=pb.AUTH_STATUS_SUCCESS, reason=pb.AUTH_STATUS_REASON_ACCEPTED, message="Fine."
        )

    def IssueMetabaseToken(self, request: Any, context: grpc.ServicerContext) -> pb.IssueMetabaseTokenResponse:
        def answer() -> pb.IssueMetabaseTokenResponse:
            jwt = f"token-{len(self.issued)}"
            return pb.IssueMetabaseTokenResponse(
                jwt=jwt,
                issue_time=Timestamp(seconds=1_700_000_000),
                expire_time=Timestamp(seconds=1_700_000_600),
                exchange_deadline=Timestamp(seconds=1_700_000_180),
                token_fingerprint=f"{len(self.issued):016x}",
                sso_url=f"http://metabase.example/auth/sso?jwt={jwt}",
            )

        self.issued.append(request)
        return self._answer(context, answer)

    def CheckAuthStatus(self, request: Any, context: grpc.ServicerContext) -> pb.CheckAuthStatusResponse:
        self.checked.append(request)
        return self._answer(context, lambda: self.judgement)

    def _answer(self, context: grpc.ServicerContext, answer: Callable[[], Any]) -> Any:
        self.seconds_left.append(context.time_remaining())
        failures = self.failures
        self.answers.wait()
        if failures:
            self._fail(context, failures.popleft())
        return answer()

    def _fail(self, context: grpc.ServicerContext, code: grpc.StatusCode) -> None:
        if not self.reason:
            context.abort(code, DETAIL)
        packed = Packed()
        packed.Pack(ErrorInfo(reason=self.reason, domain="metabase-token-service"))
        context.abort_with_status(rpc_status.to_status(Status(code=code.value[0], message=DETAIL, details=[packed])))
