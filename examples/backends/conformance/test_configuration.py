"""A setting that would be unsafe, or that browsers would not follow, ends the backend at once, with its name."""

from pathlib import Path

import pytest

from backend_process import DEADLINE_SECONDS, Program, hold_port

HTTPS = {"METABASE_TOKEN_SERVICE_ADDRESS": "https://localhost:1"}
CERTIFICATE = HTTPS | {
    "METABASE_TOKEN_SERVICE_TLS_CA": "ca.pem",
    "METABASE_TOKEN_SERVICE_TLS_CERTIFICATE": "certificate.pem",
}


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"APP_ORIGINS": "*"}, "APP_ORIGINS"),
        ({"APP_ORIGINS": "https://app.example.com/"}, "APP_ORIGINS"),
        ({"COOKIE_SAMESITE": "None"}, "COOKIE_SAMESITE"),
        ({"COOKIE_SAMESITE": "Sometimes"}, "COOKIE_SAMESITE"),
        (HTTPS, "METABASE_TOKEN_SERVICE_TLS_CA"),
        # The attack: whoever sets the address takes the TLS away.
        ({"METABASE_TOKEN_SERVICE_TLS_CA": "ca.pem"}, "METABASE_TOKEN_SERVICE_TLS_CA"),
        (CERTIFICATE, "METABASE_TOKEN_SERVICE_TLS_KEY"),
    ],
)
def test_an_unsafe_setting_is_refused(
    backend: Program, tmp_path: Path, environment: dict[str, str], named: str
) -> None:
    log = tmp_path / "log"
    with hold_port() as holder:
        process = backend.start(f"127.0.0.1:{holder.getsockname()[1]}", environment, log)
        try:
            assert process.wait(timeout=DEADLINE_SECONDS) != 0
        finally:
            process.kill()
            process.wait()
    assert named.lower() in log.read_text().lower()
