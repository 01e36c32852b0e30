"""Medians with their spread."""

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Figure:
    """Of several rounds: the middle one, the least and the most."""

    median: float
    least: float
    most: float
    rounds: int

    @classmethod
    def of(cls, values: Iterable[float]) -> "Figure":
        found = list(values)
        return cls(statistics.median(found), min(found), max(found), len(found))

    def text(self, digits: int = 0) -> str:
        def show(value: float) -> str:
            return f"{value:,.{digits}f}"

        spread = "" if self.rounds == 1 else f" ({show(self.least)}–{show(self.most)})"
        return show(self.median) + spread

    def json(self) -> dict[str, float]:
        return asdict(self)


def ratio(ones: list[float], others: list[float]) -> Figure:
    """Round by round, because what disturbs a machine disturbs neighbours alike."""
    return Figure.of(one / other for one, other in zip(ones, others, strict=True))
