"""The real binary with a configuration file, its certificates, its audit log, and what the kernel and the metrics
say about it."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from authority import Authority
from cryptography import x509
from server_process import DEADLINE_SECONDS, HS256_HEADER, ServerProcess

BINARY = Path(os.environ["METABASE_TOKEN_SERVICE_BIN"])
SHOP, ROGUE, STRANGER = (f"spiffe://example.org/{name}" for name in ("shop", "rogue", "stranger"))
AUDIT = '[audit]\nsink = {{ file = "{folder}/audit/log.jsonl" }}\nsubject = "plain"\n'
CONFIG = """
[server]
reflection = true
drain = {{ announce_delay = "0s", grace_period = "10s" }}
{server}
[server.limits]
{limits}
[server.tls]
certificate = "{folder}/tls/server.pem"
private_key = "{folder}/tls/server.key"
client_ca = "{folder}/tls/ca.pem"
[server.identity]
mtls = true
{audit}
[[instances]]
name = "main"
shared_secret = {{ file = "{folder}/secrets/secret" }}
{instance}
[[callers]]
name = "shop"
identities = ["{shop}"]
[[callers.grants]]
instance = "main"
email_domains = ["example.com"]
groups = ["*"]
attributes = {{ "*" = "string" }}
[[callers]]
name = "rogue"
identities = ["{rogue}"]
[[callers.grants]]
instance = "main"
email_domains = ["example.com"]
groups = ["*"]
attributes = {{ "*" = "string" }}
"""


@dataclass(frozen=True)
class Usage:
    """What the process has at one moment."""

    rss_kib: int
    descriptors: int
    threads: int


@dataclass
class Service(ServerProcess):
    """Context manager, as `ServerProcess`; what the server printed is scanned for panics at its end."""

    folder: Path = Path()
    limits: str = ""
    server: str = ""
    instance: str = ""
    audit: str = AUDIT
    expected_exits: tuple[int, ...] = (0,)
    """Of these is the exit code one, or the negated number of the signal that ended the process."""

    certificate_lifetime: int | None = None
    """Seconds; none = a day."""

    clients: dict[str, tuple[Path, Path]] = field(default_factory=dict)
    """Certificate and key by identity."""

    def __post_init__(self) -> None:
        for name in ("secrets", "audit", "tls"):
            (self.folder / name).mkdir(exist_ok=True)
        self.authority = Authority(self.folder / "ca")
        self.issue_server_certificate()
        for identity in (SHOP, ROGUE, STRANGER):
            name = identity.rsplit("/", 1)[1]
            self.clients[identity] = self.authority.issue(name, [x509.UniformResourceIdentifier(identity)])
        self.write_secret(self.secret)
        self.config = self.folder / "mts.toml"
        self.write_config()

    def write_config(self, extra: str = "") -> None:
        """Renames a new configuration over the last."""
        words = {"folder": self.folder, "shop": SHOP, "rogue": ROGUE}
        audit, server, instance = (text.format(**words) for text in (self.audit, self.server, self.instance))
        text = CONFIG.format(**words, audit=audit, limits=self.limits, server=server, instance=instance)
        self._replace(self.folder / "mts.toml", text + extra)

    def write_secret(self, secret: str) -> None:
        self._replace(self.folder / "secrets" / "secret", secret)

    def issue_server_certificate(self) -> None:
        """Of the server, from now on."""
        from datetime import timedelta

        lifetime = (
            {} if self.certificate_lifetime is None else {"lifetime": timedelta(seconds=self.certificate_lifetime)}
        )
        certificate, key = self.authority.issue("server", [x509.DNSName("localhost")], **lifetime)
        self._replace(self.folder / "tls" / "server.key", key.read_text())
        self._replace(self.folder / "tls" / "server.pem", certificate.read_text())
        self._replace(self.folder / "tls" / "ca.pem", self.authority.certificate.read_text())

    def _replace(self, path: Path, text: str) -> None:
        new = path.with_name(f".{path.name}.new")
        new.write_text(text)
        new.chmod(0o400)
        new.rename(path)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if 0 in self.expected_exits:
            super().__exit__(kind, error, at)
        else:
            self._process.send_signal(signal.SIGTERM)
            exit_code = self._process.wait(timeout=DEADLINE_SECONDS)
            assert exit_code in self.expected_exits, f"exit code {exit_code}; {self._story()}"
        self.look_for_panics_and_leaks()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """The exit code, once it has ended by itself."""
        return self._process.wait(timeout=DEADLINE_SECONDS)

    @property
    def log(self) -> str:
        return self.errors.read_text()

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit" / "log.jsonl"

    def look_for_panics_and_leaks(self) -> None:
        """In everything that it has written but the answers."""
        written = [self.log, *self.printed, *(log.read_text() for log in self.audit_log.parent.glob("*.jsonl*"))]
        for word in ("panicked", "has failed; files are not looked at"):
            assert not any(word in text for text in written), f"the log says {word!r}:\n{self.log[-4000:]}"
        # Not by `in` within an assert: pytest would show what must not be shown.
        leaks = [
            what
            for what, word in (("secret", self.secret), ("token", f"{HS256_HEADER}."))
            for text in written
            if word in text
        ]
        assert not leaks, f"the server wrote {leaks}"

    def usage(self) -> Usage:
        status = Path(f"/proc/{self.pid}/status").read_text()
        number = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+)", status, re.MULTILINE)}
        return Usage(number["VmRSS"], len(os.listdir(f"/proc/{self.pid}/fd")), number["Threads"])

    def peak_kib(self) -> int:
        """Most memory since `forget_peak`."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"^VmHWM:\s+(\d+)", status, re.MULTILINE)[1])

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def metrics(self) -> dict[str, float]:
        with urllib.request.urlopen(self.metrics_url, timeout=DEADLINE_SECONDS) as answer:
            text = answer.read().decode()
        assert not any(word in text for word in (self.secret, HS256_HEADER)), "the metrics hold a secret or a token"
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name.removeprefix("metabase_token_service_"): float(value) for name, value in lines}

    def metric(self, name: str) -> float:
        """0 as long as it is not there."""
        return self.metrics().get(name, 0)

    def connections(self) -> int:
        return int(self.metric('connections{listener="grpc"}'))

    def audited(self) -> list[str]:
        """Fingerprints of the tokens in all files of the log."""
        found = []
        for log in self.audit_log.parent.glob("*.jsonl*"):
            records = [json.loads(line) for line in log.read_text().splitlines()]
            found += [record["fingerprint"] for record in records if record["event"] == "token_issued"]
        return found

    def verify_audit(self) -> str:
        """What `audit verify` says of the log; it must be whole."""
        for log in sorted(self.audit_log.parent.glob("*.jsonl*")):
            done = subprocess.run(
                [BINARY, "audit", "verify", log], capture_output=True, text=True, timeout=DEADLINE_SECONDS
            )
            assert done.returncode == 0, f"audit verify {log.name}: {done.stdout}{done.stderr}"
        return done.stdout


def wait_until(what: str, holds: Callable[[], object], seconds: float = DEADLINE_SECONDS) -> None:
    """Looks again and again, and gives up long after it should hold."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)
