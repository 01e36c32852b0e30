"""What tests are handed: one server for the whole run, grpcurl against it, three libraries in turn, and a Metabase."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from grpcurl import Grpcurl
from jwt_libraries import LIBRARIES, Library
from server_process import ServerProcess
from standin_metabase import StandIn


@pytest.fixture(scope="session")
def secret() -> str:
    """64 hexadecimal characters, as Metabase generates them; another one in every run."""
    return secrets.token_hex(32)


@pytest.fixture(scope="session")
def server(secret: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The server, ready. Ends with SIGTERM; its exit code and what it printed are judged then."""
    binary = Path(os.environ["METABASE_TOKEN_SERVICE_BIN"])
    errors = tmp_path_factory.mktemp("server") / "stderr"
    with ServerProcess(binary, secret, errors) as running:
        yield running


@pytest.fixture(scope="session")
def grpcurl(server: ServerProcess) -> Grpcurl:
    """grpcurl against the server."""
    return Grpcurl(server.address)


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.name)
def library(request: pytest.FixtureRequest) -> Library:
    """PyJWT, jsonwebtoken and golang-jwt, one after the other."""
    return request.param


@pytest.fixture
def start_metabase(secret: str) -> Iterator[Callable[..., StandIn]]:
    """Starts stand-ins for Metabase that hold the secret; arguments as for `StandIn`. They end with the test."""
    with ExitStack() as running:
        yield lambda **settings: running.enter_context(StandIn(secret, **settings))


@pytest.fixture
def metabase(start_metabase: Callable[..., StandIn]) -> StandIn:
    """A stand-in for the newest Metabase, with nobody in it."""
    return start_metabase()
