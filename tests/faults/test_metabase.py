"""Metabase, or the way to it, is broken: tokens are issued all the same, status checks say so in time, and all is
well once it is back.

Redis (the account store) has its two rows here once it is there: down, and slow. What they declare belongs beside
`FAULTS`.
"""

import os
import secrets
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from metabase.token.v1 import token_service_pb2 as pb
from metabase.token.v1 import token_service_pb2_grpc as stubs
from service import SHOP, Service, wait_until
from standin_metabase import StandIn

from aftermath import agreement, agrees, under_load

FAULTS = {
    "hang": {"seconds": 30},
    "drip": {"seconds": 5},
    "reset": {},
    "garbage_json": {},
    "html": {},
    "stack_trace": {},
    "truncated": {},
    "redirect": {},
    "initializing": {},
}


def at(url: str) -> str:
    return f'url = "{url}"\nprobe_interval = "1s"'


def check_live(service: Service) -> pb.CheckAuthStatusResponse:
    """Of a token that Metabase itself is asked about."""
    chain, key = (path.read_bytes() for path in service.clients[SHOP])
    credentials = grpc.ssl_channel_credentials(service.authority.certificate.read_bytes(), key, chain)
    options = (("grpc.ssl_target_name_override", "localhost"),)
    with grpc.secure_channel(service.address, credentials, options) as channel:
        stub = stubs.MetabaseTokenServiceStub(channel)
        user = pb.User(id="1815", email="ada@example.com", first_name="Ada", last_name="Lovelace")
        token = stub.IssueMetabaseToken(pb.IssueMetabaseTokenRequest(user=user), timeout=60).jwt
        return stub.CheckAuthStatus(pb.CheckAuthStatusRequest(jwt=token, live=True), timeout=60)


IN_CI = ("garbage_json", "reset")


@pytest.mark.parametrize(
    "kind", [kind if kind in IN_CI else pytest.param(kind, marks=pytest.mark.long) for kind in FAULTS]
)
def test_metabase_breaks(serve: Callable[..., Service], kind: str) -> None:
    secret = secrets.token_hex(32)
    with StandIn(secret) as metabase:
        service = serve(instance=at(metabase.url))
        service.write_secret(secret)
        agrees(service)
        with under_load(service, f"Metabase: {kind}") as client:
            metabase.fault(kind, **FAULTS[kind])
            wait_until("the fault is seen", lambda: agreement(service, "unknown"))
            answer = check_live(service)
            assert answer.status in (pb.AUTH_STATUS_ERROR, pb.AUTH_STATUS_LOADING), answer
            client.go_on(20)
            metabase.end_faults()
            agrees(service)
        assert check_live(service).status == pb.AUTH_STATUS_SUCCESS


def test_metabase_is_down(serve: Callable[..., Service]) -> None:
    """Nobody listens, then somebody does."""
    secret = secrets.token_hex(32)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    service = serve(instance=at(f"http://127.0.0.1:{port}"))
    service.write_secret(secret)
    with under_load(service, "Metabase: down"):
        wait_until("it is down", lambda: agreement(service, "unknown"))
        assert check_live(service).reason == pb.AUTH_STATUS_REASON_METABASE_UNREACHABLE
        with StandIn(secret, port=port):
            agrees(service)
            assert check_live(service).status == pb.AUTH_STATUS_SUCCESS
        wait_until("it is down again", lambda: agreement(service, "unknown"))


class Resolver:
    """A name server that answers nothing, and later every name with 127.0.0.1."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        self._socket.settimeout(0.2)
        self.mode = "silent"
        self.asked = 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._ends.is_set():
            try:
                query, client = self._socket.recvfrom(512)
            except TimeoutError:
                continue
            self.asked += 1
            if self.mode == "silent":
                continue
            end = query.index(b"\0", 12) + 5
            is_a = query[end - 4 : end - 2] == b"\0\1"
            found = self.mode == "right"
            answer = b"\xc0\x0c\0\1\0\1" + struct.pack(">IH", 1, 4) + bytes([127, 0, 0, 1])
            counts = struct.pack(">HHHH", 1, int(found and is_a), 0, 0)
            flags = b"\x81\x80" if found else b"\x81\x83"
            self._socket.sendto(
                query[:2] + flags + counts + query[12:end] + (answer if found and is_a else b""), client
            )

    def end(self) -> None:
        self._ends.set()
        self._thread.join()
        self._socket.close()


@contextmanager
def resolver() -> Iterator[Resolver]:
    running = Resolver(NAME_SERVER)
    try:
        yield running
    finally:
        running.end()


NAME_SERVER = "127.53.0.1"


@pytest.mark.parametrize("mode", ["silent", pytest.param("wrong", marks=pytest.mark.long)])
def test_names_are_not_found(serve: Callable[..., Service], tmp_path: Path, mode: str) -> None:
    """The name server says nothing, or that there is no such name; then it answers."""
    secret = secrets.token_hex(32)
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text(f"nameserver {NAME_SERVER}\noptions timeout:1 attempts:1\n")
    # In a mount namespace of its own; the machine's resolver stays as it is.
    into = f'mount --bind {resolv_conf} {os.path.realpath("/etc/resolv.conf")} && exec "$@"'
    with StandIn(secret) as metabase, resolver() as names:
        names.mode = mode
        port = metabase.url.rsplit(":", 1)[1]
        service = serve(
            instance=at(f"http://metabase.example:{port}"), prefix=("unshare", "--mount", "sh", "-c", into, "sh")
        )
        service.write_secret(secret)
        with under_load(service, f"DNS: {mode}"):
            wait_until("names are asked for", lambda: names.asked)
            wait_until("it is not found", lambda: agreement(service, "unknown"))
            assert check_live(service).reason == pb.AUTH_STATUS_REASON_METABASE_UNREACHABLE
            names.mode = "right"
            agrees(service)
