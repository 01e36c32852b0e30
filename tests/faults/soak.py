"""Load and mixed faults for some minutes: prints figures, draws them, and fails when anything grows or goes wrong
unexplained."""

import argparse
import random
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pygal
from endurance import honest
from honest import REQUEST
from hyperframe.frame import RstStreamFrame
from pygal.style import CleanStyle
from service import BINARY, ROGUE, Service, wait_until
from standin_metabase import StandIn
from wire import PREFACE, Wire, block, head, headers_frame, request, trust

from aftermath import AUDIT_UNAVAILABLE

SEED = 20_212
LIMITS = """
deadline = "5s"
body_timeout = "1s"
keepalive_interval = "2s"
keepalive_timeout = "2s"
idle_timeout = "10s"
max_connection_age = "60s"
max_connection_age_grace = "2s"
"""
# Of honest RPCs: what may fail, because a fault says so.
EXPLAINED = {AUDIT_UNAVAILABLE}
# The last quarter may have so much more than the first: memory of allocators is not given back at once.
MOST_GROWTH_MIB, MOST_DESCRIPTORS = 16, 3
HEADERS = block(head())
# Longer than any fault takes to be noticed.
PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Sample:
    seconds: float
    rss_mib: float
    descriptors: int
    threads: int


class Faults:
    """What is done to the service, one after the other."""

    def __init__(self, service: Service, metabase: StandIn, resize: Callable[[str], None]) -> None:
        self._service, self._metabase, self._resize = service, metabase, resize
        self._rogue = trust(service.authority.certificate, service.clients[ROGUE])
        self._files = 0

    def rapid_reset(self) -> None:
        for _ in range(4):
            with suppress(OSError), Wire(self._service.address, self._rogue) as wire:
                pairs = (headers_frame(at, HEADERS) + RstStreamFrame(at, 8).serialize() for at in range(1, 2000, 2))
                wire.begin().send(b"".join(pairs))
                wire.ending()

    def unread_answers(self) -> None:
        payload = REQUEST.SerializeToString()
        with ExitStack() as held:
            for _ in range(4):
                wire = held.enter_context(Wire(self._service.address, self._rogue)).begin(INITIAL_WINDOW_SIZE=0)
                wire.send(b"".join(request(at, payload, HEADERS) for at in range(1, 400, 2)))
            wait_until("they are cut off", lambda: self._service.connections() <= 2)

    def half_open_handshakes(self) -> None:
        with ExitStack() as held:
            for _ in range(300):
                held.enter_context(Wire(self._service.address, None))
            wait_until("they are given up", lambda: self._service.connections() <= 2)

    def requests_without_a_message(self) -> None:
        with ExitStack() as held, suppress(OSError):
            for _ in range(10):
                wire = held.enter_context(Wire(self._service.address, self._rogue)).begin()
                wire.send(b"".join(headers_frame(at, HEADERS) for at in range(1, 100, 2)))
                wire.answers(set(range(1, 100, 2)))

    def garbage(self) -> None:
        for _ in range(50):
            with suppress(OSError), Wire(self._service.address, self._rogue) as wire:
                wire.send(PREFACE + random.Random(SEED).randbytes(1000))
                wire.ending()

    def reloads(self) -> None:
        for number in range(50):
            self._service.write_config("" if number % 5 else "this is wrong")
            time.sleep(0.01)
        self._service.write_config()

    def secret_vanishes(self) -> None:
        (self._service.folder / "secrets" / "secret").unlink()
        wait_until("it is missed", lambda: self._service.metric('reload_failing{what="configuration"}') == 1)
        self._service.write_secret(self._service.secret)

    def certificate_changes(self) -> None:
        self._service.issue_server_certificate()

    def metabase_breaks(self) -> None:
        self._metabase.fault("reset")
        wait_until(
            "it is seen", lambda: self._service.metric('metabase_agreement{metabase="main",state="unknown"}') == 1
        )
        self._metabase.end_faults()

    def log_rotates(self) -> None:
        self._files += 1
        self._service.audit_log.rename(self._service.audit_log.with_suffix(f".jsonl.{self._files:04}"))

    def disk_fills_up(self) -> None:
        used = sum(file.stat().st_blocks * 512 for file in self._service.audit_log.parent.iterdir())
        ballast = self._service.audit_log.with_name("ballast")
        self._resize(str(used + (1 << 20)))
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(512)):
                pass
        wait_until("it is full", lambda: self._service.metric("audit_failing") == 1)
        ballast.unlink()
        self._resize("4g")
        wait_until("it is written again", lambda: self._service.metric("audit_failing") == 0)

    def all(self) -> list[Callable[[], None]]:
        return [
            value
            for name in sorted(vars(Faults))
            if name[0] != "_" and name != "all" and callable(value := getattr(self, name))
        ]


