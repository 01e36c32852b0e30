"""The machine: which CPU does what, how busy it was and with whom, and what everything is called."""

import os
import platform
import resource
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

SERVER_CPU, LOAD_CPU = 0, 1
QUIET = 0.03
"""Share of a CPU that may go to others in a figure that counts."""


class CannotMeasure(Exception):
    """What is missing, and the way out."""


class Void(Exception):
    """An answer was wrong, so that no figure of the run counts."""


def prepare() -> None:
    """Two CPUs, and as many open files as the system allows."""
    # As on an interrupt, whatever was started is stopped: a server that stays would disturb the next run.
    signal.signal(signal.SIGTERM, _ended)
    allowed = os.sched_getaffinity(0)
    if not {SERVER_CPU, LOAD_CPU} <= allowed:
        raise CannotMeasure(f"CPUs {SERVER_CPU} and {LOAD_CPU} are needed, and there are {sorted(allowed)}")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.sched_setaffinity(0, {LOAD_CPU})


def _ended(*_: object) -> None:
    raise CannotMeasure("ended from outside")


def pinned(cpu: int, command: list[str]) -> list[str]:
    return ["taskset", "-c", str(cpu), *command]


def _busy(cpu: int) -> float:
    """Seconds that a CPU was busy or taken away (steal), since the start of the system."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{cpu}":
            user, nice, system, _idle, _wait, irq, softirq, steal = map(int, ticks[:8])
            return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    raise CannotMeasure(f"/proc/stat knows no CPU {cpu}")


def cpu_seconds(pid: int) -> float:
    """Seconds of processor time of a process and all its threads so far, exact to the scheduler's clock."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue  # The thread has ended.
    return total / 1e9


def resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise CannotMeasure(f"process {pid} has ended")


@dataclass
class Watch:
    """What happens on the server's CPU while something runs, and how much of that was others."""

    pid: int

    def __post_init__(self) -> None:
        self._before = _busy(SERVER_CPU), cpu_seconds(self.pid)

    def stop(self, seconds: float) -> tuple[float, float]:
        """Seconds of processor time of the server, and the share of its CPU that others took."""
        busy, own = _busy(SERVER_CPU) - self._before[0], cpu_seconds(self.pid) - self._before[1]
        # Interrupts of the network that the server caused are counted as others'; they are far below what spoils a figure.
        return own, max(0.0, busy - own) / seconds


def version(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip().splitlines()[0]


def debian(package: str) -> str:
    done = subprocess.run(["dpkg-query", "-W", package], capture_output=True, text=True, check=False)
    return done.stdout.strip().replace("\t", " ") or f"{package}: not from Debian"


def description() -> dict[str, str]:
    fields = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    names = {key.strip(): value.strip() for key, value in fields.items()}
    memory = Path("/proc/meminfo").read_text().split()[1]
    return {
        "cpu": names.get("model name", platform.machine()),
        "cpus": str(os.cpu_count()),
        "kernel": platform.release().split("-")[0],
        "memory_kib": memory,
        "h2load": f"{version('h2load', '--version')} ({debian('nghttp2-client')})",
        "rustc": version("rustc", "--version"),
    }
