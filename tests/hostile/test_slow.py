"""Clients that begin and do not go on, at every step from the TCP connection to the end of a message; and those that
send garbage."""

import contextlib
import random
import socket
import ssl
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hyperframe.frame import SettingsFrame

from honest import REQUEST
from service import Service, wait_until
from wire import PREFACE, Wire, block, close_hard, data_frame, head, headers_frame, message

HALF_OPEN = 3_000
# A ClientHello that ends in its midst: a record of 512 bytes, of which there are a few.
HALF_A_HELLO = bytes([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xFC, 0x03, 0x03])
CONNECTIONS = 50
HEADERS = block(head())
SEED = 20_210


def connected(address: str) -> socket.socket:
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=60)


def closed_by_the_server(connection: socket.socket) -> bool:
    """Reads to the end."""
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


@pytest.mark.long
def test_half_open_handshakes(attack, service: Service) -> None:
    """Thousands of connections that say nothing, or half a ClientHello: each is given up, and an honest newcomer
    gets in meanwhile."""
    with attack() as under, contextlib.ExitStack() as held:
        before = service.metric('tls_handshakes_total{outcome="timed_out"}')
        for index in range(HALF_OPEN):
            connection = connected(service.address)
            held.callback(close_hard, connection)
            if index % 2:
                connection.sendall(HALF_A_HELLO)
        under.count(half_open_handshakes=HALF_OPEN)
        for _ in under.rounds():
            time.sleep(0.1)
        wait_until(
            "all are given up",
            lambda: service.metric('tls_handshakes_total{outcome="timed_out"}') - before >= HALF_OPEN,
        )


def test_handshakes_that_break_off(attack, service: Service) -> None:
    """Connections that come and go: accepted, and gone before or in the midst of their handshake."""
    count = 1_000
    with attack() as under:
        for _ in under.rounds():
            for index in range(count):
                connection = connected(service.address)
                if index % 2:
                    connection.sendall(HALF_A_HELLO)
                close_hard(connection)
            under.count(connections=count)


GARBAGE = {
    "http1": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "half-a-preface": PREFACE[:20],
    "wrong-preface": PREFACE[:-4] + b"XX\r\n",
    "zeros": bytes(4096),
    "random": random.Random(SEED).randbytes(4096),
    "no-settings": PREFACE + headers_frame(1, HEADERS),
    "tls-again": HALF_A_HELLO + bytes(501),
}


@pytest.mark.parametrize("within", [pytest.param("tcp", marks=pytest.mark.long), "tls"])
def test_garbage_before_the_preface(attack, service: Service, connect, within: str) -> None:
    """Anything but HTTP/2, in the place of TLS, or within it."""

    def send(garbage: bytes) -> bool:
        connection = connected(service.address) if within == "tcp" else connect().socket
        with contextlib.closing(connection):
            with contextlib.suppress(OSError):
                connection.sendall(garbage)
            return closed_by_the_server(connection)

    with attack() as under, ThreadPoolExecutor(8 * len(GARBAGE)) as pool:
        for _ in under.rounds():
            assert all(pool.map(send, [garbage for garbage in GARBAGE.values() for _ in range(8)]))
            under.count(connections=8 * len(GARBAGE))


def test_random_frames(attack, connect) -> None:
    """Frames of every type with random flags, streams and contents, behind a good preface."""
    chance = random.Random(SEED)
    with attack() as under:
        for _ in under.rounds():
            for _ in range(50):
                with connect() as wire:
                    wire.begin()
                    frames = 0
                    while frames < 200:
                        payload = chance.randbytes(chance.choice([0, 1, 4, 5, 8, 9, 40, 300]))
                        kind, flags, stream = (
                            chance.randrange(11),
                            chance.randrange(256),
                            chance.choice([0, 1, 2, 3, 2**31 - 1]),
                        )
                        frame = (
                            len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
                        )
                        frames += 1
                        if not wire.try_send(frame, 10):
                            break
                    under.count(random_frames=frames)


