"""What checks are handed: each backend in turn, before the real service over mutual TLS, and before one that fails."""

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from authority import Authority
from backend_process import COMMANDS, BackendProcess, Program, program
from browser import Browser
from fake_service import FakeService
from mutants import mutant
from server_process import ServerProcess
from standin_metabase import StandIn

BACKEND = "spiffe://example.org/ns/shop/sa/backend"
CONFIG = """
[server.tls]
certificate = "{server[0]}"
private_key = "{server[1]}"
client_ca = "{ca}"
[server.identity]
mtls = true
[server.drain]
announce_delay = "0s"

[[instances]]
name = "main"
url = "{metabase}"
shared_secret = {{ file = "{secret}" }}

[[callers]]
name = "backend"
identities = ["{backend}"]
[[callers.grants]]
instance = "main"
email_domains = ["example.com"]
groups = ["Customers", "Region *"]
attributes = {{ customer_id = "integer", region = ["emea", "apac"] }}
required_attributes = ["customer_id"]
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    names = ", ".join(COMMANDS)
    parser.addoption("--backend", action="append", help=f"only this one (repeatable): {names}")
    parser.addoption("--mutant", help="the Python backend with a seeded mistake, a name of mutants.py")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        mistake = metafunc.config.getoption("mutant")
        names = metafunc.config.getoption("backend") or list(COMMANDS)
        metafunc.parametrize("backend", [mistake] if mistake else names, scope="session", indirect=True)


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The five, one after the other; or a mutant."""
    if request.config.getoption("mutant"):
        return mutant(request.param, tmp_path_factory.mktemp("mutant"))
    return program(request.param)


@pytest.fixture(scope="session")
def secret() -> str:
    """64 hexadecimal characters, as Metabase generates them; another one in every run."""
    return secrets.token_hex(32)


@pytest.fixture(scope="session")
def metabase(secret: str) -> Iterator[StandIn]:
    """A stand-in for the newest Metabase, with nobody in it yet."""
    with StandIn(secret) as running:
        yield running


@dataclass
class Service:
    """The real service, and what a backend needs to know to reach it."""

    address: str
    authority: Authority
    client: tuple[Path, Path]

    @property
    def environment(self) -> dict[str, str]:
        return {
            "METABASE_TOKEN_SERVICE_ADDRESS": self.address,
            "METABASE_TOKEN_SERVICE_TLS_CA": str(self.authority.certificate),
            "METABASE_TOKEN_SERVICE_TLS_CERTIFICATE": str(self.client[0]),
            "METABASE_TOKEN_SERVICE_TLS_KEY": str(self.client[1]),
        }


@pytest.fixture(scope="session")
def service(secret: str, metabase: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """As in production: the caller proves who it is by certificate, and has a narrow grant."""
    folder = tmp_path_factory.mktemp("service")
    authority = Authority(folder / "ca")
    server = authority.issue("server", [x509.DNSName("localhost")])
    secret_file = folder / "secret"
    secret_file.write_text(secret)
    secret_file.chmod(0o400)
    config = folder / "mts.toml"
    config.write_text(
        CONFIG.format(
            server=server, ca=authority.certificate, metabase=metabase.url, secret=secret_file, backend=BACKEND
        )
    )
    binary = Path(os.environ["METABASE_TOKEN_SERVICE_BIN"])
    with ServerProcess(binary, secret, folder / "stderr", config) as running:
        address = f"https://localhost:{running.address.rpartition(':')[2]}"
        yield Service(address, authority, authority.issue("backend", [x509.UniformResourceIdentifier(BACKEND)]))


@pytest.fixture(scope="session")
def before_service(
    backend: Program, service: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BackendProcess]:
    """The backend, before the real service."""
    log = tmp_path_factory.mktemp("backend") / "log"
    with BackendProcess(backend, service.environment, log) as running:
        yield running


@pytest.fixture
def browser(before_service: BackendProcess) -> Browser:
    """A browser on a page of the app, with nobody signed in; the real service is behind the backend."""
    return Browser(before_service.url)


@pytest.fixture(scope="session")
def failing_service(backend: Program) -> Iterator[FakeService]:
    """The fake; one for each backend."""
    with FakeService() as running:
        yield running


@pytest.fixture(scope="session")
def before_fake(
    backend: Program, failing_service: FakeService, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BackendProcess]:
    """The backend, before the fake in plaintext as behind a sidecar, itself behind a proxy that ends TLS."""
    environment = {
        "METABASE_TOKEN_SERVICE_ADDRESS": f"http://127.0.0.1:{failing_service.port}",
        "METABASE_INSTANCE": "main",
        "PUBLIC_URL": "https://backend.example.com",
        "COOKIE_SAMESITE": "None",
    }
    log = tmp_path_factory.mktemp("backend") / "log"
    with BackendProcess(backend, environment, log) as running:
        yield running


@pytest.fixture
def fake(failing_service: FakeService, before_fake: BackendProcess) -> FakeService:
    """The fake, with nothing to remember."""
    failing_service.reset()
    return failing_service


@pytest.fixture
def ada(before_fake: BackendProcess, fake: FakeService) -> Browser:
    """A browser with Ada signed in; the fake is behind the backend."""
    proxy = {"x-forwarded-proto": "https", "x-forwarded-host": "backend.example.com"}
    return Browser(before_fake.url, **proxy).sign_in("ada")
