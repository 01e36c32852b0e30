"""What the attacks are handed: one server for all of them, so that what one leaves behind meets the next."""

import secrets
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

import pytest

from endurance import Attack, endured, honest, released
from service import BINARY, ROGUE, Service, Usage
from wire import Wire, trust

# As by default, but for the times, which are as short as they can be.
LIMITS = """
deadline = "3s"
body_timeout = "1s"
keepalive_interval = "2s"
keepalive_timeout = "2s"
idle_timeout = "5s"
max_connection_age_grace = "2s"
"""


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("hostile")
    with Service(BINARY, secrets.token_hex(32), folder / "stderr", folder=folder, limits=LIMITS) as running:
        yield running


@pytest.fixture(scope="session")
def began(service: Service) -> Usage:
    """What the server has after its first tokens."""
    with honest(service) as client:
        client.go_on(200)
        assert not client.stop().errors
    released(service, Usage(0, 1000, 1000))
    return service.usage()


@pytest.fixture
def attack(service: Service, began: Usage) -> Callable[..., AbstractContextManager[Attack]]:
    return partial(endured, service, began)


@pytest.fixture
def rogue(service: Service) -> ssl.SSLContext:
    """TLS of a caller that is configured, and hostile."""
    return trust(service.authority.certificate, service.clients[ROGUE])


@pytest.fixture
def connect(service: Service, rogue: ssl.SSLContext) -> Callable[..., Wire]:
    return partial(Wire, service.address, rogue)
