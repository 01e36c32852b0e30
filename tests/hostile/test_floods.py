"""More frames than anyone needs: each flood ends with its connection, and is nobody else's."""

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from hyperframe.frame import (
    ContinuationFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from endurance import Attack
from honest import REQUEST
from service import Service, wait_until
from wire import ENHANCE_YOUR_CALM, Ending, block, data_frame, head, headers_frame, request

T = TypeVar("T")
CONNECTIONS = 8
PAYLOAD = REQUEST.SerializeToString()
HEADERS = block(head())
MIB = 1024 * 1024
PATIENCE_SECONDS = 10
# The server's own limits, see src/transport/http2.rs.
MOST_LOCAL_RESETS = 1024
# As gRPC's libraries have it where a server allows more.
MOST_OPEN_OF_A_CLIENT = 100


def on_all(flood: Callable[[], T], connections: int = CONNECTIONS) -> list[T]:
    with ThreadPoolExecutor(connections) as pool:
        return list(pool.map(lambda _: flood(), range(connections)))


def assert_ended_by_the_server(endings: list[Ending], code: int | None = None) -> None:
    """A reset loses what was said before it: whoever writes on meets one."""
    told = [ending.goaway for ending in endings if not ending.by_reset]
    assert all(goaway == code if code else goaway for goaway in told), told


def test_rapid_reset(attack, connect) -> None:
    """CVE-2023-44487: requests that are taken back at once, so that they never count as concurrent."""
    pairs = 2_000

    def flood() -> Ending:
        with connect() as wire:
            wire.begin()
            for first in range(1, 2 * pairs, 400):
                batch = range(first, first + 400, 2)
                reset = (headers_frame(at, HEADERS) + RstStreamFrame(at, 8).serialize() for at in batch)
                if not wire.try_send(b"".join(reset), PATIENCE_SECONDS):
                    break
            return wire.ending()

    with attack() as under:
        for _ in under.rounds():
            assert_ended_by_the_server(on_all(flood), ENHANCE_YOUR_CALM)
            under.count(connections=CONNECTIONS, requests_taken_back=CONNECTIONS * pairs)


def test_a_client_may_take_all_its_requests_back_at_once(connect) -> None:
    """No attack: the deadlines of all that a client of gRPC has open have passed. What it asks next on the connection is answered."""
    with connect() as wire:
        wire.begin()
        taken_back = range(1, 2 * MOST_OPEN_OF_A_CLIENT, 2)
        wire.send(b"".join(headers_frame(at, HEADERS) + RstStreamFrame(at, 8).serialize() for at in taken_back))
        last = 2 * MOST_OPEN_OF_A_CLIENT + 1
        wire.send(request(last, PAYLOAD))
        assert wire.answers({last})[last]["grpc-status"] == "0"


def test_rapid_reset_below_the_limit(attack, connect) -> None:
    """The same, but slow enough for each request to be begun: what was begun is given up, and takes no room."""
    count = 250

    def flood() -> None:
        with connect() as wire:
            wire.begin()
            for at in range(1, 2 * count, 2):
                wire.send(headers_frame(at, HEADERS))
                wire.wait_for_pong(at)
                wire.send(RstStreamFrame(at, 8).serialize())

    with attack() as under:
        for _ in under.rounds():
            on_all(flood)
            under.count(connections=CONNECTIONS, requests_begun_and_taken_back=CONNECTIONS * count)


@pytest.mark.parametrize("way", ["zero-window-update", "window-overflow", "self-dependent"])
def test_made_you_reset(attack, connect, way: str) -> None:
    """CVE-2025-8671: errors that make the server reset the requests that it has begun."""
    count = 3_000
    wrong = {
        "zero-window-update": lambda at: bytes([0, 0, 4, 8, 0]) + at.to_bytes(4, "big") + bytes(4),
        "window-overflow": lambda at: WindowUpdateFrame(at, 2**31 - 1).serialize(),
        "self-dependent": lambda at: bytes([0, 0, 5, 2, 0]) + at.to_bytes(4, "big") + at.to_bytes(4, "big") + b"\x10",
    }[way]

    def flood() -> Ending:
        with connect() as wire:
            wire.begin()
            for first in range(1, 2 * count, 20):
                batch = b"".join(headers_frame(at, HEADERS) + wrong(at) for at in range(first, first + 20, 2))
                if not wire.try_send(batch, PATIENCE_SECONDS):
                    break
            return wire.ending()

    with attack() as under:
        for _ in under.rounds():
            endings = on_all(flood)
            under.count(connections=CONNECTIONS, errors=CONNECTIONS * count)
            assert_ended_by_the_server(endings)
            assert max(ending.resets() for ending in endings) <= MOST_LOCAL_RESETS


@pytest.mark.parametrize(
    ("count", "part"),
    [(50_000, b""), (50_000, b"\x90"), (2_000, block([("a", "b" * 16_000)]))],
    ids=["empty", "one-byte", "large"],
)
def test_continuation(attack, connect, count: int, part: bytes) -> None:
    """CVE-2024-27316: headers that never end. 0x90 is `accept-encoding: gzip, deflate` (RFC 7541, appendix A)."""
    frame = ContinuationFrame(1, part).serialize()

    def flood() -> tuple[Ending, int]:
        with connect() as wire:
            wire.begin()
            wire.send(HeadersFrame(1, HEADERS).serialize())
            sent = 0
            while sent < count and wire.try_send(frame * 100, PATIENCE_SECONDS):
                sent += 100
            return wire.ending(), sent

    with attack() as under:
        for _ in under.rounds():
            endings, sent = zip(*on_all(flood), strict=True)
            under.count(connections=CONNECTIONS, CONTINUATION_frames=sum(sent))
            assert_ended_by_the_server(endings)


FRAMES = {
    "settings": SettingsFrame(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 65_535}).serialize(),
    "ping": PingFrame(opaque_data=b"12345678").serialize(),
    "window": WindowUpdateFrame(0, 1).serialize(),
    "priority": bytes([0, 0, 5, 2, 0, 0, 0, 0, 1, 0, 0, 0, 3, 1]),
    "unknown": bytes([0, 0, 1, 0xFA, 0, 0, 0, 0, 0, 0]),
    "data": data_frame(1, b""),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_frames_that_cost_nothing(attack, connect, kind: str) -> None:
    """CVE-2019-9512, -9513, -9515, -9518: the server reads them all, and answers what is to be answered."""
    count, batch = 20_000, 1_000

    def flood() -> int:
        with connect() as wire:
            wire.begin()
            if kind == "data":
                wire.send(headers_frame(1, HEADERS))
            for _ in range(count // batch):
                if not wire.try_send(FRAMES[kind] * batch, PATIENCE_SECONDS):
                    return 0
                try:
                    wire.wait_for_pong(1)
                except (ConnectionError, OSError):
                    return 0
            return 1

    with attack() as under:
        for _ in under.rounds():
            endured = sum(on_all(flood))
            under.count(connections=CONNECTIONS, frames=CONNECTIONS * count, connections_that_stayed=endured)
            # A request's empty frames are kept until it is read, so that too many of them end the connection.
            assert endured == (0 if kind == "data" else CONNECTIONS)


@pytest.mark.parametrize("kind", ["settings", pytest.param("ping", marks=pytest.mark.long)])
def test_answers_that_nobody_reads(attack, connect, service: Service, kind: str) -> None:
    """The same, and the client reads nothing: the server stops to read, and gives the connection up."""
    most = 64 * MIB

    def flood(under: Attack, held: contextlib.ExitStack) -> int:
        wire = held.enter_context(connect(receive_buffer=4096)).begin()
        sent = 0
        while sent < most and wire.try_send(FRAMES[kind] * 10_000, 1):
            sent += 10_000 * len(FRAMES[kind])
        return sent

    with attack() as under, contextlib.ExitStack() as held:
        sent = on_all(lambda: flood(under, held))
        under.count(connections=CONNECTIONS, KiB_taken=sum(sent) // 1024)
        assert max(sent) < most, "the server reads on, whatever becomes of its answers"
        wait_until("the connections are given up", lambda: service.connections() <= 2)


def test_header_bomb(attack, connect) -> None:
    """CVE-2016-6581: one long header in the table, and a byte for each of its repetitions."""
    repetitions, requests = 15_000, 50
    long = b"\x40\x01x" + b"\x7f\xa1\x1e" + b"v" * 4_000  # Into the table (RFC 7541, section 6.2.1); 0xbe repeats it.
    bombs = b"".join(headers_frame(at, HEADERS + b"\xbe" * repetitions) for at in range(3, 3 + 2 * requests, 2))

    def flood() -> Ending:
        with connect() as wire:
            wire.begin()
            wire.send(headers_frame(1, HEADERS + long))
            wire.try_send(bombs, PATIENCE_SECONDS)
            return wire.ending()

    with attack() as under:
        for _ in under.rounds():
            assert_ended_by_the_server(on_all(flood))
            meant = CONNECTIONS * requests * repetitions * 4_000 // MIB
            under.count(connections=CONNECTIONS, MiB_of_headers_meant=meant)


@pytest.mark.long
def test_pipelined_requests(attack, connect) -> None:
    """As many whole requests as a connection takes, on and on."""
    turns, streams = 2, 200

    def flood() -> int:
        issued = 0
        with connect() as wire:
            wire.begin()
            for turn in range(turns):
                numbers = range(1 + 2 * streams * turn, 1 + 2 * streams * (turn + 1), 2)
                wire.send(b"".join(request(at, PAYLOAD, HEADERS) for at in numbers))
                issued += sum(answer.get("grpc-status") == "0" for answer in wire.answers(set(numbers)).values())
        return issued

    with attack() as under:
        for _ in under.rounds():
            issued = sum(on_all(flood, 4))
            under.count(connections=4, tokens_to_the_flood=issued)
            assert issued == 4 * turns * streams
