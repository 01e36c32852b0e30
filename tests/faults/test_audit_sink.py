"""The audit log cannot be written, or not as fast as it should: no token leaves then, and all go on once it can be."""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from endurance import honest
from service import Service, wait_until

from aftermath import AUDIT_UNAVAILABLE, assert_audited, under_load


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Callable[[str], None]]]:
    """Mounts file systems in memory below the test's folder; each returns what changes its size."""
    with ExitStack() as mounted:

        def mount(name: str) -> Callable[[str], None]:
            folder = tmp_path / name
            folder.mkdir(parents=True)

            def with_options(options: str) -> None:
                subprocess.run(["mount", "-t", "tmpfs", "-o", options, "mts-test", folder], check=True, timeout=60)

            with_options("size=256k")
            mounted.callback(subprocess.run, ["umount", "--lazy", folder], check=True, timeout=60)
            return lambda size: with_options(f"remount,size={size}")

        yield mount


def is_failing(service: Service) -> bool:
    return service.metric("audit_failing") == 1


def test_the_audit_log_is_full(small_disk: Callable[..., Callable[[str], None]], serve: Callable[..., Service]) -> None:
    resize = small_disk("server/audit")
    service = serve()
    ballast = service.audit_log.with_name("ballast")
    with under_load(service, "audit sink full", {AUDIT_UNAVAILABLE}) as client:
        fill(ballast)
        wait_until("it is full", lambda: is_failing(service))
        refused = client.failed
        wait_until("tokens are refused", lambda: client.look() and client.failed > refused)
        resize("64m")
        wait_until("it is written again", lambda: not is_failing(service))


def test_every_disk_is_full(small_disk: Callable[..., Callable[[str], None]], serve: Callable[..., Service]) -> None:
    """The log of the service itself goes to the same disk: what it cannot say holds nothing up."""
    resize = small_disk("server")
    service = serve()
    with under_load(service, "disk full", {AUDIT_UNAVAILABLE}) as client:
        ballast = service.folder / "ballast"
        fill(ballast)
        wait_until("it is full", lambda: is_failing(service))
        service.signal(signal.SIGHUP)
        refused = client.failed
        wait_until("tokens are refused", lambda: client.look() and client.failed > refused)
        ballast.unlink()
        resize("64m")
        wait_until("it is written again", lambda: not is_failing(service))


def fill(ballast: Path) -> None:
    """The rest of a disk."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(512)):
            pass


def test_the_audit_log_is_deleted(serve: Callable[..., Service]) -> None:
    """Again and again, under load; a second name keeps what was in it for the count."""
    service, times = serve(), 30
    with under_load(service, f"audit sink deleted {times} times") as client:
        for number in range(times):
            os.link(service.audit_log, service.audit_log.with_suffix(f".jsonl.{number:03}"))
            service.audit_log.unlink()
            client.go_on(3)
            wait_until("it is there again", service.audit_log.exists)


@pytest.mark.long
def test_the_audit_log_is_cut(serve: Callable[..., Service]) -> None:
    """By copytruncate: a copy, and then nothing of it."""
    service = serve()
    with honest(service, loops=1) as client:
        client.go_on(50)
        report = client.stop()
    assert_audited(service, report)
    service.audit_log.with_suffix(".jsonl.1").write_bytes(service.audit_log.read_bytes())
    os.truncate(service.audit_log, 0)
    with under_load(service, "audit sink cut") as client:
        client.go_on(20)


class Collector:
    """A datagram socket that can stop to read."""

    def __init__(self, path: Path) -> None:
        self.records: list[dict[str, object]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.bind(str(path))
        self._socket.settimeout(0.1)
        self.reads = threading.Event()
        self.reads.set()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while not self._ends.is_set():
            self.reads.wait()
            try:
                self.records.append(json.loads(self._socket.recv(65536)))
            except TimeoutError:
                continue

    def end(self) -> None:
        self._ends.set()
        self.reads.set()
        self._thread.join()
        self._socket.close()

    def audited(self) -> list[str]:
        return [str(record["fingerprint"]) for record in self.records if record["event"] == "token_issued"]


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    """Outlives the services of a test, which would not end well without it."""
    collector = Collector(tmp_path / "collector.sock")
    yield collector
    collector.end()


def test_the_audit_log_is_slow(collector: Collector, serve: Callable[..., Service], tmp_path: Path) -> None:
    """A collector that stops to read: each token waits a second and is refused; once it reads, all go on."""
    audit = f'[audit]\nsink = {{{{ unix_datagram = "{tmp_path / "collector.sock"}" }}}}\nsubject = "plain"\n'
    service = serve(audit=audit)
    with honest(service) as client:
        client.go_on(20)
        collector.reads.clear()
        wait_until("it is noticed", lambda: is_failing(service))
        collector.reads.set()
        wait_until("it is written again", lambda: not is_failing(service))
        client.go_on(20)
        report = client.stop()
    print(f"FAULT audit sink slow: {report}{dict(report.errors)}")
    assert set(report.errors) <= {AUDIT_UNAVAILABLE}
    wait_until("all has been read", lambda: set(report.fingerprints) <= set(collector.audited()))