@contextmanager
def disk(folder: Path):
    """In memory; yields what changes its size."""

    def mount(options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "mts-test", folder], check=True, timeout=60)

    mount("size=4g")
    try:
        yield lambda size: mount(f"remount,size={size}")
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True, timeout=60)


def soak(minutes: float, plot: Path | None) -> list[str]:
    """What is wrong."""
    samples: list[Sample] = []
    done: Counter[str] = Counter()
    secret = secrets.token_hex(32)
    ended = threading.Event()
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        (folder / "audit").mkdir()
        resize = running.enter_context(disk(folder / "audit"))
        metabase = running.enter_context(StandIn(secret))
        service = Service(
            BINARY,
            secret,
            folder / "stderr",
            folder=folder,
            limits=LIMITS,
            instance=f'url = "{metabase.url}"\nprobe_interval = "1s"',
        )
        running.enter_context(service)
        client = running.enter_context(honest(service))
        client.go_on(200)
        began = time.monotonic()

        def sample() -> None:
            while not ended.wait(1):
                usage = service.usage()
                samples.append(Sample(time.monotonic() - began, usage.rss_kib / 1024, usage.descriptors, usage.threads))

        sampler = threading.Thread(target=sample)
        sampler.start()
        running.callback(sampler.join)
        running.callback(ended.set)
        faults, chance = Faults(service, metabase, resize), random.Random(SEED)
        while time.monotonic() - began < minutes * 60:
            fault = chance.choice(faults.all())
            fault()
            done[fault.__name__] += 1
            client.go_on(20, PAUSE_SECONDS)
        ended.set()
        report = client.stop()
        metrics = service.metrics()
        audited = set(service.audited())
        service.verify_audit()
    unaudited = [mark for mark in report.fingerprints if mark not in audited]
    return judge(samples, done, report, metrics, len(unaudited), plot)


def judge(samples, done, report, metrics, unaudited, plot) -> list[str]:
    quarter = len(samples) // 4
    first, last = samples[:quarter], samples[-quarter:]
    rss = [median(sample.rss_mib for sample in part) for part in (first, last)]
    calm = [min(sample.descriptors for sample in part) for part in (first, last)]
    threads = [max(sample.threads for sample in part) for part in (first, last)]
    unexplained = {what: count for what, count in report.errors.items() if what not in EXPLAINED}
    rpcs = sum(value for name, value in metrics.items() if name.startswith("rpcs_total"))
    print(f"SOAK {samples[-1].seconds / 60:.1f} min, seed {SEED}, {done.total()} faults: {dict(sorted(done.items()))}")
    print(f"SOAK honest client: {report}; explained {dict(report.errors)}; RPCs answered in all: {rpcs:.0f}")
    most = max(sample.rss_mib for sample in samples)
    print(f"SOAK memory, median of the first and last quarter: {rss[0]:.1f}, {rss[1]:.1f} MiB; most {most:.1f} MiB")
    print(f"SOAK descriptors when calm: {calm[0]}, {calm[1]}; most {max(s.descriptors for s in samples)}")
    print(f"SOAK threads at most: {threads[0]}, {threads[1]}; tokens not in the audit log: {unaudited}")
    if plot:
        draw(samples, plot)
    wrong = []
    if unexplained:
        wrong.append(f"unexplained errors: {unexplained}")
    if unaudited:
        wrong.append(f"{unaudited} tokens are not in the audit log")
    if rss[1] > rss[0] + MOST_GROWTH_MIB:
        wrong.append("memory grows")
    if calm[1] > calm[0] + MOST_DESCRIPTORS:
        wrong.append("descriptors grow")
    return wrong


def draw(samples: list[Sample], plot: Path) -> None:
    """Memory in MiB on the left, descriptors on the right."""
    step = max(1, len(samples) // 300)
    chart = pygal.XY(
        style=CleanStyle,
        js=[],
        show_dots=False,
        width=900,
        height=420,
        legend_at_bottom=True,
        title="Soak with mixed faults",
        x_title="minutes",
        range=(0, max(sample.rss_mib for sample in samples) * 1.2),
    )
    chart.add("resident memory (MiB)", [(sample.seconds / 60, sample.rss_mib) for sample in samples[::step]])
    chart.add("descriptors", [(sample.seconds / 60, sample.descriptors) for sample in samples[::step]], secondary=True)
    chart.render_to_file(str(plot))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--plot", type=Path)
    asked = parser.parse_args()
    if failures := soak(asked.minutes, asked.plot):
        sys.exit("\n".join(failures))
