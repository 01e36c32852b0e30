"""The curves as SVG, the same file for the same figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

from .figures import Figure

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "bench"
matplotlib.rcParams["svg.fonttype"] = "none"

from matplotlib import pyplot  # noqa: E402: after the backend is chosen

if TYPE_CHECKING:
    from .curves import Curve


def draw(found: "Mapping[str, Curve]", folder: Path) -> None:
    """One file for each curve."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, curve in found.items():
        figures = [Figure.of(point.per_second) for point in curve.points]
        labels = [point.label for point in curve.points]
        medians = [figure.median for figure in figures]
        spread = [
            [figure.median - figure.least for figure in figures],
            [figure.most - figure.median for figure in figures],
        ]
        plot, axes = pyplot.subplots(figsize=(7, 3.5), layout="constrained")
        if curve.axis:
            axes.errorbar([int(label) for label in labels], medians, yerr=spread, marker="o", capsize=3)
            axes.set_xscale("log")
            axes.set_xticks([int(label) for label in labels], labels)
            axes.minorticks_off()
            axes.set_xlabel(curve.axis)
        else:
            axes.bar(labels, medians, yerr=spread, capsize=3)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("requests/s on one core")
        axes.set_title(curve.title)
        axes.grid(axis="y", alpha=0.3)
        plot.savefig(folder / f"{name}.svg", metadata={"Date": None})
        pyplot.close(plot)
