"""All targets side by side, in rounds that take turns: `bench/run`."""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import documents, load, machine, report, targets
from .bars import BARS
from .certificates import Certificates
from .machine import SERVER_CPU, CannotMeasure, Void
from .measured import Measured
from .servers import Running, Target
from .targets import UNTIL_SERVING

LOADS = {"50 %": 0.5, "90 %": 0.9}
GHZ_MOST_PER_SECOND = 2000
"""More than this, and ghz itself is what is measured on one CPU."""


@dataclass(frozen=True)
class Plan:
    """How long it takes."""

    warm_up_seconds: float
    rounds: int
    round_seconds: float
    latency_rounds: int
    latency_seconds: float
    memory_seconds: float
    starts: int
    ghz_requests: int

    @classmethod
    def quick(cls) -> "Plan":
        return cls(1.5, 3, 2, 2, 2, 2, 3, 2000)

    @classmethod
    def full(cls) -> "Plan":
        return cls(5, 11, 5, 7, 8, 8, 11, 20_000)


class Run:
    """Every target, running at once; one is asked at a time."""

    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], None]) -> None:
        self.plan, self.folder, self.say = plan, folder, say
        self.certificates = Certificates(folder / "certificates")
        self._expected: dict[str, float] = {}

    def measure(self, chosen: list[Target]) -> dict[str, Measured]:
        all_measured = {target.name: Measured(target) for target in chosen}
        for measured in all_measured.values():
            self.say(f"{measured.target.name}: {self.plan.starts} starts")
            measured.start_ms = [self._start(measured.target, index) for index in range(self.plan.starts)]
        with contextlib.ExitStack() as stack:
            running = {
                target.name: stack.enter_context(Running(target, self.folder / target.name, self.certificates))
                for target in chosen
            }
            pairs = [(running[name], measured) for name, measured in all_measured.items()]
            time.sleep(1)
            for server, measured in pairs:
                measured.idle_kib = machine.resident_kib(server.pid)
            for server, measured in pairs:
                self.say(f"{measured.target.name}: warming up, and a sample of its tokens")
                self._warm_up(server, measured)
            _same_size([measured for _, measured in pairs])
            for round_ in range(self.plan.rounds):
                self.say(f"throughput, round {round_ + 1} of {self.plan.rounds}")
                for server, measured in _turn(pairs, round_):
                    self._throughput(server, measured)
            for round_ in range(self.plan.latency_rounds):
                for name, share in LOADS.items():
                    self.say(f"latency at {name} of the capacity, round {round_ + 1} of {self.plan.latency_rounds}")
                    for server, measured in _turn(pairs, round_):
                        self._latency(server, measured, name, share)
            for server, measured in pairs:
                self.say(f"{measured.target.name}: memory at full load, ghz, and another sample of its tokens")
                self._full_load(server, measured)
        return all_measured

    def _start(self, target: Target, index: int) -> float:
        folder = self.folder / f"{target.name}-start-{index}"
        server = Running(target, folder, self.certificates)
        command = [str(UNTIL_SERVING), server.place.address, str(SERVER_CPU)]
        if target.tls:
            command += ["--tls", *map(str, self.certificates.of_client)]
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", **target.environment}
        command += ["--", *target.command(server.place)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CannotMeasure(f"{target.name}: {done.stderr}")
        return float(done.stdout)

    def _warm_up(self, server: Running, measured: Measured) -> None:
        self._sample(server, measured)
        measured.answer_bytes = server.answer_bytes
        self._expected[measured.target.name] = load.warm_up(server, self.plan.warm_up_seconds * measured.target.warm_up)

    def _throughput(self, server: Running, measured: Measured) -> None:
        requests = int(self._expected[measured.target.name] * self.plan.round_seconds)
        done = load.closed(server, requests)
        self._expected[measured.target.name] = done.per_second
        measured.per_second.append(done.per_second)
        measured.per_cpu_second.append(done.per_cpu_second)
        measured.busy.append(done.busy)
        self._keep(measured, done)

    def _latency(self, server: Running, measured: Measured, name: str, share: float) -> None:
        done, latency = load.at_rate(server, measured.capacity * share, self.plan.latency_seconds)
        measured.latencies.setdefault(name, []).append(latency)
        self._keep(measured, done)

    def _full_load(self, server: Running, measured: Measured) -> None:
        most, over = [0], threading.Event()

        def look() -> None:
            while not over.wait(0.05):
                most[0] = max(most[0], machine.resident_kib(server.pid))

        looking = threading.Thread(target=look)
        looking.start()
        try:
            done = load.closed(server, int(measured.capacity * self.plan.memory_seconds), 100, 8)
        finally:
            over.set()
            looking.join()
        measured.loaded_kib = most[0]
        measured.answered += done.requests
        per_second = min(GHZ_MOST_PER_SECOND, measured.capacity / 2)
        requests = min(self.plan.ghz_requests, int(per_second * 10))
        measured.ghz = load.ghz(server, requests, per_second)
        measured.answered += requests
        self._sample(server, measured)

    def _sample(self, server: Running, measured: Measured) -> None:
        before = server.answers() if measured.target.has_metrics else {}
        if any(code not in ("OK", "CANCELLED") for code in before):
            raise Void(f"{measured.target.name} has counted {before}")
        verified = server.sample()
        measured.answered += verified
        measured.verified += verified if measured.target.signs else 0

    def _keep(self, measured: Measured, done: load.Round) -> None:
        measured.others.append(done.others)
        measured.answered += done.requests


def _turn(pairs: list[tuple[Running, Measured]], round_: int) -> list[tuple[Running, Measured]]:
    """Another one begins each round, so that none is always after the same other."""
    first = round_ % len(pairs)
    return pairs[first:] + pairs[:first]


def _same_size(all_measured: list[Measured]) -> None:
    sizes = {measured.target.name: measured.answer_bytes for measured in all_measured}
    if len(set(sizes.values())) > 1:
        raise Void(f"the answers are not of one size: {sizes}")


def token_chars(folder: Path) -> int:
    """Of the token that `serve --dev` makes for the request."""
    with Running(targets.dev(), folder / "look", Certificates(folder / "look-certificates")) as server:
        server.sample()
        return server.token_chars


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 to 4 minutes, for a first look")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these targets alone")
    parser.add_argument("--output", type=Path, help="JSON; default: bench/results/side-by-side.json")
    parser.add_argument("--write-docs", action="store_true", help="puts the figures into docs/performance.md")
    options = parser.parse_args()
    machine.prepare()
    plan = Plan.quick() if options.quick else Plan.full()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        known = targets.side_by_side(token_chars(folder))
        names = {target.name for target in known}
        if unknown := set(options.only or []) - names:
            raise CannotMeasure(f"--only: {', '.join(sorted(unknown))} not among {', '.join(sorted(names))}")
        chosen = [target for target in known if not options.only or target.name in options.only]
        run = Run(plan, folder, lambda text: print(f"== {text}", file=sys.stderr, flush=True))
        all_measured = run.measure(chosen)
    judgements = [judged for bar in BARS if (judged := bar.judge(all_measured))]
    found = report.Report("quick" if options.quick else "full", all_measured, judgements)
    print(found.text())
    found.write(options.output or report.RESULTS / "side-by-side.json")
    if options.write_docs:
        documents.replace("side by side", found.markdown())
    return 0 if all(judged.is_met for judged in judgements) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CannotMeasure as error:
        sys.exit(report.fail(2, f"not measured: {error}"))
    except Void as error:
        sys.exit(report.fail(3, f"void, no figure of this run counts: {error}"))
