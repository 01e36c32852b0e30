"""Clients that ask and do not read: what waits for them is bounded in time, and so in memory."""

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hyperframe.frame import DataFrame, HeadersFrame, PingFrame, SettingsFrame, WindowUpdateFrame
from metabase.token.v1 import token_service_pb2 as pb

from endurance import Attack
from service import Service, wait_until
from wire import DEADLINE_SECONDS, Wire, block, head, request

CONNECTIONS, STREAMS = 20, 200
# For the server to give them up: several times its keepalive_timeout.
PATIENCE_SECONDS = 30
# As large as a token may be: about 6 KiB.
LARGE = pb.IssueMetabaseTokenRequest(
    user=pb.User(id="1815", email="ada@example.com", first_name="Ada", last_name="Lovelace"),
    attributes={f"a{index}": "x" * 400 for index in range(8)},
).SerializeToString()
HEADERS = block(head())
STREAM_NUMBERS = range(1, 2 * STREAMS, 2)
# Of a connection that are sent at once: less than the server's window.
BATCH = 40


def ask(wire: Wire) -> int:
    """Sends all requests, waiting for headers, which need no window; how many were answered with a token before the
    server closed."""
    issued = 0
    with contextlib.suppress(OSError):
        for first in range(0, STREAMS, BATCH):
            wire.send(b"".join(request(at, LARGE, HEADERS) for at in STREAM_NUMBERS[first : first + BATCH]))
            waiting = BATCH
            for frame in wire.frames():
                wire.answer(frame)
                waiting -= isinstance(frame, HeadersFrame)
                issued += isinstance(frame, HeadersFrame) and "END_STREAM" not in frame.flags
                if not waiting:
                    break
    return issued


def stays_alive(wire: Wire, until: Callable[[], bool]) -> bool:
    """Answers PING as long as the connection is open; whether it still was when `until` held."""
    wire.socket.settimeout(0.5)
    frames = wire.frames()
    while not until():
        try:
            frame = next(frames)
        except TimeoutError:
            frames = wire.frames()
            continue
        except (StopIteration, OSError):
            return False
        if isinstance(frame, (PingFrame, SettingsFrame)):
            wire.answer(frame)
    return True


@pytest.mark.parametrize("drop", [0, 1], ids=["closed", "one-byte"])
def test_a_window_that_stays_closed(attack, connect, service: Service, drop: int) -> None:
    """CVE-2019-9511, -9517: every request is answered, and no answer is taken; or a byte of each, so that the rest
    is buffered."""
    with attack() as under, contextlib.ExitStack() as held:
        cut_off = service.metric('connections_ended_total{listener="grpc",reason="untaken"}')
        wires = [held.enter_context(connect()).begin(INITIAL_WINDOW_SIZE=drop) for _ in range(CONNECTIONS)]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            issued = sum(pool.map(ask, wires))
        under.count(connections=CONNECTIONS, requests=CONNECTIONS * STREAMS, tokens_not_taken=issued)
        assert issued
        # Pings are answered, so that the clients look alive.
        patience = time.monotonic() + PATIENCE_SECONDS
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            alive = sum(pool.map(lambda wire: stays_alive(wire, lambda: time.monotonic() > patience), wires))
        assert not alive, f"the answers of {alive} connections are held for ever"
        assert service.metric('connections_ended_total{listener="grpc",reason="untaken"}') > cut_off


def test_a_slow_reader_is_no_attacker(service: Service, connect) -> None:
    """A few bytes at a time, but always some: it gets its whole answer."""
    with connect() as wire:
        wire.begin(INITIAL_WINDOW_SIZE=1_000)
        wire.send(request(1, LARGE, HEADERS))
        got = 0
        for frame in wire.frames():
            wire.answer(frame)
            if isinstance(frame, DataFrame) and frame.data:
                got += len(frame.data)
                time.sleep(0.2)
                wire.send(WindowUpdateFrame(1, len(frame.data)).serialize())
            if "END_STREAM" in frame.flags:
                break
    assert got > 4_000


def test_watches_are_not_unread_answers(service: Service, connect) -> None:
    """A watch of health waits for news, longer than any deadline, and is no answer that nobody reads."""
    with connect() as wire:
        wire.begin()
        wire.send(request(1, b"", block(head("/grpc.health.v1.Health/Watch"))))
        end = time.monotonic() + 5
        assert stays_alive(wire, lambda: time.monotonic() > end)
        wire.socket.settimeout(60)
        wire.wait_for_pong(1)


def test_a_socket_that_nobody_reads(
    attack: Callable[..., contextlib.AbstractContextManager[Attack]], connect, service: Service
) -> None:
    """Not even TCP takes the answers."""
    with attack() as under, contextlib.ExitStack() as held:
        for _ in range(CONNECTIONS):
            wire = held.enter_context(connect(receive_buffer=4096)).begin(INITIAL_WINDOW_SIZE=2**31 - 1)
            batch = b"".join(request(at, LARGE, HEADERS) for at in STREAM_NUMBERS[:BATCH])
            # One that is given up while it still sends is given up all the same.
            wire.try_send(WindowUpdateFrame(0, 2**30).serialize() + batch, DEADLINE_SECONDS)
        under.count(connections=CONNECTIONS, requests=CONNECTIONS * BATCH)
        wait_until("the connections are given up", lambda: service.connections() <= 2)
