"""Requests that are wrong in one way: each gets the answer that gRPC has for it, and never a token."""

import struct
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from honest import REQUEST
from service import Service
from wire import ISSUE, block, data_frame, head, headers_frame, message, request

PAYLOAD = REQUEST.SerializeToString()
WHOLE = message(PAYLOAD)
HEADERS = block(head())
# google.rpc.Code
OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED = (
    str(code) for code in (0, 1, 2, 3, 4, 8, 12)
)


def ask_all(connect, requests: dict[int, bytes], batch: int = 20) -> dict[int, dict[str, str]]:
    """The answers by stream, over as many connections as it takes."""
    numbers = sorted(requests)
    found: dict[int, dict[str, str]] = {}
    for first in range(0, len(numbers), batch):
        some = numbers[first : first + batch]
        with connect() as wire:
            wire.begin()
            wire.send(b"".join(requests[number] for number in some))
            found |= wire.answers(set(some))
    return found


def test_a_message_cut_at_every_byte(attack, connect, service: Service) -> None:
    """The stream ends after each of its bytes; in one frame, and in one frame for each byte."""
    with attack() as under:
        tokens = service.metric('caller_rpcs_total{caller="rogue",code="OK"}')
        told: Counter[str] = Counter()
        for in_pieces in (False, True):
            requests = {}
            for length in range(len(WHOLE)):
                at = 2 * length + 1
                cut = WHOLE[:length]
                parts = [cut[index : index + 1] for index in range(length)] if in_pieces else [cut]
                data = b"".join(data_frame(at, part) for part in parts) + data_frame(at, b"", "END_STREAM")
                requests[at] = headers_frame(at, HEADERS) + data
            # On one connection, many tiny frames of many requests at once end it.
            answers = ask_all(connect, requests, 1 if in_pieces else 20)
            assert len(answers) == len(WHOLE)
            told.update(answer["grpc-status"] for answer in answers.values())
        under.count(requests_cut=told.total(), INVALID_ARGUMENT=told[INVALID_ARGUMENT])
        assert set(told) == {INVALID_ARGUMENT}, told
        assert service.metric('caller_rpcs_total{caller="rogue",code="OK"}') == tokens


def test_a_payload_cut_at_every_byte(attack, connect) -> None:
    """The message says how long it is, and its protobuf ends too early: what decodes lacks a name, or is no message."""
    with attack() as under:
        requests = {
            2 * length + 1: request(2 * length + 1, PAYLOAD[:length], HEADERS) for length in range(len(PAYLOAD))
        }
        told = Counter(answer["grpc-status"] for answer in ask_all(connect, requests).values())
        under.count(requests_cut=told.total(), INVALID_ARGUMENT=told[INVALID_ARGUMENT])
        assert set(told) == {INVALID_ARGUMENT}, told


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        (struct.pack(">BI", 0, 64 * 1024 + 1) + b"x" * 60_000, {RESOURCE_EXHAUSTED}),
        pytest.param(struct.pack(">BI", 0, 2**32 - 1) + b"x", {RESOURCE_EXHAUSTED}, marks=pytest.mark.long),
        pytest.param(message(b"\xff" * 65_000), {INVALID_ARGUMENT}, marks=pytest.mark.long),
        (message(PAYLOAD) + message(PAYLOAD), {UNIMPLEMENTED, OK}),
        (struct.pack(">BI", 1, len(PAYLOAD)) + PAYLOAD, {INVALID_ARGUMENT, UNIMPLEMENTED}),
        pytest.param(struct.pack(">BI", 255, len(PAYLOAD)) + PAYLOAD, {INVALID_ARGUMENT}, marks=pytest.mark.long),
        pytest.param(b"", {INVALID_ARGUMENT}, marks=pytest.mark.long),
    ],
    ids=["too-large", "4-GiB", "no-protobuf", "two-messages", "compressed", "unknown-flag", "no-message"],
)
def test_a_wrong_message(attack, connect, body: bytes, statuses: set[str]) -> None:
    """Sizes and flags of the five bytes before a message."""
    count = 20
    frames = [body[at : at + 16_384] for at in range(0, len(body), 16_384)]

    def ask(_: int) -> str:
        with connect() as wire:
            wire.begin()
            data = b"".join(data_frame(1, part) for part in frames) + data_frame(1, b"", "END_STREAM")
            wire.send(headers_frame(1, HEADERS) + data)
            return wire.answers({1})[1].get("grpc-status", "reset")

    with attack() as under, ThreadPoolExecutor(count) as pool:
        for _ in under.rounds():
            told = Counter(pool.map(ask, range(count)))
            under.count(requests=count)
            assert set(told) <= statuses, told


@pytest.mark.parametrize("size", [17 * 1024, pytest.param(256 * 1024, marks=pytest.mark.long)])
def test_headers_that_are_too_large(attack, connect, size: int) -> None:
    """A little over the limit is 431; far over it ends the connection, or is 431."""
    big = block([*head(), ("x-large", "a" * size)])
    first, rest = big[:16_000], [big[at : at + 16_000] for at in range(16_000, len(big), 16_000)]
    frames = len(first).to_bytes(3, "big") + bytes([1, 1 if rest else 5]) + (1).to_bytes(4, "big") + first
    for index, part in enumerate(rest):
        end = 4 if index == len(rest) - 1 else 0
        frames += len(part).to_bytes(3, "big") + bytes([9, end]) + (1).to_bytes(4, "big") + part

    def ask(_: int) -> str:
        with connect() as wire:
            wire.begin()
            if not wire.try_send(frames, 10):
                return "closed"
            try:
                return wire.answers({1})[1].get(":status", "reset")
            except (ConnectionError, OSError):
                return "closed"

    with attack() as under, ThreadPoolExecutor(8) as pool:
        for _ in under.rounds():
            told = Counter(pool.map(ask, range(8)))
            under.count(requests=8)
            assert set(told) <= ({"431"} if size < 20_000 else {"431", "closed"}), told


CONTENT_TYPES = ["application/json", "text/plain", "application/grpc-web", "application/grpc-web-text", "", None]


def test_wrong_content_types(attack, connect) -> None:
    """What is not gRPC is told so in HTTP: 415 (gRPC over HTTP/2, "Requests")."""
    with attack() as under:
        for _ in under.rounds():
            requests = {
                2 * index + 1: request(2 * index + 1, PAYLOAD, block(head(ISSUE, content_type=kind)))
                for index, kind in enumerate(CONTENT_TYPES)
            }
            told = {number: answer[":status"] for number, answer in ask_all(connect, requests).items()}
            under.count(requests=len(requests))
            assert set(told.values()) == {"415"}, told
