"""What goes wrong on demand."""

import threading
from dataclasses import asdict, dataclass
from email.utils import formatdate
from typing import Any

from .http_message import Answer, Request, json_answer, page, stack_trace, text

# Kind: what happens, for those who read `--help`.
KINDS = {
    "initializing": "503 as while Metabase starts; `progress`",
    "no_database": "503 of /api/health without the application database",
    "html": "an HTML page, as of a proxy; `status` (502)",
    "stack_trace": "a JSON stack trace; `status` (500)",
    "garbage_json": "200 that calls itself JSON and is none",
    "redirect": "302; `location`",
    "hang": "`seconds` before the answer, which then is the true one",
    "drip": "the true answer with `seconds` between the bytes of its body",
    "reset": "the connection is reset: before the answer, or after `bytes` of its body",
    "truncated": "the true answer, closed a byte before its declared length",
    "oversized": "the true answer, followed by `bytes` of spaces",
    "endless": "as oversized, with no length declared",
    "date": "the true answer with another `Date`: `value` as it stands, empty for none, or `seconds` off",
}


@dataclass
class Fault:
    """Meets requests of `method` whose path begins with `path`, `times` times; none = until it is taken away."""

    kind: str
    path: str = ""
    method: str | None = None
    times: int | None = None
    after: bool = False
    """Metabase acts on the request first, and the answer is lost."""

    progress: float = 0.3
    status: int | None = None
    location: str = "https://elsewhere.example.com/"
    seconds: float = 0
    bytes: int | None = None
    value: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")

    def meets(self, request: Request) -> bool:
        return request.path.startswith(self.path) and self.method in (None, request.method) and self.times != 0

    def instead(self, request: Request) -> Answer | None:
        """The answer that keeps the request from Metabase; none when it gets there all the same."""
        match self.kind:
            case "initializing":
                return self._initializing(request)
            case "no_database":
                return json_answer(503, {"status": "Unable to get app-db connection"})
            case "html":
                return page(self.status or 502, "Bad Gateway")
            case "stack_trace":
                message = "Something broke"
                return json_answer(self.status or 500, {"message": message} | stack_trace(message))
            case "garbage_json":
                return Answer(200, b'{"id": "\xff\xfe', {"Content-Type": "application/json"})
            case "redirect":
                return Answer(302, headers={"Location": self.location})
            case "reset" if self.bytes is None:
                return Answer(200, cut_after=-1)
        return None

    def alter(self, request: Request, answer: Answer, now: int) -> Answer:
        """What becomes of Metabase's answer."""
        if replaced := self.instead(request):
            return replaced
        match self.kind:
            case "hang":
                answer.wait_seconds = self.seconds
            case "drip":
                answer.seconds_per_byte = self.seconds
            case "reset":
                answer.cut_after = self.bytes
            case "truncated":
                answer.declared_length = len(answer.body) + 1
            case "oversized" | "endless":
                answer.padding = 1 << 30 if self.bytes is None else self.bytes
                answer.declared_length = -1 if self.kind == "endless" else None
            case "date":
                off = formatdate(now + self.seconds, usegmt=True)
                answer.date = off if self.value is None else self.value
        return answer

    def _initializing(self, request: Request) -> Answer:
        if request.path == "/livez":
            return json_answer(200, {"status": "ok"})
        if request.path in ("/api/health", "/readyz"):
            return json_answer(503, {"status": "initializing", "progress": self.progress})
        return text(503, "Metabase is still initializing. Please sit tight...")


class Faults:
    """Of those that meet a request, the one that was asked for first."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, **asked: Any) -> None:
        """`TypeError` or `ValueError` when there is no such fault."""
        fault = Fault(**asked)
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, request: Request) -> Fault | None:
        with self._lock:
            fault = next((fault for fault in self._faults if fault.meets(request)), None)
            if fault and fault.times is not None:
                fault.times -= 1
            return fault

    def shown(self) -> list[dict[str, Any]]:
        with self._lock:
            return [asdict(fault) for fault in self._faults]
