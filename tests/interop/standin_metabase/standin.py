"""A stand-in with its two servers: Metabase, and the control on a port of its own."""

import ssl
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from .control import Control
from .control_http import control_answer
from .http_server import HttpServer
from .instance import Instance
from .settings import Settings

LOOPBACK = "127.0.0.1"


class StandIn(Control):
    """Context manager; inside it both servers answer, and everything of `Control` can be called."""

    def __init__(
        self,
        secret: str = "",
        *,
        port: int = 0,
        control_port: int = 0,
        tls: tuple[Path, Path] | None = None,
        **settings: Any,
    ) -> None:
        """Port 0 takes a free one; `tls` are files of a certificate chain and its key; `settings` as for `change`.

        Raises `ValueError` for settings that cannot be, and `OSError` when a port is taken or a file cannot be read.
        """
        instance = Instance(Settings())
        super().__init__(instance)
        self.change(jwt_shared_secret=secret, **settings)
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
        self._metabase = HttpServer((LOOPBACK, port), instance.answer, instance.now, context)
        self._control = HttpServer(
            (LOOPBACK, control_port), lambda request: control_answer(self, request), lambda: int(time.time())
        )

    @property
    def url(self) -> str:
        """Of Metabase, without a slash at the end."""
        return self._metabase.url

    @property
    def control_url(self) -> str:
        return self._control.url

    def __enter__(self) -> "StandIn":
        self._metabase.start()
        self._control.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._metabase.stop()
        self._control.stop()
        failures = self._metabase.failures + self._control.failures
        assert not failures, "the stand-in broke:\n" + "\n".join(failures)
