"""The stand-in breaks on demand, is steered over HTTP, tells what it was asked, and holds a load."""

import hashlib
import http.client
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from authority import Authority
from metabase_caller import SDK, Reply, call, token
from standin_metabase import StandIn

HERE = Path(__file__).parent
DEADLINE_SECONDS = 60


def health(metabase: StandIn) -> Reply:
    return call("GET", f"{metabase.url}/api/health")


def test_while_it_starts_everything_is_a_503(metabase: StandIn, secret: str) -> None:
    metabase.fault("initializing", progress=0.5)
    reply = health(metabase)
    assert (reply.status, reply.json) == (503, {"status": "initializing", "progress": 0.5})
    for path in ("/api/user/current", "/auth/sso"):
        reply = call("GET", f"{metabase.url}{path}", headers=SDK, jwt=token(secret))
        assert (reply.status, reply.text) == (503, "Metabase is still initializing. Please sit tight...")
    assert call("GET", f"{metabase.url}/livez").status == 200
    assert metabase.counts()["sessions"] == 0
    metabase.end_faults()
    assert health(metabase).status == 200


@pytest.mark.parametrize(
    ("fault", "status", "content", "part"),
    [
        ({"kind": "no_database"}, 503, "application/json", b'"Unable to get app-db connection"'),
        ({"kind": "html"}, 502, "text/html", b"<html>"),
        ({"kind": "html", "status": 404}, 404, "text/html", b"<html>"),
        ({"kind": "stack_trace"}, 500, "application/json", b'"trace"'),
        ({"kind": "garbage_json"}, 200, "application/json", b'{"id": "\xff\xfe'),
    ],
)
def test_other_bodies(metabase: StandIn, fault: dict[str, Any], status: int, content: str, part: bytes) -> None:
    metabase.fault(**fault)
    reply = health(metabase)
    assert (reply.status, reply.headers["Content-Type"].startswith(content), part in reply.body) == (status, True, True)


def test_redirects(metabase: StandIn) -> None:
    metabase.fault("redirect", location="http://127.0.0.1:1/")
    assert (health(metabase).status, health(metabase).headers["Location"]) == (302, "http://127.0.0.1:1/")


def test_the_date(metabase: StandIn) -> None:
    for value in ("yesterday", "Thu, 01 Jan 1970 00:00:00 GMT"):
        metabase.fault("date", value=value, times=1)
        assert health(metabase).headers["Date"] == value
    metabase.fault("date", value="", times=1)
    assert "Date" not in health(metabase).headers
    metabase.fault("date", seconds=-86_400 * 366, times=1)
    assert health(metabase).headers["Date"] != health(metabase).headers["Date"]


@pytest.mark.parametrize("after_bytes", [None, 3])
def test_resets(metabase: StandIn, after_bytes: int | None) -> None:
    metabase.fault("reset", bytes=after_bytes)
    with pytest.raises(ConnectionResetError):
        health(metabase)


def test_a_body_shorter_than_declared(metabase: StandIn) -> None:
    metabase.fault("truncated")
    with pytest.raises(http.client.IncompleteRead):
        health(metabase)


@pytest.mark.parametrize("kind", ["oversized", "endless"])
def test_too_large_a_body(metabase: StandIn, kind: str) -> None:
    metabase.fault(kind, bytes=1_000_000)
    reply = health(metabase)
    assert (len(reply.body), reply.json) == (1_000_000 + len(b'{"status": "ok"}'), {"status": "ok"})
    assert ("Content-Length" in reply.headers) is (kind == "oversized")


@pytest.mark.parametrize("kind", ["hang", "drip"])
def test_an_answer_that_does_not_come_ends_with_the_standin(metabase: StandIn, kind: str) -> None:
    metabase.fault(kind, seconds=3600)
    connection = http.client.HTTPConnection(metabase.url.removeprefix("http://"), timeout=0.2)
    connection.request("GET", "/api/health")
    with pytest.raises(TimeoutError):
        connection.getresponse().read()
    connection.close()


def test_a_late_answer_is_the_true_one(metabase: StandIn) -> None:
    metabase.fault("hang", seconds=0.05, times=1)
    metabase.fault("drip", seconds=0.01, times=1)
    assert [health(metabase).json, health(metabase).json] == [{"status": "ok"}] * 2


def test_a_fault_meets_what_it_is_for(metabase: StandIn) -> None:
    metabase.fault("html", path="/auth", method="GET", times=2)
    assert health(metabase).status == 200
    assert call("POST", f"{metabase.url}/auth/sso", {}).status == 400
    assert [call("GET", f"{metabase.url}/auth/sso").status for _ in range(3)] == [502, 502, 302]
    for cannot in ({"kind": "no such"}, {"kind": "html", "colour": "red"}):
        with pytest.raises((TypeError, ValueError)):
            metabase.fault(**cannot)


def test_an_answer_can_be_lost_after_the_login(metabase: StandIn, secret: str) -> None:
    metabase.fault("reset", path="/auth/sso", after=True)
    with pytest.raises(ConnectionResetError):
        call("POST", f"{metabase.url}/auth/sso/to_session", {"jwt": token(secret)})
    assert metabase.counts()["sessions"] == 1


