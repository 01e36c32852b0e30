"""What holds after every fault: no token unaudited, the log whole, and the service as good as before without a
restart."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from endurance import honest
from honest import Honest, Report
from service import Service, wait_until

AUDIT_UNAVAILABLE = "UNAVAILABLE AUDIT_UNAVAILABLE"


def assert_audited(service: Service, report: Report, audited: list[str] | None = None) -> None:
    """Every token that the client received is in the log, and the log is whole."""
    known = set(service.audited() if audited is None else audited)
    missing = [mark for mark in report.fingerprints if mark not in known]
    assert not missing, f"{len(missing)} of {len(report.fingerprints)} tokens are not in the log"
    if audited is None:
        service.verify_audit()


@contextlib.contextmanager
def under_load(service: Service, fault: str, errors: set[str] = frozenset(), **settings: float) -> Iterator[Honest]:
    """An honest client before, during and after a fault: no errors but these; what it got is audited."""
    with honest(service, **settings) as client:
        client.go_on(20)
        yield client
        client.go_on(20)
        report = client.stop()
    print(f"FAULT {fault}: {report}{dict(report.errors) or ''}")
    assert set(report.errors) <= set(errors), dict(report.errors)
    assert_audited(service, report)


def newcomer(service: Service) -> bool:
    """Whether somebody who connects now gets a token."""
    done = subprocess.run(issue_command(service), capture_output=True, text=True, timeout=60)
    return done.returncode == 0


def issue_command(service: Service) -> list[str | Path]:
    certificate, key = next(iter(service.clients.values()))
    words = ["issue", "--address", service.address, "--tls-server-name", "localhost"]
    words += ["--tls-ca", service.authority.certificate, "--tls-certificate", certificate, "--tls-key", key]
    return [service.binary, *words, "--user-id", "1815", "--email", "ada@example.com", "--first-name", "Ada", "--last-name", "Lovelace"]


def limit(service: Service, **limits: int) -> None:
    """Of the running process, as prlimit names them."""
    words = [f"--{name}={value}:" for name, value in limits.items()]
    subprocess.run(["prlimit", f"--pid={service.pid}", *words], check=True, timeout=60)


def agreement(service: Service, state: str) -> bool:
    """Whether the last look at Metabase told this."""
    return service.metric(f'metabase_agreement{{metabase="main",state="{state}"}}') == 1


def agrees(service: Service) -> None:
    wait_until("Metabase is found again", lambda: agreement(service, "agrees"))
