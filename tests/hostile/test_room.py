"""More connections than there is room for: whoever cannot prove anything keeps nobody out."""

import contextlib
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hyperframe.frame import SettingsFrame

from endurance import endured, honest, released
from service import BINARY, ROGUE, Service, Usage, wait_until
from test_slow import HALF_A_HELLO, connected
from wire import PREFACE, Wire, close_hard, trust


@pytest.fixture
def with_room(tmp_path: Path) -> Iterator[Callable[[int], tuple[Service, Usage]]]:
    """Starts a server with room for so many connections, and tells what it has after its first tokens."""
    with contextlib.ExitStack() as running:

        def start(room: int) -> tuple[Service, Usage]:
            limits = f'max_connections = {room}\nidle_timeout = "6s"\n'
            service = Service(BINARY, secrets.token_hex(32), tmp_path / "stderr", folder=tmp_path, limits=limits)
            running.enter_context(service)
            with honest(service) as client:
                client.go_on(50)
                assert not client.stop().errors
            released(service, Usage(0, 1000, 1000))
            return service, service.usage()

        yield start


def test_half_open_handshakes_beyond_the_room(with_room: Callable[[int], tuple[Service, Usage]]) -> None:
    """Twice as many as there is room for, and nobody closes one: the oldest give way, and newcomers get in all the
    time."""
    room = 2_000
    service, began = with_room(room)
    with endured(service, began) as under, contextlib.ExitStack() as held:
        for index in range(2 * room):
            connection = connected(service.address)
            held.callback(close_hard, connection)
            if index % 2:
                connection.sendall(HALF_A_HELLO)
            under.count(half_open_handshakes=1)
        assert service.metric('connections_refused_total{listener="grpc"}') == 0
        wait_until("all are given up", lambda: service.metric('tls_handshakes_total{outcome="timed_out"}') >= 2 * room)


@pytest.mark.long
def test_a_caller_that_takes_all_the_room(with_room: Callable[[int], tuple[Service, Usage]]) -> None:
    """With a certificate, connections can be held: who is in stays and is served, and what is idle has to leave."""
    room = 100
    service, began = with_room(room)
    context = trust(service.authority.certificate, service.clients[ROGUE])
    with endured(service, began, loops=1) as under, contextlib.ExitStack() as held:

        def take(_: int) -> None:
            with contextlib.suppress(OSError):
                wire = held.enter_context(Wire(service.address, context))
                wire.try_send(PREFACE + SettingsFrame().serialize(), 10)

        with ThreadPoolExecutor(20) as pool:
            list(pool.map(take, range(room + 50)))
        taken = service.connections()
        under.count(connections_tried=room + 50, open_at_once=taken)
        assert room // 2 < taken <= room
        for _ in under.rounds():
            pass
        wait_until("the idle ones have left", lambda: service.connections() <= 1)
