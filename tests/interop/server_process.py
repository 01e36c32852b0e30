"""The real binary: `serve --dev`, as a person would start it for a first look, or `serve --config`."""

import os
import queue
import re
import signal
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

METABASE_URL = "https://metabase.example.com"
DEADLINE_SECONDS = 60
HS256_HEADER = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"


@dataclass
class ServerProcess:
    """Context manager; inside it the server is ready to serve."""

    binary: Path
    secret: str = field(repr=False)
    errors: Path
    """File that takes the server's standard error."""

    config: Path | None = None
    """Configuration file; none = `--dev`."""

    prefix: tuple[str, ...] = ()
    """Program that starts the server, with its arguments; it has to become it."""

    environment: dict[str, str] = field(default_factory=dict, repr=False)
    """More variables."""

    listen: str = "127.0.0.1:0"
    """Where to listen for gRPC."""

    printed: list[str] = field(default_factory=list)
    """Lines of standard output up to `ready`."""

    def __enter__(self) -> "ServerProcess":
        kept = {name: value for name, value in os.environ.items() if not name.startswith("METABASE_")}
        source = ["--config", self.config] if self.config else ["--dev"]
        with self.errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [*self.prefix, self.binary, "serve", *source, "--listen", self.listen, "--metrics-listen", "127.0.0.1:0"],
                env=kept | {"METABASE_JWT_SHARED_SECRET": self.secret, "METABASE_URL": METABASE_URL}
                | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self._wait_until_ready()
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        return self

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line.decode().rstrip("\n"))
        self._lines.put(None)

    def _wait_until_ready(self) -> None:
        while True:
            try:
                line = self._lines.get(timeout=DEADLINE_SECONDS)
            except queue.Empty:
                raise AssertionError(f"not ready, and silent for {DEADLINE_SECONDS} s; {self._story()}") from None
            assert line is not None, f"ended before it was ready; {self._story()}"
            self.printed.append(line)
            if line == "ready":
                return

    def _story(self) -> str:
        return f"printed {self.printed}, and as errors:\n{self.errors.read_text()}"

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            exit_code = self._process.wait(timeout=DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"still running {DEADLINE_SECONDS} s after SIGTERM; {self._story()}") from None
        self._reader.join(timeout=DEADLINE_SECONDS)
        while (line := self._lines.get(timeout=DEADLINE_SECONDS)) is not None:
            self.printed.append(line)
        assert exit_code == 0, f"exit code {exit_code} after SIGTERM; {self._story()}"
        everything = "\n".join([*self.printed, self.errors.read_text()])
        # Not by `in` within an assert: pytest would show what must not be shown.
        leaks = [
            what for what, text in (("secret", self.secret), ("a token", f"{HS256_HEADER}.")) if text in everything
        ]
        assert not leaks, f"the server printed {leaks}"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def address(self) -> str:
        """Host and port of the gRPC service."""
        return self._printed_match(r"gRPC on (127\.0\.0\.1:\d+) \((?:plaintext|TLS)\)")

    @property
    def probe_address(self) -> str:
        """Host and port of the listener for probes."""
        return self._printed_match(r"health on (127\.0\.0\.1:\d+) \(plaintext\)")

    @property
    def metrics_url(self) -> str:
        return self._printed_match(r"metrics on (http://127\.0\.0\.1:\d+/metrics)")

    @property
    def grpcurl_line(self) -> str:
        """The command that the server offers for a first call."""
        return self._printed_match(r"  (grpcurl .+)")

    def _printed_match(self, pattern: str) -> str:
        matches = [match[1] for line in self.printed if (match := re.fullmatch(pattern, line))]
        assert len(matches) == 1, f"{pattern} matches {len(matches)} lines of {self.printed}"
        return matches[0]
