"""What every test is handed: one server for the whole run, grpcurl against it, and the three libraries in turn."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from grpcurl import Grpcurl
from jwt_libraries import LIBRARIES, Library
from server_process import ServerProcess


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
