"""A server under measurement: started on its CPU, asked until it serves, stopped."""

import contextlib
import itertools
import random
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from . import contract, machine
from .certificates import Certificates
from .machine import SERVER_CPU, CannotMeasure, Void

PATIENCE_SECONDS = 60
SAMPLE = 20


@dataclass(frozen=True)
class Place:
    """Where one server lives."""

    folder: Path
    port: int
    metrics_port: int
    certificates: Certificates

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Target:
    """Something that answers the contract."""

    name: str
    title: str
    command: Callable[[Place], list[str]]
    environment: dict[str, str] = field(default_factory=dict)
    tls: bool = False
    signs: bool = True
    """Whether its tokens are tokens: not the echo's."""
    has_metrics: bool = False
    """Whether its own count of answers by gRPC code can be asked for."""
    files: tuple[Path, ...] = ()
    """What has to be deployed, but for the language's runtime."""
    runtime: str = "none"
    warm_up: float = 1.0
    """How much longer than others it takes to get to its speed."""


_PORTS = itertools.count(random.randrange(20_000, 30_000))


def free_port() -> int:
    """Below those that the system gives to outgoing connections, so that none of them takes it before the server does."""
    while True:
        port = next(_PORTS)
        with contextlib.suppress(OSError), socket.socket() as one:
            one.bind(("127.0.0.1", port))
            return port


class Running:
    """Context manager; inside it the server serves."""

    def __init__(self, target: Target, folder: Path, certificates: Certificates) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.target = target
        self.place = Place(folder, free_port(), free_port(), certificates)
        self.message = contract.request()
        self.answer_bytes = self.token_chars = 0

    def __enter__(self) -> "Running":
        log = (self.place.folder / "log").open("wb")
        command = machine.pinned(SERVER_CPU, self.target.command(self.place))
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", **self.target.environment}
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.place.folder
        )
        log.close()
        self.channel = self._connect()
        try:
            self._wait_until_serving()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        self.channel.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _connect(self) -> grpc.Channel:
        if not self.target.tls:
            return grpc.insecure_channel(self.place.address)
        ca, certificate, key = (path.read_bytes() for path in self.place.certificates.of_client)
        credentials = grpc.ssl_channel_credentials(ca, key, certificate)
        return grpc.secure_channel(self.place.address, credentials, [("grpc.ssl_target_name_override", "localhost")])

    def _wait_until_serving(self) -> None:
        began = time.monotonic()
        stub = health_pb2_grpc.HealthStub(self.channel)
        while time.monotonic() - began < PATIENCE_SECONDS:
            if self.process.poll() is not None:
                break
            try:
                status = stub.Check(health_pb2.HealthCheckRequest(), timeout=1, wait_for_ready=True).status
            except grpc.RpcError:
                continue
            if status == health_pb2.HealthCheckResponse.SERVING:
                return
            time.sleep(0.05)
        raise CannotMeasure(f"{self.target.name} does not serve:\n{(self.place.folder / 'log').read_text()[-2000:]}")

    @property
    def pid(self) -> int:
        return self.process.pid

    def sample(self) -> int:
        """So many tokens, looked into. Learns how long an answer is, which is the same for all."""
        for _ in range(SAMPLE):
            answer, size = contract.ask(self.channel, self.message)
            if self.target.signs:
                contract.check(answer, self.message)
            if self.answer_bytes not in (0, size):
                raise Void(f"{self.target.name}: answers of {self.answer_bytes} and of {size} bytes")
            self.answer_bytes, self.token_chars = size, len(answer.jwt)
        return SAMPLE

    def answers(self) -> dict[str, int]:
        """What the server itself has counted: answers to IssueMetabaseToken by gRPC code."""
        url = f"http://127.0.0.1:{self.place.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as page:
            lines = page.read().decode().splitlines()
        counted = {}
        for line in lines:
            if line.startswith("metabase_token_service_rpcs_total{") and f'"{contract.RPC[1:]}"' in line:
                counted[line.split('code="')[1].split('"')[0]] = int(float(line.rsplit(" ", 1)[1]))
        return counted
