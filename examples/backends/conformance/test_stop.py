"""A backend that is stopped, as at every deployment, first answers those who have asked."""

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from backend_process import DEADLINE_SECONDS, BackendProcess, Program
from browser import SDK, Browser
from fake_service import FakeService

STALLS = b"""POST /login HTTP/1.1\r
Host: localhost\r
Content-Type: application/json\r
Content-Length: 99\r
Expect: 100-continue\r
\r
{"user": """


def test_who_has_asked_is_answered(backend: Program, tmp_path: Path) -> None:
    with FakeService() as fake, ThreadPoolExecutor() as pool:
        address = {"METABASE_TOKEN_SERVICE_ADDRESS": f"http://127.0.0.1:{fake.port}"}
        with BackendProcess(backend, address, tmp_path / "log") as running:
            ada = Browser(running.url).sign_in("ada")
            assert ada.get(SDK).status_code == 200
            fake.answers.clear()
            answer = pool.submit(ada.get, SDK)
            wait_until(lambda: len(fake.issued) == 2)
            running.ask_to_stop()
            wait_until(lambda: not listens(running.port))
            fake.answers.set()
            assert answer.result(DEADLINE_SECONDS).status_code == 200


def test_who_stalls_in_the_midst_of_a_request_is_not_waited_for(backend: Program, tmp_path: Path) -> None:
    address = {"METABASE_TOKEN_SERVICE_ADDRESS": "http://127.0.0.1:1"}
    with BackendProcess(backend, address, tmp_path / "log") as running:
        stalls = socket.create_connection(("127.0.0.1", running.port), DEADLINE_SECONDS)
        stalls.sendall(STALLS)
        # The backend waits for the rest.
        assert stalls.recv(1024).startswith(b"HTTP/1.1 100 ")
        # That it ends all the same, BackendProcess sees.
    stalls.close()


def listens(port: int) -> bool:
    with socket.socket() as browser:
        return browser.connect_ex(("127.0.0.1", port)) == 0


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + DEADLINE_SECONDS
    while not true():
        assert time.monotonic() < until, "never came true"
        time.sleep(0.01)
