"""A backend that does what backends do, in a process of its own: tokens over a connection that stays, and over new
ones."""

import hashlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from metabase.token.v1 import token_service_pb2 as pb
from metabase.token.v1 import token_service_pb2_grpc as stubs

DEADLINE_SECONDS = 60
# So that the client is one of many and not itself the load.
PAUSE_SECONDS = 0.005
REQUEST = pb.IssueMetabaseTokenRequest(
    user=pb.User(id="1815", email="ada@example.com", first_name="Ada", last_name="Lovelace")
)


@dataclass(frozen=True)
class Report:
    """What became of the RPCs."""

    fingerprints: list[str]
    """Of the tokens received, computed from the tokens."""

    errors: Counter[str]
    milliseconds: list[float]
    """Of every RPC that was answered with a token, ascending."""

    def __str__(self) -> str:
        p50, p99 = (self.milliseconds[int(len(self.milliseconds) * share)] for share in (0.5, 0.99))
        return f"{len(self.fingerprints)} tokens, {self.errors.total()} errors, p50 {p50:.1f} ms, p99 {p99:.1f} ms"


class Honest:
    """Context manager; inside it the client calls without end."""

    def __init__(
        self, address: str, ca: Path, certificate: tuple[Path, Path], *, loops: int = 2, pause: float = PAUSE_SECONDS
    ) -> None:
        """Every other loop connects anew for every RPC."""
        words = [address, str(ca), *map(str, certificate), str(loops), str(pause)]
        self._command = [sys.executable, __file__, *words]
        self.issued = 0
        self.failed = 0

    def __enter__(self) -> "Honest":
        path = {"PYTHONPATH": ":".join(sys.path), "GRPC_VERBOSITY": "NONE"}
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=path
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def _read(self) -> None:
        assert self._process.stdout
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(None)

    def _count(self) -> None:
        line = self._lines.get(timeout=DEADLINE_SECONDS)
        assert line is not None, f"the client ended: {self._process.stderr.read()}"
        self.issued, self.failed = map(int, line.split())

    def go_on(self, count: int, seconds: float | None = None) -> None:
        """Returns when so many more RPCs have been answered with a token, and at least so many seconds have gone by."""
        aim, end = self.issued + count, time.monotonic() + (seconds or 0)
        while self.issued < aim or time.monotonic() < end:
            self._count()

    def look(self) -> int:
        """How many RPCs have been answered with a token by now."""
        while not self._lines.empty():
            self._count()
        return self.issued

    def stop(self) -> Report:
        """Ends the client when its RPCs have been answered."""
        assert self._process.stdin
        self._process.stdin.close()
        while (line := self._lines.get(timeout=DEADLINE_SECONDS)) is not None:
            last = line
        assert self._process.wait(timeout=DEADLINE_SECONDS) == 0, self._process.stderr.read()
        told = json.loads(last)
        return Report(told["fingerprints"], Counter(told["errors"]), sorted(told["milliseconds"]))

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stderr):
            if pipe:
                pipe.close()


def reason(error: grpc.RpcError) -> str:
    """Code, and `ErrorInfo.reason` or the message of an error that comes from a library."""
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    told = [info.reason for detail in (status.details if status else []) if detail.Unpack(info)]
    return f"{error.code().name} {told[0] if told else (error.details() or '').splitlines()[0][:120]}"


class Loop(threading.Thread):
    def __init__(self, address: str, credentials: grpc.ChannelCredentials, anew: bool, pause: float) -> None:
        super().__init__(daemon=True)
        self.fingerprints: list[str] = []
        self.errors: Counter[str] = Counter()
        self.milliseconds: list[float] = []
        self._anew, self._pause, self._ends = anew, pause, threading.Event()
        self._connect = lambda: grpc.secure_channel(
            address,
            credentials,
            options=(
                ("grpc.ssl_target_name_override", "localhost"),
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.enable_retries", 0),
                # After a fault it shall be back at once.
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 500),
            ),
        )

    def run(self) -> None:
        channel = self._connect()
        while not self._ends.wait(self._pause):
            self._call(channel)
            if self._anew:
                channel.close()
                channel = self._connect()
        channel.close()

    def _call(self, channel: grpc.Channel) -> None:
        began = time.monotonic()
        try:
            issued = stubs.MetabaseTokenServiceStub(channel).IssueMetabaseToken(REQUEST, timeout=DEADLINE_SECONDS)
        except grpc.RpcError as error:
            self.errors[reason(error)] += 1
            return
        self.milliseconds.append((time.monotonic() - began) * 1000)
        self.fingerprints.append(hashlib.sha256(issued.jwt.encode()).hexdigest()[:16])

    def end(self) -> None:
        self._ends.set()
        self.join()


def main(address: str, ca: str, certificate: str, key: str, loops: str, pause: str) -> None:
    """Counts on standard output until standard input ends, then tells everything."""
    chain, key_pem, ca_pem = (Path(path).read_bytes() for path in (certificate, key, ca))
    credentials = grpc.ssl_channel_credentials(ca_pem, key_pem, chain)
    running = [Loop(address, credentials, bool(index % 2), float(pause)) for index in range(int(loops))]
    for loop in running:
        loop.start()
    asked_to_stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), asked_to_stop.set()), daemon=True).start()
    while not asked_to_stop.wait(0.1):
        print(sum(len(loop.fingerprints) for loop in running), sum(loop.errors.total() for loop in running), flush=True)
    for loop in running:
        loop.end()
    told = {
        "fingerprints": [mark for loop in running for mark in loop.fingerprints],
        "errors": sum((loop.errors for loop in running), Counter()),
        "milliseconds": [duration for loop in running for duration in loop.milliseconds],
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
