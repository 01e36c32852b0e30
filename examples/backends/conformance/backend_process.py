"""A backend as a process: how each is started, and what it has to be told."""

import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

FOLDER = Path(__file__).resolve().parent.parent
DEADLINE_SECONDS = 60
APP_ORIGIN = "http://localhost:3001"
HS256_HEADER = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"

COMMANDS = {
    "python-fastapi": [".venv/bin/python", "app.py"],
    "node-express": ["node", "server.js"],
    "go-nethttp": ["./backend"],
    "rust-axum": ["target/debug/backend"],
    "java-spring": ["java", "-XX:TieredStopAtLevel=1", "-jar", "target/backend.jar"],
}
"""What the README of each says, less what builds."""


@dataclass
class Program:
    """A backend that can be started, as often as one likes."""

    name: str
    folder: Path
    command: list[str]

    def start(self, listen: str, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
        kept = {name: os.environ[name] for name in ("HOME", "JAVA_HOME", "PATH") if name in os.environ}
        told = {"LISTEN": listen, "APP_ORIGINS": APP_ORIGIN, "PEOPLE_FILE": str(FOLDER / "people.json")}
        with log.open("wb") as output:
            return subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=kept | told | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )


def program(name: str) -> Program:
    return Program(name, FOLDER / name, COMMANDS[name])


def hold_port() -> socket.socket:
    """A free port of loopback that nobody else is given while the socket is open, neither to listen nor to connect from.

    Who names it can listen on it nevertheless, for this socket does not: both have SO_REUSEADDR, as every server has.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


@dataclass
class BackendProcess:
    """Context manager; inside it the backend answers."""

    program: Program
    environment: dict[str, str]
    log: Path
    holder: socket.socket = field(default_factory=hold_port)
    """Holds the port until the backend has ended."""

    @property
    def port(self) -> int:
        return self.holder.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def logged_a_token(self) -> bool:
        return f"{HS256_HEADER}." in self.log.read_text()

    def __enter__(self) -> "BackendProcess":
        self._process = self.program.start(f"127.0.0.1:{self.port}", self.environment, self.log)
        until = time.monotonic() + DEADLINE_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_SECONDS).close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > until:
                    self._process.kill()
                    raise AssertionError(f"{self.program.name} does not answer:\n{self.log.read_text()}") from None
                time.sleep(0.05)
            else:
                return self

    def ask_to_stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.ask_to_stop()
        try:
            self._process.wait(timeout=DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"{self.program.name} still runs {DEADLINE_SECONDS} s after SIGTERM") from None
        finally:
            self.holder.close()
