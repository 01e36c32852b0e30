"""A server of its own for every fault."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from service import BINARY, Service


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts servers; arguments as for `Service`. They end with the test, unless it ends them."""
    with ExitStack() as running:

        def start(**settings: object) -> Service:
            folder = tmp_path / settings.pop("name", "server")
            folder.mkdir(exist_ok=True)
            make = partial(
                Service, BINARY, secrets.token_hex(32), settings.pop("errors", folder / "stderr"), folder=folder
            )
            return running.enter_context(make(**settings))

        yield start
