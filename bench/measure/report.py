"""One run as text, JSON and Markdown."""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from . import machine
from .bars import Judgement
from .figures import Figure
from .measured import Measured
from .targets import TOOLS, size

RESULTS = Path(__file__).parents[1] / "results"
HEADINGS = ["target", "requests/s", "per CPU s", "CPU %", "p50/p99/p99.9 ms at 50 %", "at 90 %", "MiB idle", "full", "start ms", "size MB"]


def fail(code: int, text: str) -> int:
    print(f"!! {text}", file=sys.stderr)
    return code


def versions() -> dict[str, str]:
    own = {
        "go": machine.version("go", "version"),
        "node": machine.version("node", "--version"),
        "java": machine.version("java", "-version"),
        "python": machine.version("python3", "--version"),
    }
    module = machine.version("sh", "-c", f"go version -m {TOOLS}/bin/ghz | grep -m1 bojand/ghz.*h1")
    return own | {"ghz": module.split()[2] if "ghz" in module else "unknown"}


@dataclass
class Report:
    mode: str
    all_measured: dict[str, Measured]
    judgements: list[Judgement]

    def __post_init__(self) -> None:
        self.at = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        self.machine = machine.description()
        self.versions = versions()

    @property
    def remarks(self) -> list[str]:
        """What is to be known before a figure is believed."""
        noisy = [name for name, measured in self.all_measured.items() if not measured.is_quiet]
        idle = [name for name, measured in self.all_measured.items() if not measured.is_saturated]
        late = [name for name, measured in self.all_measured.items() if not measured.keeps_its_rate]
        found = []
        if late:
            found.append(f"Not sent at the rate that was asked for, so that their latencies are too small: {', '.join(late)}.")
        if noisy:
            found.append(
                f"NOISY: others took more than {machine.QUIET:.0%} of the server's CPU while these were measured: "
                f"{', '.join(noisy)}. Their figures are no figures of the software."
            )
        if idle:
            found.append(f"Not saturated, the generator or something else was the limit: {', '.join(idle)}.")
        return found

    @property
    def rows(self) -> list[list[str]]:
        def latency(measured: Measured, load: str) -> str:
            return " / ".join(f"{measured.percentile(load, name).median:.2f}" for name in ("p50", "p99", "p99.9"))

        return [
            [
                name,
                _spread(measured.per_second),
                f"{Figure.of(measured.per_cpu_second).median:,.0f}",
                f"{100 * sum(measured.busy) / len(measured.busy):.0f}",
                latency(measured, "50 %"),
                latency(measured, "90 %"),
                f"{measured.idle_kib / 1024:.1f}",
                f"{measured.loaded_kib / 1024:.1f}",
                _spread(measured.start_ms),
                f"{size(measured.target) / 1e6:.1f}" + ("" if measured.target.runtime == "none" else f" + {measured.target.runtime}"),
            ]
            for name, measured in self.all_measured.items()
        ]

    @property
    def bar_rows(self) -> list[list[str]]:
        return [
            [judged.bar.title, judged.asked, judged.value.text(judged.bar.digits), "met" if judged.is_met else "MISSED"]
            for judged in self.judgements
        ]

    def text(self) -> str:
        answered = sum(measured.answered for measured in self.all_measured.values())
        verified = sum(measured.verified for measured in self.all_measured.values())
        parts = [
            _columns([HEADINGS, *self.rows]),
            _columns([["bar", "asked", "measured", ""], *self.bar_rows]),
            f"{answered:,} requests, each answered with gRPC status 0; {verified} tokens verified with PyJWT",
            *self.remarks,
        ]
        return "\n\n".join(parts)

    def markdown(self) -> str:
        marked = [f"**{remark}**" for remark in self.remarks]
        about = (
            f"Measured {self.at}, {self.mode} mode, on {self.machine['cpu']}, one core for the server and one for the load, "
            f"Linux {self.machine['kernel']}. Load: {self.machine['h2load']}, ghz {self.versions['ghz']}. "
            f"{self.machine['rustc']}; {self.versions['go']}; {self.versions['java']}; Node {self.versions['node']}; "
            f"{self.versions['python']}. Medians, with the least and the most of all rounds."
        )
        return "\n\n".join([about, *marked, _table(HEADINGS, self.rows), _table(["bar", "asked", "measured", ""], self.bar_rows)])

    def write(self, path: Path) -> None:
        document = {
            "at": self.at,
            "mode": self.mode,
            "machine": self.machine,
            "versions": self.versions,
            "remarks": self.remarks,
            "targets": {name: measured.json() for name, measured in self.all_measured.items()},
            "bars": [judged.json() for judged in self.judgements],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        print(f"\nwritten to {path}", file=sys.stderr)


def _spread(values: list[float]) -> str:
    return Figure.of(values).text()


def _columns(rows: list[list[str]]) -> str:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _table(headings: list[str], rows: list[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
