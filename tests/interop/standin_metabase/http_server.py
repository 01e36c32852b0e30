"""Threads and sockets: HTTP/1.1 with kept connections, TLS if asked, and answers sent as badly as they say."""

import contextlib
import socket
import ssl
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .http_message import Answer, Request, text

LARGEST_BODY = 1 << 20
IDLE_SECONDS = 60
CHUNK = b" " * (1 << 16)


class HttpServer(ThreadingHTTPServer):
    """Listens once made, answers once started. `now` gives the Unix seconds of `Date`."""

    daemon_threads = False
    request_queue_size = 1024

    def __init__(
        self,
        address: tuple[str, int],
        answer: Callable[[Request], Answer],
        now: Callable[[], int],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(address, Handler)
        self.answer = answer
        self.now = now
        self.tls = tls
        self.stopping = threading.Event()
        self.failures: list[str] = []
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http{'s' if self.tls else ''}://{host!s}:{port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends every connection, and returns when the last thread has ended."""
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        with self._connections_lock:
            for connection in self._connections:
                _shut(connection)
        self.server_close()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, peer = super().get_request()
        connection.settimeout(IDLE_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls:
            # The handshake is left to the connection's thread: nobody can hold up the others.
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, peer

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self._connections_lock:
            self._connections.add(request)
        try:
            if self.stopping.is_set():
                return
            if self.tls:
                request.do_handshake()
            super().finish_request(request, client_address)
        finally:
            with self._connections_lock:
                self._connections.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that leaves is no error; a defect of the stand-in is kept for whoever stops it."""
        if not isinstance(sys.exception(), OSError):
            self.failures.append(traceback.format_exc())


class Handler(BaseHTTPRequestHandler):
    server: HttpServer
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if len(self.raw_requestline) > 65536:
            self.requestline, self.request_version, self.command = "", "", ""
            self.send_error(414)
        elif not self.raw_requestline:
            self.close_connection = True
        elif self.parse_request():
            self._serve()

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or "Transfer-Encoding" in self.headers:
            self._send(text(411, "Length Required"), last=True)
            return
        if int(length) > LARGEST_BODY:
            self._send(text(413, "Content Too Large"), last=True)
            return
        body = self.rfile.read(int(length))
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            answer = self.server.answer(Request(self.command, parts.path, query, headers, body))
        except Exception:
            self.server.failures.append(traceback.format_exc())
            answer = text(500, "The stand-in is broken.")
        self._send(answer)

    def _send(self, answer: Answer, *, last: bool = False) -> None:
        if answer.wait_seconds and self.server.stopping.wait(answer.wait_seconds):
            self.close_connection = True
            return
        cut = answer.cut_after
        if cut is not None and cut < 0:
            self._reset()
            return
        self.close_connection = self.close_connection or last or answer.declared_length is not None
        head = self._head(answer)
        if answer.seconds_per_byte:
            self._drip(head, answer)
            return
        # In one piece, so that no answer waits for an acknowledgement of its headers.
        self.wfile.write(head + answer.body[:cut])
        if cut is not None:
            self._reset()
            return
        for start in range(0, answer.padding, len(CHUNK)):
            if self.server.stopping.is_set():
                self.close_connection = True
                return
            self.wfile.write(CHUNK[: answer.padding - start])

    def _head(self, answer: Answer) -> bytes:
        headers = dict(answer.headers)
        date = formatdate(self.server.now(), usegmt=True) if answer.date is None else answer.date
        if date:
            headers["Date"] = date
        length = len(answer.body) + answer.padding if answer.declared_length is None else answer.declared_length
        if length >= 0 and answer.status != 204:
            headers["Content-Length"] = str(length)
        if self.close_connection:
            headers["Connection"] = "close"
        reason = self.responses.get(answer.status, ("",))[0]
        lines = [f"HTTP/1.1 {answer.status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def _drip(self, head: bytes, answer: Answer) -> None:
        self.wfile.write(head)
        for byte in answer.body:
            if self.server.stopping.wait(answer.seconds_per_byte):
                self.close_connection = True
                return
            self.wfile.write(bytes([byte]))

    def _reset(self) -> None:
        """Closing with a linger of no time sends RST."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Before the server shuts it down, which would send FIN.
        self.connection.close()

    def log_message(self, *_: Any) -> None:
        """Nothing is printed: a request line can hold a token."""


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
