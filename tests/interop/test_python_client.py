"""A Python backend with stubs that it generated from our .proto, and nothing else of ours."""

import os
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from metabase.token.v1 import token_service_pb2 as pb
from metabase.token.v1 import token_service_pb2_grpc as stubs

from jwt_libraries import PyJwt
from server_process import ServerProcess

DEADLINE_SECONDS = 60
ADA = pb.User(id="1815", email="ada@example.com", first_name="Ada", last_name="Lovelace")


@pytest.fixture(scope="module")
def service(server: ServerProcess) -> Iterator[stubs.MetabaseTokenServiceStub]:
    with grpc.insecure_channel(server.address) as channel:
        yield stubs.MetabaseTokenServiceStub(channel)


def test_a_token_is_issued_and_judged(service: stubs.MetabaseTokenServiceStub, secret: str) -> None:
    issued = service.IssueMetabaseToken(
        pb.IssueMetabaseTokenRequest(
            user=ADA,
            groups=pb.GroupList(names=["Customers"]),
            attributes={"customer_id": "42"},
            tenant=pb.Tenant(slug="acme", attributes={"tier": "2"}),
            lifetime=Duration(seconds=900),
        ),
        timeout=DEADLINE_SECONDS,
    )
    claims = PyJwt().verify(issued.jwt, secret).claims
    assert claims["exp"] - claims["iat"] == 900
    assert (issued.issue_time.seconds, issued.expire_time.seconds) == (claims["iat"], claims["exp"])
    assert not issued.sso_url

    judged = service.CheckAuthStatus(pb.CheckAuthStatusRequest(jwt=issued.jwt), timeout=DEADLINE_SECONDS)
    assert judged.status == pb.AUTH_STATUS_SUCCESS
    assert judged.reason == pb.AUTH_STATUS_REASON_ACCEPTED
    # The backend's own identifier does not enter the token.
    assert judged.user == pb.User(email="ada@example.com", first_name="Ada", last_name="Lovelace")
    assert judged.groups == pb.GroupList(names=["Customers"])
    assert dict(judged.attributes) == {"customer_id": "42"}
    assert judged.tenant == pb.Tenant(slug="acme", attributes={"tier": "2"})
    assert judged.issue_time == issued.issue_time
    assert judged.expire_time == issued.expire_time
    assert judged.exchange_deadline == issued.exchange_deadline
    assert judged.token_fingerprint == issued.token_fingerprint
    assert not judged.warnings


def test_a_unix_socket_takes_an_authority_from_the_client(secret: str, tmp_path: Path) -> None:
    # README.md: grpcio would name the path of the socket there, which no authority is.
    binary, socket = Path(os.environ["METABASE_TOKEN_SERVICE_BIN"]), f"unix:{tmp_path}/mts.sock"
    options = [("grpc.default_authority", "localhost")]
    with (
        ServerProcess(binary, secret, tmp_path / "stderr", listen=socket),
        grpc.insecure_channel(socket, options) as channel,
    ):
        service = stubs.MetabaseTokenServiceStub(channel)
        assert service.IssueMetabaseToken(pb.IssueMetabaseTokenRequest(user=ADA), timeout=DEADLINE_SECONDS).jwt


@pytest.mark.parametrize("groups", [None, pb.GroupList()], ids=["absent", "empty"])
def test_absent_and_empty_groups_are_told_apart(
    service: stubs.MetabaseTokenServiceStub, secret: str, groups: pb.GroupList | None
) -> None:
    request = pb.IssueMetabaseTokenRequest(user=ADA, groups=groups)
    issued = service.IssueMetabaseToken(request, timeout=DEADLINE_SECONDS)
    assert PyJwt().verify(issued.jwt, secret).claims.get("groups") == (None if groups is None else [])
    judged = service.CheckAuthStatus(pb.CheckAuthStatusRequest(jwt=issued.jwt), timeout=DEADLINE_SECONDS)
    assert judged.HasField("groups") == (groups is not None)


def test_a_present_and_empty_return_to_asks_for_a_url(service: stubs.MetabaseTokenServiceStub) -> None:
    request = pb.IssueMetabaseTokenRequest(user=ADA, return_to="")
    issued = service.IssueMetabaseToken(request, timeout=DEADLINE_SECONDS)
    assert issued.sso_url == f"https://metabase.example.com/auth/sso?jwt={issued.jwt}&return_to=%2F"


def test_violations_are_read_as_error_details(service: stubs.MetabaseTokenServiceStub) -> None:
    request = pb.IssueMetabaseTokenRequest(user=pb.User(email="ada"), lifetime=Duration(seconds=59))
    with pytest.raises(grpc.RpcError) as raised:
        service.IssueMetabaseToken(request, timeout=DEADLINE_SECONDS)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    status = rpc_status.from_call(raised.value)
    assert status is not None
    (detail,) = status.details
    bad_request = error_details_pb2.BadRequest()
    assert detail.Unpack(bad_request)
    violations = {violation.field: violation.description for violation in bad_request.field_violations}
    assert violations.keys() == {"user.email", "user.first_name", "user.last_name", "lifetime"}
    assert "59" in violations["lifetime"]


def test_an_unknown_instance_is_read_as_error_details(service: stubs.MetabaseTokenServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        service.CheckAuthStatus(pb.CheckAuthStatusRequest(instance="no-such-instance"), timeout=DEADLINE_SECONDS)
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND
    status = rpc_status.from_call(raised.value)
    assert status is not None
    (detail,) = status.details
    info = error_details_pb2.ErrorInfo()
    assert detail.Unpack(info)
    assert (info.domain, info.reason) == ("metabase-token-service", "UNKNOWN_INSTANCE")


def test_no_credential_is_uninitialized_without_a_reason(service: stubs.MetabaseTokenServiceStub) -> None:
    judged = service.CheckAuthStatus(pb.CheckAuthStatusRequest(), timeout=DEADLINE_SECONDS)
    assert judged.status == pb.AUTH_STATUS_UNINITIALIZED
    assert judged.reason == pb.AUTH_STATUS_REASON_UNSPECIFIED
    assert not judged.token_fingerprint
