"""The bars, as ratios and sizes of one run."""

from collections.abc import Callable
from dataclasses import dataclass

from .figures import Figure, ratio
from .measured import Measured


@dataclass(frozen=True)
class Bar:
    """What is asked for."""

    title: str
    needs: tuple[str, ...]
    """Names of the targets it compares."""
    value: Callable[..., Figure]
    least: float | None = None
    most: float | None = None
    digits: int = 2

    def judge(self, all_measured: dict[str, Measured]) -> "Judgement | None":
        """None: not all that it compares was measured."""
        if not all(name in all_measured for name in self.needs):
            return None
        return Judgement(self, self.value(*(all_measured[name] for name in self.needs)))


@dataclass(frozen=True)
class Judgement:
    bar: Bar
    value: Figure

    @property
    def is_met(self) -> bool:
        median = self.value.median
        return median >= (self.bar.least or 0) and (self.bar.most is None or median <= self.bar.most)

    @property
    def asked(self) -> str:
        return f"≥ {self.bar.least:g}" if self.bar.most is None else f"≤ {self.bar.most:g}"

    def json(self) -> dict[str, object]:
        return {"bar": self.bar.title, "asked": self.asked, "value": self.value.json(), "met": self.is_met}


def throughput(one: Measured, other: Measured) -> Figure:
    return ratio(one.per_second, other.per_second)


def p99_at_half(one: Measured, other: Measured) -> Figure:
    def of(measured: Measured) -> list[float]:
        return [latency["p99"] for latency in measured.latencies["50 %"]]

    return ratio(of(one), of(other))


def start(one: Measured) -> Figure:
    return Figure.of(one.start_ms)


def idle(one: Measured) -> Figure:
    return Figure.of([one.idle_kib / 1024])


def loaded(one: Measured) -> Figure:
    return Figure.of([one.loaded_kib / 1024])


BARS = [
    Bar("throughput, --dev : echo", ("dev", "echo"), throughput, least=0.85),
    Bar("throughput, production : echo behind mTLS", ("production", "echo-mtls"), throughput, least=0.75),
    Bar("throughput, production : --dev", ("production", "dev"), throughput, least=0.75),
    Bar("throughput, --dev : Go", ("dev", "go"), throughput, least=2, digits=1),
    Bar("throughput, --dev : Java", ("dev", "java"), throughput, least=3, digits=1),
    Bar("throughput, --dev : Python", ("dev", "python"), throughput, least=10, digits=1),
    Bar("throughput, --dev : Node", ("dev", "node"), throughput, least=25, digits=1),
    Bar("p99 at 50 % load, --dev : echo", ("dev", "echo"), p99_at_half, most=1.5),
    Bar("p99 at 50 % load, production : echo behind mTLS", ("production", "echo-mtls"), p99_at_half, most=1.5),
    Bar("milliseconds from start to SERVING, --dev", ("dev",), start, most=50, digits=0),
    Bar("milliseconds from start to SERVING, production", ("production",), start, most=50, digits=0),
    Bar("MiB resident, idle, --dev", ("dev",), idle, most=20, digits=1),
    Bar("MiB resident, idle, production", ("production",), idle, most=20, digits=1),
    Bar("MiB resident, full load on 100 connections, --dev", ("dev",), loaded, most=64, digits=1),
    Bar("MiB resident, full load on 100 connections, production", ("production",), loaded, most=64, digits=1),
]
"""That of connections and callers is judged by curves.py."""
