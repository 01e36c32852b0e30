"""What is known of one target after a run."""

from dataclasses import dataclass, field

from .figures import Figure
from .machine import QUIET
from .servers import Target
from .targets import size


@dataclass
class Measured:
    target: Target
    idle_kib: int = 0
    loaded_kib: int = 0
    answer_bytes: int = 0
    verified: int = 0
    """Tokens that were looked into."""
    answered: int = 0
    """Requests in all, each answered with gRPC status 0."""
    per_second: list[float] = field(default_factory=list)
    per_cpu_second: list[float] = field(default_factory=list)
    """Of the server's processor time: the same where it has its CPU to itself and the generator keeps up."""
    busy: list[float] = field(default_factory=list)
    """Share of its CPU that the server used at its capacity: below 0.95, the generator was the limit."""
    others: list[float] = field(default_factory=list)
    """Share of the server's CPU that others took, round by round."""
    latencies: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    """By share of the capacity."""
    ghz: dict[str, float] = field(default_factory=dict)
    start_ms: list[float] = field(default_factory=list)

    @property
    def capacity(self) -> float:
        return Figure.of(self.per_second).median

    @property
    def is_quiet(self) -> bool:
        return Figure.of(self.others).median <= QUIET

    @property
    def is_saturated(self) -> bool:
        return Figure.of(self.busy).median >= 0.95

    @property
    def keeps_its_rate(self) -> bool:
        """Whether requests were sent as fast as asked for: otherwise they waited where no percentile shows it."""
        return all(one["sent"] >= 0.97 * one["asked"] for rounds in self.latencies.values() for one in rounds)

    def percentile(self, load: str, name: str) -> Figure:
        return Figure.of(round_[name] for round_ in self.latencies[load])

    def json(self) -> dict[str, object]:
        return {
            "title": self.target.title,
            "requests_per_second": Figure.of(self.per_second).json() | {"each": self.per_second},
            "requests_per_cpu_second": Figure.of(self.per_cpu_second).json(),
            "server_cpu_share": Figure.of(self.busy).json(),
            "cpu_share_of_others": Figure.of(self.others).json(),
            "milliseconds": self.latencies,
            "ghz": self.ghz,
            "start_to_serving_ms": Figure.of(self.start_ms).json(),
            "resident_kib": {"idle": self.idle_kib, "full_load": self.loaded_kib},
            "deployed_bytes": size(self.target),
            "runtime": self.target.runtime,
            "answer_bytes": self.answer_bytes,
            "answered_with_status_0": self.answered,
            "tokens_verified": self.verified,
        }
