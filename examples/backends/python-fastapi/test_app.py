"""This backend alone, with a token service that is made up. ../conformance tests it before the real one."""

import grpc
import pytest
from fastapi.testclient import TestClient

from app import create_app, sso_query
from metabase.token.v1 import token_service_pb2 as pb
from settings import Settings
from token_service import TokenService


class Stub:
    """In place of the generated one."""

    def __init__(self, error: grpc.StatusCode | None = None) -> None:
        self.error = error

    async def IssueMetabaseToken(self, request: pb.IssueMetabaseTokenRequest, timeout: float):
        if self.error:
            raise grpc.aio.AioRpcError(self.error, grpc.aio.Metadata(), grpc.aio.Metadata(), "for operators")
        return pb.IssueMetabaseTokenResponse(jwt=f"for {request.user.email}", sso_url=f"http://bi{request.return_to}")


def client(stub: Stub) -> TestClient:
    return TestClient(create_app(Settings(), TokenService(stub, "")), follow_redirects=False)


def test_the_sdk_gets_a_token_for_who_is_signed_in() -> None:
    browser = client(Stub())
    assert browser.get("/sso/metabase?response=json").status_code == 401
    assert browser.post("/login", json={"user": "ada"}).status_code == 204
    assert browser.get("/sso/metabase?response=json").json() == {"jwt": "for ada@example.com"}
    assert browser.get("/sso/metabase?return_to=/a?b&c").headers["location"] == "http://bi/a?b&c"


def test_a_refusal_is_403() -> None:
    browser = client(Stub(grpc.StatusCode.PERMISSION_DENIED))
    browser.post("/login", json={"user": "alan"})
    answer = browser.get("/sso/metabase?response=json")
    assert (answer.status_code, answer.json()["code"]) == (403, "NO_ACCESS")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("response=json", (True, "/")),
        ("return_to=%2Fa%3Fb%26c", (False, "/a?b&c")),
        ("x=1&return_to=/a?b&response=json", (False, "/a?b&response=json")),
    ],
)
def test_the_query_is_read_as_metabase_writes_it(query: str, expected: tuple[bool, str]) -> None:
    assert sso_query(query) == expected
