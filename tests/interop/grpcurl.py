"""Drives the real grpcurl. Requests go through standard input, so that no token appears in a list of processes."""

import base64
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.rpc import error_details_pb2

GRPCURL = Path(__file__).parent / ".tools" / "bin" / "grpcurl"
SERVICE = "metabase.token.v1.MetabaseTokenService"
DEADLINE_SECONDS = 60

# Codes of google.rpc.Code that the suite expects.
INVALID_ARGUMENT = 3
NOT_FOUND = 5
FAILED_PRECONDITION = 9


@dataclass(frozen=True)
class RpcError:
    """A refused call."""

    code: int
    message: str
    details: list[dict[str, Any]]

    def detail(self, name: str) -> dict[str, Any]:
        """The one detail that is a message `google.rpc.<name>`."""
        found = [detail for detail in self.details if detail["@type"] == f"type.googleapis.com/google.rpc.{name}"]
        assert len(found) == 1, f"{len(found)} details of type {name} in {self}"
        if "@value" not in found[0]:
            return found[0]
        # grpcurl knows only the types that reflection describes, and shows others as they came.
        message = getattr(error_details_pb2, name).FromString(base64.b64decode(found[0]["@value"]))
        return MessageToDict(message)

    def violations(self) -> dict[str, str]:
        """Descriptions of the `BadRequest` by field."""
        listed = self.detail("BadRequest")["fieldViolations"]
        by_field = {violation["field"]: violation["description"] for violation in listed}
        assert len(by_field) == len(listed), f"a field is listed twice in {self}"
        return by_field


@dataclass(frozen=True)
class Grpcurl:
    """grpcurl against one server, which it asks for the contract by reflection."""

    address: str
    connection: tuple[str | Path, ...] = ("-plaintext",)
    """Options that say how to connect, and as whom."""

    def text(self, *words: str) -> str:
        """What `grpcurl … words` prints, without indentation; it must succeed."""
        done = self.run(*words)
        assert done.returncode == 0, f"grpcurl {' '.join(words)}: exit code {done.returncode}\n{done.stderr}"
        return "".join(f"{line.strip()}\n" for line in done.stdout.splitlines())

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`grpcurl … words`, whatever comes of it."""
        command = [GRPCURL, *self.connection, self.address, *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS)

    def call(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        """The response, as JSON: fields without a value are absent. The call must succeed."""
        done = self._run(method, request)
        assert done.returncode == 0, f"{method}: exit code {done.returncode}\n{done.stderr}"
        return json.loads(done.stdout)

    def refusal(self, method: str, request: dict[str, Any]) -> RpcError:
        """The error of a call that must fail."""
        done = self._run(method, request)
        assert done.returncode >= 64, f"{method}: exit code {done.returncode}, not one of an RPC error\n{done.stderr}"
        status = json.loads(done.stderr)
        assert done.returncode == 64 + status["code"]
        return RpcError(status["code"], status["message"], status.get("details", []))

    def cannot_connect(self) -> bool:
        """Whether no RPC comes about at all."""
        done = self._run("grpc.health.v1.Health/Check", {})
        return done.returncode == 1 and "Failed to dial" in done.stderr

    def issue(self, request: dict[str, Any]) -> dict[str, Any]:
        """Response of `IssueMetabaseToken`."""
        return self.call(f"{SERVICE}/IssueMetabaseToken", request)

    def check(self, request: dict[str, Any]) -> dict[str, Any]:
        """Response of `CheckAuthStatus`."""
        return self.call(f"{SERVICE}/CheckAuthStatus", request)

    def _run(self, method: str, request: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [GRPCURL, *self.connection, "-format-error", "-d", "@", self.address, method],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
        )
