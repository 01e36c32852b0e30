"""HTTP/2 as a hostile client writes it: frames without rules, over TLS with a certificate, or over bare TCP."""

import contextlib
import socket
import ssl
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import hpack
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

DEADLINE_SECONDS = 60
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ISSUE = "/metabase.token.v1.MetabaseTokenService/IssueMetabaseToken"
HEALTH = "/grpc.health.v1.Health/Check"
# RFC 9113, section 7
PROTOCOL_ERROR, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 1, 6, 7, 8, 11


def head(
    path: str = ISSUE, *more: tuple[str, str], content_type: str | None = "application/grpc"
) -> list[tuple[str, str]]:
    """Of a gRPC request."""
    pseudo = [(":method", "POST"), (":scheme", "https"), (":path", path), (":authority", "localhost")]
    return [*pseudo, *([("content-type", content_type)] if content_type else []), ("te", "trailers"), *more]


def block(headers: list[tuple[str, str]]) -> bytes:
    """Headers in HPACK, independent of what was sent before."""
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    return encoder.encode(headers)


def message(payload: bytes) -> bytes:
    """A gRPC message without compression."""
    return struct.pack(">BI", 0, len(payload)) + payload


def headers_frame(stream: int, headers: bytes, *flags: str) -> bytes:
    return HeadersFrame(stream, headers, flags=["END_HEADERS", *flags]).serialize()


def data_frame(stream: int, data: bytes, *flags: str) -> bytes:
    return DataFrame(stream, data, flags=flags).serialize()


def request(stream: int, payload: bytes, headers: bytes | None = None) -> bytes:
    """A whole gRPC request."""
    return headers_frame(stream, headers or block(head())) + data_frame(stream, message(payload), "END_STREAM")


@dataclass
class Ending:
    """What a connection was told until it was closed."""

    frames: list[Frame]
    by_reset: bool

    @property
    def goaway(self) -> int | None:
        """The error code of the last GOAWAY."""
        codes = [frame.error_code for frame in self.frames if isinstance(frame, GoAwayFrame)]
        return codes[-1] if codes else None

    def resets(self) -> int:
        return sum(isinstance(frame, RstStreamFrame) for frame in self.frames)


class Wire:
    """A connection; context manager. What it sends is nobody's business but the test's."""

    def __init__(self, address: str, tls: ssl.SSLContext | None, receive_buffer: int | None = None) -> None:
        host, port = address.rsplit(":", 1)
        raw = socket.socket()
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.settimeout(DEADLINE_SECONDS)
        raw.connect((host, int(port)))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = tls.wrap_socket(raw, server_hostname="localhost") if tls else raw
        self._unread = b""
        self._decoder = hpack.Decoder()

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def begin(self, **settings: int) -> "Wire":
        """Preface and SETTINGS; names as in `SettingsFrame`."""
        named = {getattr(SettingsFrame, name): value for name, value in settings.items()}
        self.send(PREFACE + SettingsFrame(settings=named).serialize())
        return self

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def try_send(self, data: bytes, seconds: float) -> bool:
        """Whether the server took it all: neither closed nor stopped reading for so long."""
        self.socket.settimeout(seconds)
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        finally:
            self.socket.settimeout(DEADLINE_SECONDS)
        return True

    def frames(self) -> Iterator[Frame]:
        """Until the connection is closed; `ConnectionResetError` when it is reset."""
        while True:
            while len(self._unread) < 9:
                if not self._fill():
                    return
            frame, length = Frame.parse_frame_header(memoryview(self._unread[:9]))
            while len(self._unread) < 9 + length:
                if not self._fill():
                    return
            frame.parse_body(memoryview(self._unread[9 : 9 + length]))
            self._unread = self._unread[9 + length :]
            yield frame

    def _fill(self) -> bool:
        try:
            got = self.socket.recv(65536)
        except ssl.SSLEOFError:
            return False
        self._unread += got
        return bool(got)

    def ending(self) -> Ending:
        """Reads to the end, answering neither SETTINGS nor PING."""
        seen: list[Frame] = []
        try:
            for frame in self.frames():
                seen.append(frame)
        except (ConnectionResetError, BrokenPipeError):
            return Ending(seen, True)
        return Ending(seen, False)

    def answers(self, streams: set[int]) -> dict[int, dict[str, str]]:
        """Headers and trailers of these streams when all have ended; `reset` for those that were reset, with the
        code. PING and
        SETTINGS are answered."""
        found: dict[int, dict[str, str]] = {stream: {} for stream in streams}
        open_streams = set(streams)
        for frame in self.frames():
            if isinstance(frame, HeadersFrame):
                found.setdefault(frame.stream_id, {}).update(self.decode(frame))
            elif isinstance(frame, RstStreamFrame):
                found.setdefault(frame.stream_id, {})["reset"] = str(frame.error_code)
                open_streams.discard(frame.stream_id)
            elif isinstance(frame, GoAwayFrame):
                raise ConnectionError(f"GOAWAY {frame.error_code} {bytes(frame.additional_data)!r}")
            else:
                self.answer(frame)
            if "END_STREAM" in frame.flags:
                open_streams.discard(frame.stream_id)
            if not open_streams:
                return found
        raise ConnectionError(f"closed before {sorted(open_streams)} ended")

    def decode(self, frame: HeadersFrame) -> dict[str, str]:
        """The headers of the next frame of them; none may be left out."""
        assert "END_HEADERS" in frame.flags
        return dict(self._decoder.decode(frame.data))

    def remembered(self) -> set[str]:
        """Names of the headers that the server had the client keep, to name them by number from then on (RFC 7541)."""
        return {name.decode() for name, _ in self._decoder.header_table.dynamic_entries}

    def wait_for_pong(self, number: int) -> None:
        """Returns when the server has read everything up to now. `ConnectionError` when it ends the connection
        instead."""
        ping = PingFrame(opaque_data=number.to_bytes(8, "big"))
        self.send(ping.serialize())
        for frame in self.frames():
            if isinstance(frame, PingFrame) and frame.opaque_data == ping.opaque_data:
                return
            if isinstance(frame, GoAwayFrame):
                raise ConnectionError(f"GOAWAY {frame.error_code} {bytes(frame.additional_data)!r}")
            self.answer(frame)
        raise ConnectionError("closed")

    def answer(self, frame: Frame) -> None:
        """As a client that means well: acknowledges, and gives back the window of what it has read."""
        if isinstance(frame, PingFrame) and "ACK" not in frame.flags:
            self.send(PingFrame(opaque_data=frame.opaque_data, flags=["ACK"]).serialize())
        elif isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self.send(SettingsFrame(flags=["ACK"]).serialize())
        elif isinstance(frame, DataFrame) and frame.data:
            self.send(WindowUpdateFrame(0, len(frame.data)).serialize())


def trust(ca: Path, certificate: tuple[Path, Path] | None) -> ssl.SSLContext:
    """Of a client with this certificate, or none."""
    context = ssl.create_default_context(cafile=str(ca))
    context.set_alpn_protocols(["h2"])
    if certificate:
        context.load_cert_chain(*certificate)
    return context


def close_hard(connection: socket.socket) -> None:
    """With a reset, so that nothing of it stays behind in the system."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
