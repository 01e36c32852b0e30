"""What the machine does to the process: its clock, its descriptors, its memory, its files, its signals."""

import random
import secrets
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jwt
import pytest
from endurance import honest, released
from service import AUDIT, BINARY, ROGUE, Service, wait_until
from wire import Wire, trust

from aftermath import assert_audited, issue_command, limit, newcomer, under_load

TOOLS = Path(__file__).parent.parent / "hostile" / ".tools"
SEED = 20_211


@pytest.mark.parametrize(
    "seconds", [3600, pytest.param(-3600, marks=pytest.mark.long), pytest.param(200, marks=pytest.mark.long), -200]
)
def test_the_clock_jumps(serve: Callable[..., Service], tmp_path: Path, seconds: int) -> None:
    """Forth and back: tokens say the time of the clock, and nothing else depends on it."""
    # Among the files that the process may still read.
    offset = tmp_path / "server" / "secrets" / "offset"
    offset.parent.mkdir(parents=True)
    offset.write_text("+0")
    faked = {
        "LD_PRELOAD": str((TOOLS / "libfaketime" / "libfaketime.so").resolve()),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    service = serve(environment=faked)
    with under_load(service, f"clock {seconds:+} s") as client:
        for jump in (seconds, 0):
            offset.write_text(f"{jump:+}")
            wait_until("tokens say so", lambda jump=jump: abs(issued_at(service) - time.time() - jump) < 60)
            client.go_on(20)


def issued_at(service: Service) -> int:
    done = subprocess.run(issue_command(service), capture_output=True, text=True, timeout=60, check=True)
    return jwt.decode(done.stdout.strip(), options={"verify_signature": False})["iat"]


def test_descriptors_are_exhausted(serve: Callable[..., Service]) -> None:
    """Connections that are open are served, newcomers wait; once there are descriptors, they get in."""
    service = serve()
    context = trust(service.authority.certificate, service.clients[ROGUE])
    with under_load(service, "descriptors exhausted", loops=1) as client:
        before = service.usage()
        limit(service, nofile=before.descriptors + 10)
        held = [Wire(service.address, None) for _ in range(20)]
        wait_until("it says so", lambda: "A connection was not accepted" in service.log)
        client.go_on(50)
        limit(service, nofile=4096)
        for wire in held:
            wire.socket.close()
        with Wire(service.address, context) as wire:
            wire.begin().wait_for_pong(1)
        assert newcomer(service)
    released(service, before)


@pytest.mark.long
def test_memory_is_exhausted(serve: Callable[..., Service]) -> None:
    """No allocation is granted any more: the process ends at once, by itself, and its successor goes on with a whole
    log."""
    # A stock of addresses of a gibibyte, as the allocator takes it by itself, would outlast the test; this is the least it takes.
    little_at_once = {"MIMALLOC_ARENA_RESERVE": "32MiB"}
    service = serve(expected_exits=(-signal.SIGABRT,), environment=little_at_once)
    with honest(service) as client:
        client.go_on(50)
        held = []
        context = trust(service.authority.certificate, service.clients[ROGUE])
        virtual = int(
            next(
                line.split()[1]
                for line in Path(f"/proc/{service.pid}/status").read_text().splitlines()
                if line.startswith("VmSize")
            )
        )
        limit(service, **{"as": virtual * 1024})
        try:
            # Each takes a little more; bounded, and far more than there is room for.
            for _ in range(3000):
                held.append(Wire(service.address, context).begin())
        except OSError:
            pass
        for wire in held:
            wire.socket.close()
        exit_code = service.wait()
        wait_until("the client notices", lambda: client.look() and client.failed)
        report = client.stop()
    print(f"FAULT memory exhausted: {report}{dict(report.errors)}, {len(held)} connections, exit {exit_code}")
    assert_audited(service, report)
    successor = serve(name="server")
    assert newcomer(successor)
    assert_audited(successor, report)


def test_the_certificate_expires(serve: Callable[..., Service]) -> None:
    """Open connections stay, newcomers do not trust it, the metric told when; a new one is taken without a restart."""
    service = serve(certificate_lifetime=6)
    expires = service.metric('certificate_expiry_timestamp_seconds{file="certificate"}')
    with under_load(service, "certificate expired", loops=1) as client:
        wait_until("it has expired", lambda: time.time() > expires + 1)
        assert not newcomer(service)
        client.go_on(20)
        service.certificate_lifetime = None
        service.issue_server_certificate()
        wait_until("the new one is in force", lambda: newcomer(service))


def test_the_secret_vanishes_in_the_midst_of_a_swap(serve: Callable[..., Service]) -> None:
    """The file is not there for a while, many times: the last good secret signs, and the next is taken."""
    service, times = serve(), 10
    with under_load(service, f"secret vanished {times} times") as client:
        for _ in range(times):
            service.write_secret(service.secret)
            (service.folder / "secrets" / "secret").unlink()
            service.signal(signal.SIGHUP)
            client.go_on(5)
        wait_until("it is noticed", lambda: service.metric('reload_failing{what="configuration"}') == 1)
        service.write_secret(service.secret)
        wait_until("it is there again", lambda: service.metric('reload_failing{what="configuration"}') == 0)
        other = secrets.token_hex(32)
        service.write_secret(other)
        wait_until("the new one signs", lambda: signed_with(service, other))


def signed_with(service: Service, secret: str) -> bool:
    done = subprocess.run(issue_command(service), capture_output=True, text=True, timeout=60, check=True)
    try:
        jwt.decode(done.stdout.strip(), secret, algorithms=["HS256"])
    except jwt.InvalidSignatureError:
        return False
    return True


def test_the_configuration_is_reloaded_without_end(serve: Callable[..., Service]) -> None:
    """A new file and SIGHUP a hundred times a second, good and bad in turn."""
    service, times = serve(), 500
    service.forget_peak()
    with under_load(service, f"{times} reloads, a hundred a second"):
        before, began = service.usage(), time.monotonic()
        for number in range(times):
            service.write_config("" if number % 5 else "this is wrong")
            service.signal(signal.SIGHUP)
            time.sleep(max(0.0, began + (number + 1) / 100 - time.monotonic()))
        service.write_config(f"\n# {times}\n")
        wait_until("the last is in force", lambda: service.metric('reload_failing{what="configuration"}') == 0)
    growth = (service.peak_kib() - before.rss_kib) / 1024
    print(f"FAULT reloads: generation {service.metric('generation'):.0f}, memory +{growth:.1f} MiB at most")
    assert growth < 64
    assert service.metric("generation") > 2
    # The runtime's threads for files come with the first reload, and may stay.
    released(service, replace(before, threads=before.threads + 2))


@pytest.mark.parametrize(
    ("number", "rounds"),
    [
        (signal.SIGTERM, 2),
        (signal.SIGKILL, 2),
        pytest.param(signal.SIGTERM, 10, marks=pytest.mark.long),
        pytest.param(signal.SIGKILL, 10, marks=pytest.mark.long),
    ],
    ids=str,
)
def test_signals_at_random_moments(tmp_path: Path, number: signal.Signals, rounds: int) -> None:
    """Under load, at moments of a seeded generator; the next process goes on with the same log."""
    chance, tokens = random.Random(SEED), []
    for turn in range(rounds):
        exits = (0,) if number == signal.SIGTERM else (-signal.SIGKILL,)
        service = Service(
            BINARY,
            secrets.token_hex(32),
            tmp_path / f"stderr{turn}",
            folder=tmp_path,
            expected_exits=exits,
            audit=AUDIT,
        )
        with service, honest(service) as client:
            client.go_on(10)
            time.sleep(chance.uniform(0, 0.3))
            service.signal(number)
            assert service.wait() in exits
            wait_until("the client notices", lambda client=client: client.look() and client.failed)
            report = client.stop()
        assert_audited(service, report)
        tokens += report.fingerprints
    known = set(service.audited())
    assert set(tokens) <= known
    print(f"FAULT {number.name} at {rounds} random moments: {len(tokens)} tokens received, all audited; seed {SEED}")
