"""A rotation under load: four clients issue tokens and sign in with them without pause while Metabase's secret is switched."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from metabase.token.v1 import token_service_pb2 as pb
from metabase.token.v1 import token_service_pb2_grpc as stubs

from metabase_caller import SDK, call
from server_process import ServerProcess
from standin_metabase import StandIn

CLIENTS = 4
DEADLINE_SECONDS = 60
NEXT = "9d3b1f6e28a4c7505b1d9e3f7a2c4860d1f5b9374ace8260193b5d7f8e6a4c20"
CONFIG = """
[server]
identity = {{ local = "shop" }}
[[instances]]
name = "main"
url = "{url}"
probe_interval = "1s"
shared_secret = {{ file = "{secret}" }}
next_shared_secret = {{ file = "{next}" }}
[[callers]]
name = "shop"
[[callers.grants]]
instance = "main"
email_domains = ["*"]
"""


@dataclass
class Load:
    """People who sign in without pause."""

    service: str
    metabase: StandIn
    version: int

    refused: list[float] = field(default_factory=list)
    """When sign-ins were refused, on the monotonic clock."""

    accepted: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """Answers that are neither."""

    def sign_in(self, jwt: str) -> tuple[int, str]:
        url = self.metabase.url
        if self.version >= 61:
            reply = call("POST", f"{url}/auth/sso", {"jwt": jwt}, SDK)
        elif self.version >= 58:
            reply = call("GET", f"{url}/auth/sso", headers=SDK, jwt=jwt)
        elif self.version >= 55:
            found = call("GET", f"{url}/auth/sso", headers=SDK).json
            reply = call("GET", f"{url}/auth/sso", headers=SDK | {"X-Metabase-SDK-JWT-Hash": found["hash"]}, jwt=jwt)
        else:
            reply = call("GET", f"{url}/auth/sso", token="true", jwt=jwt)
        return reply.status, reply.text

    def client(self, number: int, stop: threading.Event) -> None:
        user = pb.User(id=str(number), email=f"p{number}@example.com", first_name="Ada", last_name="Lovelace")
        request = pb.IssueMetabaseTokenRequest(user=user)
        with grpc.insecure_channel(self.service) as channel:
            service = stubs.MetabaseTokenServiceStub(channel)
            while not stop.is_set():
                try:
                    status, body = self.sign_in(service.IssueMetabaseToken(request, timeout=DEADLINE_SECONDS).jwt)
                except Exception as error:  # Whatever it is, it fails the test, and not only this thread.
                    self.failures.append(repr(error))
                    return
                if status == 200 and "id" in body:
                    self.accepted.append(time.monotonic())
                elif status == 401 and "corrupt" in body:
                    self.refused.append(time.monotonic())
                else:
                    self.failures.append(f"{status} {body}")

    @contextmanager
    def running(self) -> Iterator[None]:
        stop = threading.Event()
        threads = [threading.Thread(target=self.client, args=(number, stop)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def looks(metabase: StandIn) -> int:
    """How often the service has looked which secret Metabase holds; a look gets two answers, about either."""
    answered = [one["token"] for one in metabase.requests() if one["status"] == 401 and one["token"]]
    return sum(token["claims"] == {"iat": 0, "exp": 1} for token in answered) // 2


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.mark.parametrize("version", [54, 57, 58, 61])
def test_tokens_are_refused_for_one_probe_interval_when_metabase_is_switched_forth_and_back(
    start_metabase: Callable[..., StandIn],
    secret: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    version: int,
) -> None:
    metabase = start_metabase(version=version)
    files = {name: tmp_path / name for name in ("secret", "next")}
    for name, text in (("secret", secret), ("next", NEXT)):
        files[name].write_text(text)
        files[name].chmod(0o400)
    config = tmp_path / "config.toml"
    config.write_text(CONFIG.format(url=metabase.url, **files))
    with ServerProcess(Path(os.environ["METABASE_TOKEN_SERVICE_BIN"]), secret, tmp_path / "stderr", config) as server:
        load = Load(server.address, metabase, version)
        with load.running():
            for held in (NEXT, secret):
                wait_until(lambda: len(load.accepted) > 50)
                metabase.forget_requests()
                load.accepted.clear()
                load.refused.clear()
                switched = time.monotonic()
                metabase.change(jwt_shared_secret=held)
                # The first look after the switch tells, and when the next begins, all tokens are of the other secret.
                wait_until(lambda: looks(metabase) >= 2)
                after = time.monotonic()
                wait_until(lambda: looks(metabase) >= 3)
                assert not load.failures, load.failures
                late = [at for at in load.refused if at > after]
                assert not late, f"{len(late)} sign-ins were refused after the service had looked"
                assert load.refused, "the switch was not noticed at all"
                window = max(load.refused) - switched
                with capsys.disabled():
                    print(
                        f"\nversion {version}: after the switch {len(load.refused)} sign-ins were refused in {window:.2f} s, "
                        f"and {len(load.accepted)} were not; probe interval 1 s",
                        end="",
                    )
        assert not load.failures, load.failures
    assert metabase.counts()["people"] == CLIENTS
