"""A person with grpcurl and nothing else finds out everything about the service and uses it."""

import json
import os
import re
import subprocess
from typing import Any

import pytest

import contract
from grpcurl import GRPCURL, INVALID_ARGUMENT, NOT_FOUND, SERVICE, Grpcurl
from jwt_libraries import PyJwt
from server_process import ServerProcess

CONTRACT = contract.read()
ADA = {"email": "ada@example.com", "firstName": "Ada", "lastName": "Lovelace"}


def test_every_service_is_listed(grpcurl: Grpcurl) -> None:
    assert set(grpcurl.text("list").split()) == {
        SERVICE,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_both_versions_of_reflection_answer(grpcurl: Grpcurl, version: str) -> None:
    method = f"grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    answer = grpcurl.call(method, {"listServices": ""})
    assert {"name": SERVICE} in answer["listServicesResponse"]["service"]


def test_both_rpcs_are_listed(grpcurl: Grpcurl) -> None:
    assert grpcurl.text("list", SERVICE).split() == [f"{SERVICE}.CheckAuthStatus", f"{SERVICE}.IssueMetabaseToken"]


@pytest.mark.parametrize("described", CONTRACT, ids=lambda described: described.name.rpartition(".")[2])
def test_the_contract_is_described_with_its_comments(grpcurl: Grpcurl, described: contract.Described) -> None:
    shown = grpcurl.text("describe", described.name)
    simple_name = described.name.rpartition(".")[2]
    declaration = re.escape(described.comment) + rf"(message|enum|service) {simple_name} {{\n"
    assert re.search(declaration, shown), f"{described.name} and its comment are not in\n{shown}"
    assert described.members
    for member in described.members:
        if member.number is None:
            wanted = re.escape(member.comment) + rf"rpc {member.name} \("
        else:
            wanted = re.escape(member.comment) + rf"(\S.* )?{member.name} = {member.number};\n"
        assert re.search(wanted, shown), f"{member} is not in\n{shown}"


def test_both_rpcs_can_be_called(grpcurl: Grpcurl) -> None:
    issued = grpcurl.issue({"user": ADA})
    judged = grpcurl.check({"jwt": issued["jwt"]})
    assert judged["status"] == "AUTH_STATUS_SUCCESS"
    assert judged["reason"] == "AUTH_STATUS_REASON_ACCEPTED"
    assert judged["user"] == ADA
    assert judged["tokenFingerprint"] == issued["tokenFingerprint"]


def test_the_printed_line_works_when_pasted(server: ServerProcess, secret: str) -> None:
    path = f"{GRPCURL.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", server.grpcurl_line],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "@" in PyJwt().verify(json.loads(done.stdout)["jwt"], secret).claims["email"]


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        ({}, {"user"}),
        ({"user": {}}, {"user.email", "user.first_name", "user.last_name"}),
        (
            {
                "user": {"email": "nobody", "firstName": " ", "lastName": "L"},
                "groups": {"names": ["Customers", ""]},
                "attributes": {"iat": "1", "plan": "gold"},
                "tenant": {"slug": ""},
                "lifetime": "1s",
                "returnTo": "https://evil.example/",
            },
            {
                "user.email",
                "user.first_name",
                "groups.names[1]",
                'attributes["iat"]',
                "tenant.slug",
                "lifetime",
                "return_to",
            },
        ),
    ],
    ids=["empty", "empty user", "everything wrong"],
)
def test_every_violation_is_named_at_once(grpcurl: Grpcurl, request_: dict[str, Any], fields: set[str]) -> None:
    refusal = grpcurl.refusal(f"{SERVICE}/IssueMetabaseToken", request_)
    assert refusal.code == INVALID_ARGUMENT
    violations = refusal.violations()
    assert set(violations) == fields
    assert all(violations.values())


@pytest.mark.parametrize("rpc", ["IssueMetabaseToken", "CheckAuthStatus"])
def test_an_unknown_instance_is_not_found(grpcurl: Grpcurl, rpc: str) -> None:
    refusal = grpcurl.refusal(f"{SERVICE}/{rpc}", {"instance": "no-such-instance"})
    assert refusal.code == NOT_FOUND
    assert refusal.detail("ErrorInfo")["domain"] == "metabase-token-service"


@pytest.mark.parametrize("rpc", ["IssueMetabaseToken", "CheckAuthStatus"])
def test_grpcurl_shows_error_details_in_words(grpcurl: Grpcurl, rpc: str) -> None:
    refusal = grpcurl.refusal(f"{SERVICE}/{rpc}", {"instance": "no-such-instance"})
    assert [detail.get("domain") for detail in refusal.details] == ["metabase-token-service"], (
        f"reflection does not describe the types of error details, so grpcurl cannot show them: {refusal.details}"
    )


@pytest.mark.parametrize("service", ["", SERVICE, "liveness", "readiness"])
def test_health_is_serving(grpcurl: Grpcurl, service: str) -> None:
    assert grpcurl.call("grpc.health.v1.Health/Check", {"service": service}) == {"status": "SERVING"}


def test_health_of_an_unknown_service_is_not_found(grpcurl: Grpcurl) -> None:
    assert grpcurl.refusal("grpc.health.v1.Health/Check", {"service": "no-such-service"}).code == NOT_FOUND
