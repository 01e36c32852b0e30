"""How the service scales: `bench/curves`. One configuration at a time, each point in rounds that take turns."""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import contract, documents, load, machine, report, targets
from .certificates import Certificates
from .configuration import ANY_ATTRIBUTES, Shape
from .figures import Figure, ratio
from .machine import CannotMeasure, Void
from .plots import draw
from .servers import Running, Target
from .side_by_side import token_chars

IN_FLIGHT = 256
SAMPLE_OF_CALLERS = 100


@dataclass
class Point:
    """One configuration under one load."""

    label: str
    target: Target
    connections: int = 16
    callers: range = range(1)
    """Those that ask, each on a connection of its own."""
    attributes: dict[str, str] | None = None
    per_second: list[float] = field(default_factory=list)
    per_cpu_second: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)

    @property
    def streams(self) -> int:
        return max(1, IN_FLIGHT // self.connections)


@dataclass
class Curve:
    name: str
    title: str
    axis: str
    """Empty: no scale but a comparison, drawn as bars."""
    points: list[Point]


def curves(echo: Target) -> list[Curve]:
    wide = Shape(wide=True)
    plain = replace(wide, tls=False, audit="off")

    def service(shape: Shape) -> Target:
        return targets.service("service", "the service", shape)

    def callers(count: int) -> Point:
        step = max(1, count // SAMPLE_OF_CALLERS)
        return Point(f"{count}", service(replace(wide, callers=count)), 100, range(0, count, step)[:SAMPLE_OF_CALLERS])

    def claims(count: int) -> Point:
        attributes = {f"a{index}": f"value-{index:04}" for index in range(count - 6)}  # Beside the six of every token.
        return Point(f"{count}", service(replace(plain, attributes=ANY_ATTRIBUTES)), attributes=attributes)

    switches = {
        "all off": plain,
        "TLS": replace(plain, tls=True),
        "audit written": replace(plain, audit="written"),
        "TLS, audit written": wide,
        "TLS, audit synced": replace(wide, audit="synced"),
    }
    connections = [1, 4, 16, 100, 1000, 10_000]
    return [
        Curve(
            "connections",
            "Connections, 256 requests in flight or one each",
            "connections",
            [Point(f"{count}", service(plain), count) for count in connections],
        ),
        Curve(
            "echo-connections",
            "The same for bare tonic, which answers with a fixed message",
            "connections",
            [Point(f"{count}", echo, count) for count in connections],
        ),
        Curve("callers", "Callers, mTLS with audit log", "configured callers", [callers(count) for count in (1, 10, 100, 1000, 10_000)]),
        Curve(
            "policy",
            "Size of the policy: 100 callers, with a grant on each instance",
            "instances",
            [Point(f"{count}", service(replace(wide, callers=100, instances=count))) for count in (1, 10, 100)],
        ),
        Curve("claims", "Claims in the token", "claims", [claims(count) for count in (6, 10, 25, 50, 100)]),
        Curve("switches", "What is switched on", "", [Point(label, service(shape)) for label, shape in switches.items()]),
    ]


BARS = [("connections", "16", "1000", 0.9), ("callers", "1", "10000", 0.9)]
"""Curve, point to compare with, point, and the least ratio of their throughputs."""


def measure(curve: Curve, folder: Path, rounds: int, seconds: float) -> None:
    with contextlib.ExitStack() as stack:
        pairs = []
        for index, point in enumerate(curve.points):
            own = folder / curve.name / str(index)
            server = stack.enter_context(Running(point.target, own, Certificates(own / "certificates", point.callers)))
            if point.attributes is not None:
                server.message = contract.request(point.attributes)
            server.sample()
            load.warm_up(server, seconds / 2)
            pairs.append((server, point))
        for round_ in range(rounds):
            print(f"== {curve.name}, round {round_ + 1} of {rounds}", file=sys.stderr, flush=True)
            for server, point in pairs:
                # Connections are made before the time that counts.
                done = load.timed(server, seconds, 1 + point.connections / 1000, point.connections, point.streams)
                point.per_second.append(done.per_second)
                point.per_cpu_second.append(done.per_cpu_second)
                point.others.append(done.others)
        for server, _ in pairs:
            server.sample()


def judge(found: dict[str, Curve]) -> list[tuple[str, float, Figure]]:
    judged = []
    for name, base, other, least in BARS:
        if name in found:
            by_label = {point.label: point.per_second for point in found[name].points}
            title = f"throughput with {int(other):,} {name} : with {base}"
            judged.append((title, least, ratio(by_label[other], by_label[base])))
    return judged


def markdown(found: dict[str, Curve], judged: list[tuple[str, float, Figure]], at: str) -> str:
    about = machine.description()
    lines = [f"Measured {at} on {about['cpu']}, Linux {about['kernel']}, with {about['h2load']}.", ""]
    if remark := noise(found):
        lines += [f"**{remark}**", ""]
    lines += ["| bar | asked | measured | |", "| --- | --- | --- | --- |"]
    for title, least, value in judged:
        lines.append(f"| {title} | ≥ {least} | {value.text(2)} | {'met' if value.median >= least else 'MISSED'} |")
    for curve in found.values():
        lines += ["", f"![{curve.title}](performance/{curve.name}.svg)", ""]
        lines += [f"| {curve.axis or 'on'} | requests/s | share of the first |", "| --- | --- | --- |"]
        first = curve.points[0].per_second
        for point in curve.points:
            lines.append(f"| {point.label} | {Figure.of(point.per_second).text()} | {ratio(point.per_second, first).text(2)} |")
    return "\n".join(lines)


def noise(found: dict[str, Curve]) -> str:
    points = [(curve.name, point) for curve in found.values() for point in curve.points]
    noisy = {name for name, point in points if Figure.of(point.others).median > machine.QUIET}
    return f"NOISY: others used the server's CPU too while these were measured: {', '.join(sorted(noisy))}." if noisy else ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/curves", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of each point, to see that it works")
    parser.add_argument("--only", nargs="+", metavar="CURVE", help="these curves alone")
    parser.add_argument("--output", type=Path, default=report.RESULTS / "curves.json")
    parser.add_argument("--write-docs", action="store_true", help="puts figures and plots into docs/performance.md")
    options = parser.parse_args()
    machine.prepare()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        echo = targets.echo("echo", "bare tonic", token_chars(Path(name)))
    known = {curve.name: curve for curve in curves(echo)}
    if unknown := set(options.only or []) - set(known):
        raise CannotMeasure(f"--only: {', '.join(sorted(unknown))} not among {', '.join(known)}")
    found = {name: curve for name, curve in known.items() if not options.only or name in options.only}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        for curve in found.values():
            measure(curve, Path(name), *((1, 1.0) if options.quick else (5, 5.0)))
    at = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    if options.quick:
        at += ", in quick mode (one round of a second for each point),"
    judged = judge(found)
    text = markdown(found, judged, at)
    print(text)
    write(options.output, found, judged, at)
    draw(found, documents.ROOT / "docs/performance" if options.write_docs else options.output.parent)
    if options.write_docs:
        documents.replace("curves", text)
    return 0 if all(value.median >= least for _, least, value in judged) else 1


def write(path: Path, found: dict[str, Curve], judged: list[tuple[str, float, Figure]], at: str) -> None:
    def figures(point: Point) -> dict[str, object]:
        return {
            "requests_per_second": Figure.of(point.per_second).json(),
            "requests_per_cpu_second": Figure.of(point.per_cpu_second).json(),
            "cpu_share_of_others": Figure.of(point.others).json(),
        }

    document = {
        "at": at,
        "machine": machine.description(),
        "remark": noise(found),
        "curves": {name: {point.label: figures(point) for point in curve.points} for name, curve in found.items()},
        "bars": [
            {"bar": title, "asked": least, "value": value.json(), "met": value.median >= least}
            for title, least, value in judged
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CannotMeasure as error:
        sys.exit(report.fail(2, f"not measured: {error}"))
    except Void as error:
        sys.exit(report.fail(3, f"void, no figure of this run counts: {error}"))
