"""Instructions of one issue: callgrind's counts of two runs that differ only in how many tokens they issue. What they have in
common, such as the start, cancels out. No other package than the standard library."""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

VARIANTS = ["application", "dev", "production"]
FEW, MANY = 500, 2500
MOST = 1.05
"""Of the baseline."""


class NotCounted(Exception):
    """Why not."""


def run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotCounted(f"{command[0]} ended with {done.returncode}:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    return done.stdout


def counted(program: Path, variant: str, issues: int, folder: Path) -> Counter[str]:
    """Instructions by function, those of libraries included."""
    out = folder / f"{variant}-{issues}"
    run("valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--quiet", program, variant, issues)
    functions: Counter[str] = Counter()
    jitter = 0
    for line in run("callgrind_annotate", "--auto=no", "--threshold=100", "--show-percs=no", out).splitlines():
        found = re.match(r"^\s*([\d,]+)\s+(\S.*?):(.+?)(?: \[[^\]]*\])?$", line)
        # aws-lc seeds itself with the jitter of the processor's clock, once, for a third of a billion instructions that are never
        # twice the same: all of it is start.
        if found and "jent_" in found[3]:
            jitter += int(found[1].replace(",", ""))
        elif found:
            functions[_name(found[3])] += int(found[1].replace(",", ""))
    total = re.search(r"^(?:totals|summary): (\d+)", out.read_text(), re.MULTILINE)
    if not total or not functions:
        raise NotCounted(f"callgrind says nothing of {variant}")
    functions[TOTAL] = int(total[1]) - jitter
    return functions


TOTAL = "PROGRAM TOTALS"


def _name(function: str) -> str:
    """Without what the compiler adds to tell two copies apart."""
    return re.sub(r"(::h[0-9a-f]{16}|'\d+|\.llvm\.\d+)", "", function)


def per_issue(program: Path, variant: str, folder: Path) -> dict[str, float]:
    few, many = (counted(program, variant, issues, folder) for issues in (FEW, MANY))
    return {name: (count - few[name]) / (MANY - FEW) for name, count in many.items()}


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/instructions", description="Instructions of one issue.")
    parser.add_argument("program", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("baseline", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--repeat", type=int, default=1, help="counts so often, and prints how far the counts differ")
    parser.add_argument("--top", type=int, default=15, help="prints so many functions")
    parser.add_argument("--renew", action="store_true", help="writes the baseline anew")
    options = parser.parse_args()
    baseline = json.loads(options.baseline.read_text())["instructions_per_issue"] if options.baseline.exists() else {}
    now, is_met = {}, True
    for variant in VARIANTS:
        with tempfile.TemporaryDirectory(prefix="instructions-") as name:
            runs = [per_issue(options.program, variant, Path(name)) for _ in range(options.repeat)]
        totals = [one[TOTAL] for one in runs]
        now[variant] = round(sorted(totals)[len(totals) // 2])
        print(f"\n{variant}: {now[variant]:,} instructions per issue", end="")
        if options.repeat > 1:
            spread = (max(totals) - min(totals)) / min(totals)
            print(f"; of {options.repeat} runs {min(totals):,.0f} to {max(totals):,.0f}, {spread:.2%} apart", end="")
        if before := baseline.get(variant):
            ratio = now[variant] / before
            is_met = is_met and ratio <= MOST
            verdict = "as it was" if abs(ratio - 1) < 0.01 else f"{ratio - 1:+.1%}"
            print(f"; baseline {before:,}: {verdict}" + ("" if ratio <= MOST else ": TOO MANY"), end="")
        print()
        functions = sorted(((cost, function) for function, cost in runs[0].items() if function != TOTAL), reverse=True)
        for cost, function in functions[: options.top]:
            print(f"  {cost / runs[0][TOTAL]:6.1%} {cost:9,.0f}  {function[:140]}")
    if options.renew:
        versions = {"valgrind": run("valgrind", "--version").strip(), "rustc": run("rustc", "--version").strip()}
        document = {"instructions_per_issue": now, "counted_with": versions}
        options.baseline.write_text(json.dumps(document, indent=2) + "\n")
        print(f"\nwrote {options.baseline}")
        return 0
    missing = [variant for variant in VARIANTS if variant not in baseline]
    if missing:
        raise NotCounted(f"{options.baseline} has no baseline of {', '.join(missing)}; write it with --renew")
    if not is_met:
        print(f"\nMore than {MOST - 1:.0%} above the baseline: see what is new above, or renew it if it is worth that (--renew).")
    return 0 if is_met else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NotCounted as error:
        print(f"!! not counted: {error}", file=sys.stderr)
        sys.exit(2)