def hold(attack, connect, service: Service, *parts: bytes, drip: bytes = b"") -> None:
    """Begins `CONNECTIONS` connections with these bytes, drips one after the other, and waits until the server has
    closed all."""
    with attack() as under, contextlib.ExitStack() as held:
        wires = [held.enter_context(connect()) for _ in range(CONNECTIONS)]
        for wire in wires:
            wire.send(b"".join(parts))
        under.count(connections=CONNECTIONS)
        for at in range(len(drip)):
            taken = [wire.try_send(drip[at : at + 1], 1) for wire in wires]
            if not any(taken):
                break
            time.sleep(0.2)
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            assert all(pool.map(lambda wire: closed_by_the_server(wire.socket), wires)), "connections are held for ever"


def test_a_slow_preface(attack, connect, service: Service) -> None:
    """A byte of it from time to time."""
    hold(attack, connect, service, drip=(PREFACE * 10)[: len(PREFACE) - 1])


def test_slow_headers(attack, connect, service: Service) -> None:
    """A header block whose frame comes a byte at a time: nothing else can come in between, and no PING can be
    answered."""
    hold(attack, connect, service, PREFACE, SettingsFrame().serialize(), drip=headers_frame(1, HEADERS))


def test_a_silent_connection(attack, connect, service: Service) -> None:
    """Begun in order, and then nothing."""
    hold(attack, connect, service, PREFACE, SettingsFrame().serialize())


@pytest.mark.parametrize(
    ("streams", "drip"),
    [(100, b""), (10, message(REQUEST.SerializeToString())[:20])],
    ids=["headers-only", "slow-message"],
)
def test_requests_without_a_message(attack, connect, streams: int, drip: bytes) -> None:
    """Many requests of which the headers come, and of the message a byte from time to time: one caller takes a part
    of the room, and
    not for long."""
    connections, numbers = 20, range(1, 2 * streams, 2)

    def see_through(wire: Wire) -> list[str]:
        wire.send(b"".join(headers_frame(at, HEADERS) for at in numbers))
        for at in range(len(drip)):
            time.sleep(0.02)
            wire.send(b"".join(data_frame(number, drip[at : at + 1]) for number in numbers))
        return [answer.get("grpc-status", "reset") for answer in wire.answers(set(numbers)).values()]

    with attack() as under, contextlib.ExitStack() as held, ThreadPoolExecutor(connections) as pool:
        wires = [held.enter_context(connect()).begin() for _ in range(connections)]
        told = Counter(status for statuses in pool.map(see_through, wires) for status in statuses)
        under.count(requests=connections * streams, DEADLINE_EXCEEDED=told["4"], RESOURCE_EXHAUSTED=told["8"])
        assert told["4"] + told["8"] == connections * streams, told
        # A quarter of max_in_flight at once, and no more.
        assert told["4"]
        assert bool(told["8"]) == (connections * streams > 1000 / 4)


@pytest.mark.long
def test_connections_that_only_stay(attack, connect, service: Service) -> None:
    """Each asks once for nothing much, answers PING, and stays: idle ones are asked to leave."""
    count = 200
    with attack() as under, contextlib.ExitStack() as held:
        wires = [held.enter_context(connect()).begin() for _ in range(count)]
        under.count(connections=count)

        def stay(wire: Wire) -> bool:
            with contextlib.suppress(OSError):
                for frame in wire.frames():
                    wire.answer(frame)
            return True

        with ThreadPoolExecutor(count) as pool:
            assert all(pool.map(stay, wires))


def test_no_certificate(attack, service: Service) -> None:
    """Whoever has none gets no further than the handshake."""
    context = ssl.create_default_context(cafile=str(service.authority.certificate))
    context.set_alpn_protocols(["h2"])
    with attack() as under:
        for _ in under.rounds():
            for _ in range(50):
                with contextlib.suppress(OSError), Wire(service.address, context) as wire:
                    wire.begin()
                    ending = wire.ending()
                    assert not ending.frames
            under.count(connections=50)
