"""The libraries that other services sign and verify with. Every one is given the secret as plain text."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jwt

TOOLS = Path(__file__).parent / ".tools"
DEADLINE_SECONDS = 60

Claims = dict[str, Any]


class Refused(Exception):
    """The library would not do it, and says why."""


@dataclass(frozen=True)
class Verified:
    """What a library reads from a token that it trusts."""

    header: dict[str, Any]
    claims: Claims


class Library(Protocol):
    """Signs and verifies, each with its own code."""

    name: str

    def verify(self, token: str, secret: str) -> Verified:
        """Trusts HS256 only, and what the library checks by itself."""
        ...

    def sign(self, claims: Claims, secret: str, algorithm: str = "HS256", header: dict[str, Any] | None = None) -> str:
        """A token with exactly these claims; `header` is added to the library's own."""
        ...


class PyJwt:
    """PyJWT, in this process."""

    name = "PyJWT"

    def verify(self, token: str, secret: str) -> Verified:
        try:
            whole = jwt.decode_complete(token, secret, algorithms=["HS256"])
        except jwt.InvalidTokenError as error:
            raise Refused(str(error)) from error
        return Verified(whole["header"], whole["payload"])

    def sign(self, claims: Claims, secret: str, algorithm: str = "HS256", header: dict[str, Any] | None = None) -> str:
        return jwt.encode(claims, None if algorithm == "none" else secret, algorithm, header)


@dataclass(frozen=True)
class Program:
    """A program that reads and writes JSON; see `node/main.js` and `go/main.go`."""

    name: str
    command: tuple[str, ...]

    def verify(self, token: str, secret: str) -> Verified:
        answer = self._ask("verify", {"token": token, "secret": secret})
        return Verified(answer["header"], answer["claims"])

    def sign(self, claims: Claims, secret: str, algorithm: str = "HS256", header: dict[str, Any] | None = None) -> str:
        asked = {"claims": claims, "secret": secret, "algorithm": algorithm, "header": header or {}}
        return self._ask("sign", asked)["token"]

    def _ask(self, mode: str, asked: dict[str, Any]) -> dict[str, Any]:
        done = subprocess.run(
            [*self.command, mode], input=json.dumps(asked), capture_output=True, text=True, timeout=DEADLINE_SECONDS
        )
        assert done.returncode == 0, f"{self.name} failed: {done.stderr}"
        answer = json.loads(done.stdout)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer


LIBRARIES: tuple[Library, ...] = (
    PyJwt(),
    Program("jsonwebtoken", ("node", str(TOOLS / "node" / "main.js"))),
    Program("golang-jwt", (str(TOOLS / "bin" / "golang-jwt"),)),
)