def test_requests_are_told_without_tokens_and_keys(metabase: StandIn, secret: str) -> None:
    jwt = token(secret, exp=1)
    call("GET", f"{metabase.url}/auth/sso", headers=SDK, jwt=jwt, return_to="/")
    call("POST", f"{metabase.url}/auth/sso/to_session", {"jwt": jwt})
    call("GET", f"{metabase.url}/api/user/current", headers={"X-API-Key": "a key", "Cookie": "a=b"})
    by_query, by_body, keyed = metabase.requests()
    assert by_query["query"] == {"jwt": "(given)", "return_to": "/"}
    assert (by_query["method"], by_query["path"], by_query["status"]) == ("GET", "/auth/sso", 401)
    for place, told in (("query", by_query["token"]), ("body", by_body["token"])):
        assert (told["in"], told["claims"]["exp"]) == (place, 1)
        assert told["sha256"] == hashlib.sha256(jwt.encode()).hexdigest()
    assert keyed["token"] is None
    assert (keyed["headers"]["x-api-key"], keyed["headers"]["cookie"]) == ("(given)", "(given)")
    assert jwt not in str(metabase.requests())
    metabase.forget_requests()
    assert metabase.requests() == []


def test_the_control_works_over_http(metabase: StandIn) -> None:
    def control(method: str, path: str, **arguments: Any) -> Any:
        reply = call(method, f"{metabase.control_url}{path}", arguments or None)
        return reply.json if reply.status == 200 else reply.status

    assert control("PATCH", "/settings", version=57, jwt_shared_secret="another")["version"] == 57
    assert control("GET", "/settings")["jwt_shared_secret"] == "set"
    assert control("PATCH", "/settings", no_such=1) == 400
    assert control("POST", "/groups", name="Sales") == {"id": 4}
    assert control("GET", "/groups")["Sales"] == 4
    assert control("PUT", "/tenants", slug="acme")["active"]
    assert control("GET", "/tenants")[0]["slug"] == "acme"
    assert control("POST", "/people", email="a@b.c", groups=["Sales"])["groups"] == [1, 4]
    assert control("POST", "/people", email="a@b.c") == 400
    assert not control("PATCH", "/people", email="a@b.c", active=False)["active"]
    assert control("GET", "/people")[0]["email"] == "a@b.c"
    assert control("POST", "/sessions", email="a@b.c").keys() == {"id"}
    assert control("GET", "/sessions")[0]["email"] == "a@b.c"
    assert control("DELETE", "/sessions") == 204
    assert control("POST", "/api-keys", group="Sales").keys() == {"key"}
    assert control("POST", "/faults", kind="html", times=1) == 204
    assert control("GET", "/faults")[0]["kind"] == "html"
    assert health(metabase).status == 502
    assert control("DELETE", "/faults") == 204
    assert control("GET", "/requests")[0]["fault"] == "html"
    assert control("DELETE", "/requests") == 204
    expected = {"people": 1, "active_people": 0, "groups": 4, "tenants": 1, "sessions": 0, "logins": 0, "requests": 0}
    assert control("GET", "/counts") == expected
    assert control("GET", "/no-such") == 404
    # And not through Metabase's own port.
    assert call("GET", f"{metabase.url}/counts").headers["Content-Type"].startswith("text/html")


@pytest.fixture
def process(secret: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The stand-in as a process that ends with its input, over TLS."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("metabase", [x509.IPAddress(ip_address("127.0.0.1"))])
    (tmp_path / "secret").write_text(f"{secret}\n")
    files = ["--secret-file", tmp_path / "secret", "--tls-cert", certificate, "--tls-key", key]
    command = [sys.executable, "-m", "standin_metabase", "--port", "0", "--era", "58", *files, "--end-with-stdin"]
    command += ["--set", "use_tenants=true"]
    environment = os.environ | {"PYTHONPATH": str(HERE)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        yield running
        running.kill()


@pytest.mark.parametrize("end", ["SIGTERM", "input"])
def test_the_process_says_where_it_listens_and_ends(
    process: subprocess.Popen[str], secret: str, tmp_path: Path, end: str
) -> None:
    assert process.stdout
    assert process.stdin
    metabase = process.stdout.readline().strip().removeprefix("metabase on ")
    control = process.stdout.readline().strip().removeprefix("control on ")
    assert process.stdout.readline() == "ready\n"
    tls = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    assert metabase.startswith("https://")
    assert call("GET", f"{metabase}/auth/sso", headers=SDK, tls=tls, jwt=token(secret)).status == 200
    settings = call("GET", f"{control}/settings").json
    assert (settings["version"], settings["use_tenants"]) == (58, True)
    if end == "SIGTERM":
        process.send_signal(signal.SIGTERM)
    else:
        process.stdin.close()
    assert process.wait(timeout=DEADLINE_SECONDS) == 0


def test_many_at_once_are_answered(metabase: StandIn, secret: str) -> None:
    jwt = token(secret)
    url = f"{metabase.url}/auth/sso/to_session"
    with ThreadPoolExecutor(32) as callers:
        statuses = list(callers.map(lambda _: call("POST", url, {"jwt": jwt}).status, range(400)))
    assert statuses == [200] * 400
    counts = metabase.counts()
    assert (counts["sessions"], counts["people"], counts["requests"]) == (400, 1, 400)
