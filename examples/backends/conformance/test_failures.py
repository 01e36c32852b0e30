"""The service is asked in bounded time and with care, and its failures become answers that a browser can be shown."""

import time

import grpc
import pytest
from metabase.token.v1 import token_service_pb2 as pb

from backend_process import BackendProcess
from browser import REDIRECT, SDK, STATUS, Browser, assert_failure
from fake_service import DETAIL, FakeService

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
FAILURES = {
    grpc.StatusCode.PERMISSION_DENIED: (403, "NO_ACCESS"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (429, "TOO_MANY_REQUESTS"),
    grpc.StatusCode.DEADLINE_EXCEEDED: (503, "TRY_AGAIN"),
    grpc.StatusCode.INVALID_ARGUMENT: (500, "MISCONFIGURED"),
    grpc.StatusCode.FAILED_PRECONDITION: (500, "MISCONFIGURED"),
    grpc.StatusCode.NOT_FOUND: (500, "MISCONFIGURED"),
    grpc.StatusCode.INTERNAL: (500, "MISCONFIGURED"),
    grpc.StatusCode.UNIMPLEMENTED: (500, "MISCONFIGURED"),
    grpc.StatusCode.UNKNOWN: (500, "MISCONFIGURED"),
    # Not 401: the person is signed in; it is the backend that the service does not know.
    grpc.StatusCode.UNAUTHENTICATED: (500, "MISCONFIGURED"),
}


def test_the_request_says_who_and_nothing_else(ada: Browser, fake: FakeService) -> None:
    assert ada.get(SDK).json() == {"jwt": "token-1"}
    expected = pb.IssueMetabaseTokenRequest(
        instance="main",
        user=pb.User(id="1001", email="ada@example.com", first_name="Ada", last_name="Lovelace"),
        groups=pb.GroupList(names=["Customers", "Region EMEA"]),
        attributes={"customer_id": "42", "region": "emea"},
    )
    assert fake.issued == [expected]


def test_return_to_is_passed_as_it_is_meant(ada: Browser, fake: FakeService) -> None:
    for query, expected in [
        ("?return_to=/a?b=c&d=%20e", "/a?b=c&d=%20e"),
        ("?return_to=%2Fa%3Fb%3Dc%26d%3De", "/a?b=c&d=e"),
        ("", "/"),
    ]:
        assert ada.get(REDIRECT + query).headers["location"].startswith("http://metabase.example/auth/sso?jwt=token-")
        assert fake.issued[-1].HasField("return_to")
        assert (fake.issued[-1].return_to or "/") == expected


def test_every_request_gets_a_token_of_its_own(ada: Browser, fake: FakeService) -> None:
    assert [ada.get(SDK).json()["jwt"] for _ in range(3)] == ["token-1", "token-2", "token-3"]
    assert len(fake.issued) == 3


@pytest.mark.parametrize("path", [SDK, REDIRECT, STATUS])
def test_every_rpc_has_a_deadline(ada: Browser, fake: FakeService, path: str) -> None:
    ada.get(path)
    assert fake.seconds_left
    for seconds in fake.seconds_left:
        assert seconds is not None
        assert 0 < seconds <= 5


@pytest.mark.parametrize("path", [SDK, REDIRECT, STATUS])
def test_unavailable_is_tried_again(ada: Browser, fake: FakeService, path: str) -> None:
    fake.failures.append(UNAVAILABLE)
    assert ada.get(path).status_code in (200, 302, 303)
    assert len(fake.issued) == 2


def test_a_status_check_is_tried_again(ada: Browser, fake: FakeService) -> None:
    # The token's RPC takes no failure; the fake's queue is filled once it is through.
    fake.judgement.reason = pb.AUTH_STATUS_REASON_ACCEPTED
    fake.failures.extend([UNAVAILABLE, UNAVAILABLE])
    assert ada.get(STATUS).status_code == 200
    assert len(fake.issued) + len(fake.checked) == 4


def test_tries_come_to_an_end(ada: Browser, fake: FakeService) -> None:
    fake.failures.extend([UNAVAILABLE] * 100)
    answer = ada.get(SDK)
    assert_failure(answer, 503, "TRY_AGAIN")
    assert int(answer.headers["retry-after"]) >= 1
    assert 2 <= len(fake.issued) <= 5


@pytest.mark.parametrize("path", [SDK, REDIRECT, STATUS])
@pytest.mark.parametrize("code", FAILURES, ids=lambda code: code.name)
def test_failures_are_told_once_and_safely(ada: Browser, fake: FakeService, path: str, code: grpc.StatusCode) -> None:
    fake.failures.append(code)
    answer = ada.get(path)
    status, word = FAILURES[code]
    assert_failure(answer, status, word)
    assert DETAIL not in answer.text
    assert ("retry-after" in answer.headers) == (status in (429, 503))
    assert len(fake.issued) == 1, f"{code.name} was tried again"


@pytest.mark.parametrize("path", [SDK, REDIRECT, STATUS])
def test_a_shared_account_is_told_as_such(ada: Browser, fake: FakeService, path: str) -> None:
    fake.failures.append(grpc.StatusCode.FAILED_PRECONDITION)
    fake.reason = "SHARED_ACCOUNT"
    answer = ada.get(path)
    assert_failure(answer, 409, "SHARED_ACCOUNT")
    assert DETAIL not in answer.text
    # Every other reason is a mistake of the set-up.
    fake.failures.append(grpc.StatusCode.FAILED_PRECONDITION)
    fake.reason = "METABASE_URL_NOT_CONFIGURED"
    assert_failure(ada.get(path), 500, "MISCONFIGURED")


@pytest.mark.parametrize("path", [SDK, STATUS])
def test_a_service_that_does_not_answer_is_given_up(ada: Browser, fake: FakeService, path: str) -> None:
    fake.answers.clear()
    answer = ada.get(path)
    assert_failure(answer, 503, "TRY_AGAIN")
    assert int(answer.headers["retry-after"]) >= 1


def test_a_service_that_is_gone_is_found_again(ada: Browser, fake: FakeService) -> None:
    assert ada.get(SDK).status_code == 200
    fake.stop()
    try:
        for _ in range(3):
            assert_failure(ada.get(SDK), 503, "TRY_AGAIN")
    finally:
        fake.start()
    until = time.monotonic() + 30
    while (answer := ada.get(SDK)).status_code == 503 and time.monotonic() < until:
        time.sleep(0.1)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (pb.AUTH_STATUS_UNINITIALIZED, pb.AUTH_STATUS_REASON_UNSPECIFIED, ("uninitialized", "UNSPECIFIED")),
        (pb.AUTH_STATUS_LOADING, pb.AUTH_STATUS_REASON_METABASE_STARTING, ("loading", "METABASE_STARTING")),
        (pb.AUTH_STATUS_SUCCESS, pb.AUTH_STATUS_REASON_ACCEPTED, ("success", "ACCEPTED")),
        (pb.AUTH_STATUS_ERROR, pb.AUTH_STATUS_REASON_SIGNATURE_MISMATCH, ("error", "SIGNATURE_MISMATCH")),
    ],
)
def test_a_bad_status_is_an_answer(
    ada: Browser,
    before_fake: BackendProcess,
    fake: FakeService,
    status: int,
    reason: int,
    expected: tuple[str, str],
) -> None:
    warning = f"Careful with {expected[1]}."
    fake.judgement = pb.CheckAuthStatusResponse(status=status, reason=reason, message="Why.", warnings=[warning])
    answer = ada.get(STATUS)
    assert answer.status_code == 200
    assert answer.json() == {"status": expected[0], "reason": expected[1], "message": "Why."}
    assert fake.checked == [pb.CheckAuthStatusRequest(instance="main", jwt="token-1")]
    # Warnings are for operators.
    assert before_fake.log.read_text().count(warning) == 1
