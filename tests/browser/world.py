"""Everything behind the page, as in production: a stand-in for Metabase, the real service, and a backend that speaks to
it over mutual TLS.

Prints one line of JSON when all of it answers: the URLs of Metabase, of the stand-in's control and of the backend, and the
secret. Ends when its standard input does; exit code 0 only if the service ended well and nobody logged a secret or token.
"""

import argparse
import json
import os
import secrets
import sys
import tempfile
from pathlib import Path

from cryptography import x509

from authority import Authority
from backend_process import BackendProcess, hold_port, program
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
# The stand-in counts what the browser asks.
probe_interval = "off"

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="node-express", help="folder of examples/backends; built already")
    parser.add_argument("--era", type=int, required=True, help="major version of Metabase")
    parser.add_argument("--app-origin", required=True, help="origin of the page that the backend accepts")
    told = parser.parse_args()
    secret = secrets.token_hex(32)
    holder = hold_port()
    port = holder.getsockname()[1]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        settings = {"site_url": "http://localhost", "jwt_identity_provider_uri": f"{local(port)}/sso/metabase"}
        with StandIn(secret, version=told.era, **settings) as metabase:
            url = local(int(metabase.url.rpartition(":")[2]))
            authority = Authority(folder / "ca")
            config = configuration(folder, authority, url, secret)
            binary = Path(os.environ["METABASE_TOKEN_SERVICE_BIN"])
            with ServerProcess(binary, secret, folder / "service.log", config) as service:
                environment = surroundings(service, authority) | {
                    "APP_ORIGINS": told.app_origin,
                    "PUBLIC_URL": local(port),
                }
                log = folder / "backend.log"
                with BackendProcess(program(told.backend), environment, log, holder) as backend:
                    urls = {"metabase": url, "control": metabase.control_url, "backend": local(port), "secret": secret}
                    print(json.dumps(urls), flush=True)
                    sys.stdin.read()
                if backend.logged_a_token or secret in log.read_text():
                    sys.exit("the backend logged a secret")


def local(port: int) -> str:
    """As browsers name this machine: `localhost` and `127.0.0.1` are two sites, and cookies know the difference."""
    return f"http://localhost:{port}"


def configuration(folder: Path, authority: Authority, metabase: str, secret: str) -> Path:
    server = authority.issue("server", [x509.DNSName("localhost")])
    secret_file = folder / "secret"
    secret_file.write_text(secret)
    secret_file.chmod(0o400)
    config = folder / "mts.toml"
    config.write_text(
        CONFIG.format(server=server, ca=authority.certificate, metabase=metabase, secret=secret_file, backend=BACKEND)
    )
    return config


def surroundings(service: ServerProcess, authority: Authority) -> dict[str, str]:
    """What the backend needs to know to reach the service, and to prove who it is."""
    certificate, key = authority.issue("backend", [x509.UniformResourceIdentifier(BACKEND)])
    return {
        "METABASE_TOKEN_SERVICE_ADDRESS": f"https://localhost:{service.address.rpartition(':')[2]}",
        "METABASE_TOKEN_SERVICE_TLS_CA": str(authority.certificate),
        "METABASE_TOKEN_SERVICE_TLS_CERTIFICATE": str(certificate),
        "METABASE_TOKEN_SERVICE_TLS_KEY": str(key),
    }


if __name__ == "__main__":
    main()
