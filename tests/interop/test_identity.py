"""Callers prove who they are to a configured server, with the real grpcurl: by client certificate and by bearer token."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from authority import Authority
from grpcurl import DEADLINE_SECONDS, SERVICE, Grpcurl
from server_process import ServerProcess

WEB = "spiffe://example.org/ns/shop/sa/web"
ACCOUNT = "system:serviceaccount:shop:web"
ISSUER = "https://cluster.example"
UNAUTHENTICATED = 16
PERMISSION_DENIED = 7
ADA = {"user": {"id": "1815", "email": "ada@example.com", "firstName": "Ada", "lastName": "Lovelace"}}
CONFIG = """
[server]
probe_listen = "127.0.0.1:0"
reflection = true
[server.tls]
certificate = "{server[0]}"
private_key = "{server[1]}"
client_ca = "{ca}"
[server.identity]
mtls = true
{jwt}
[[instances]]
name = "main"
shared_secret = {{ file = "{secret}" }}
[[callers]]
name = "shop"
identities = ["{web}", "{account}"]
[[callers.grants]]
instance = "main"
email_domains = ["example.com"]
"""
JWT = """
[[server.identity.jwt]]
issuer = "{issuer}"
audience = "mts"
jwks = "{jwks}"
"""


@dataclass
class Configured:
    """A server that knows callers by certificate, and maybe by bearer token."""

    server: ServerProcess
    authority: Authority

    def grpcurl(self, certificate: tuple[Path, Path] | None, *options: str) -> Grpcurl:
        own = ("-cert", certificate[0], "-key", certificate[1]) if certificate else ()
        trust = ("-cacert", self.authority.certificate, "-servername", "localhost")
        return Grpcurl(self.server.address, (*trust, *own, *options))

    def client(self, name: str, *uris: str) -> tuple[Path, Path]:
        return self.authority.issue(name, [x509.UniformResourceIdentifier(uri) for uri in uris])


def configured(folder: Path, secret: str, jwt_section: str = "") -> Iterator[Configured]:
    authority = Authority(folder / "ca")
    server = authority.issue("server", [x509.DNSName("localhost")])
    secret_file = folder / "secret"
    secret_file.write_text(secret)
    secret_file.chmod(0o400)
    config = folder / "mts.toml"
    text = CONFIG.format(
        server=server, ca=authority.certificate, secret=secret_file, web=WEB, account=ACCOUNT, jwt=jwt_section
    )
    config.write_text(text)
    binary = Path(os.environ["METABASE_TOKEN_SERVICE_BIN"])
    with ServerProcess(binary, secret, folder / "stderr", config) as running:
        yield Configured(running, authority)


@pytest.fixture(scope="module")
def by_certificate(secret: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Configured]:
    """Only certificates count."""
    yield from configured(tmp_path_factory.mktemp("certificate"), secret)


@pytest.fixture(scope="module")
def cluster_key() -> ec.EllipticCurvePrivateKey:
    """The key of the cluster that issues bearer tokens."""
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def by_token(
    secret: str, cluster_key: ec.EllipticCurvePrivateKey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Configured]:
    """Bearer tokens count, too."""
    folder = tmp_path_factory.mktemp("token")
    jwk = jwt.algorithms.ECAlgorithm.to_jwk(cluster_key.public_key(), as_dict=True) | {"kid": "k", "alg": "ES256"}
    jwks = folder / "jwks.json"
    jwks.write_text(json.dumps({"keys": [jwk]}))
    yield from configured(folder, secret, JWT.format(issuer=ISSUER, jwks=jwks))


def test_a_client_certificate_is_a_caller(by_certificate: Configured) -> None:
    grpcurl = by_certificate.grpcurl(by_certificate.client("web", WEB))
    assert grpcurl.issue(ADA)["jwt"]
    assert SERVICE in grpcurl.text("list").splitlines()


def test_without_a_good_certificate_there_is_no_connection(by_certificate: Configured, tmp_path: Path) -> None:
    foreign = Authority(tmp_path).issue("web", [x509.UniformResourceIdentifier(WEB)])
    assert by_certificate.grpcurl(None).cannot_connect()
    assert by_certificate.grpcurl(foreign).cannot_connect()


def test_a_certificate_that_names_nobody_is_refused_with_the_reason(by_certificate: Configured) -> None:
    method = f"{SERVICE}/IssueMetabaseToken"
    for name, uris, code, reason in [
        ("two", (WEB, "spiffe://example.org/x"), UNAUTHENTICATED, "CERTIFICATE_NAMES_NO_CALLER"),
        ("other", ("spiffe://example.org/other",), PERMISSION_DENIED, "UNKNOWN_CALLER"),
    ]:
        connection = by_certificate.grpcurl(by_certificate.client(name, *uris)).connection
        # Reflection is refused as well, so the contract comes from the file.
        proto = Path(__file__).parents[2] / "proto"
        offline = ("-import-path", proto, "-proto", "metabase/token/v1/token_service.proto")
        error = Grpcurl(by_certificate.server.address, (*connection, *offline)).refusal(method, ADA)
        assert (error.code, error.detail("ErrorInfo")["reason"]) == (code, reason)


def test_reflection_needs_a_caller(by_certificate: Configured) -> None:
    two = by_certificate.client("reflecting", WEB, "spiffe://example.org/x")
    done = by_certificate.grpcurl(two).run("list")
    assert (done.returncode, done.stdout) == (1, "")
    assert "code = Unauthenticated" in done.stderr


def test_a_probe_needs_no_certificate(by_certificate: Configured) -> None:
    health = [by_certificate.server.binary, "health", "--service", "readiness", "--address"]
    done = subprocess.run(
        [*health, by_certificate.server.probe_address], capture_output=True, text=True, timeout=DEADLINE_SECONDS
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "SERVING\n", "")


def test_a_bearer_token_is_a_caller(by_token: Configured, cluster_key: ec.EllipticCurvePrivateKey) -> None:
    claims = {"iss": ISSUER, "sub": ACCOUNT, "aud": ["mts"], "exp": int(time.time()) + 600}
    token = jwt.encode(claims, cluster_key, algorithm="ES256", headers={"kid": "k"})
    assert by_token.grpcurl(None, "-H", f"authorization: Bearer {token}").issue(ADA)["jwt"]
