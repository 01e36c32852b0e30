"""doctor names the cause of whatever keeps people from signing in, and has no effect on Metabase."""

import base64
import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from authority import Authority
from standin_metabase import StandIn

ADA = "ada@example.com"
OTHER = "9d3b1f6e28a4c7505b1d9e3f7a2c4860d1f5b9374ace8260193b5d7f8e6a4c20"
NOBODY_HAS = "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef"
FAILED, UNUSABLE = 3, 78
CONFIG = """
[server]
identity = {{ local = "shop" }}
[[instances]]
name = "main"
url = "{url}"
shared_secret = {{ file = "{secret}" }}
{lines}
[[callers]]
name = "shop"
[[callers.grants]]
instance = "main"
email_domains = ["*"]
"""


@dataclass
class Report:
    """What doctor printed."""

    exit_code: int
    text: str
    checks: list[dict[str, str]] = field(default_factory=list)

    def of(self, verdict: str) -> list[tuple[str, str]]:
        return [(one["check"], one["message"]) for one in self.checks if one["verdict"] == verdict]

    def names(self, verdict: str, check: str, cause: str) -> bool:
        """Whether this cause is told, with a way out, and no other is as bad."""
        worst = [one for one in self.checks if one["verdict"] == verdict and one["check"] != "hardening"]
        assert [one["check"] for one in worst] == [check], self.text
        assert cause in worst[0]["message"], self.text
        assert worst[0]["wayOut"], self.text
        return True


class Doctor:
    """Runs the binary against one configured instance."""

    def __init__(self, folder: Path, secret: str) -> None:
        self.folder, self.secret = folder, secret

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o400)
        return path

    def __call__(self, url: str, *options: str, lines: str = "", secret: str | None = None, more: str = "") -> Report:
        file = self.write(f"secret-{len(list(self.folder.iterdir()))}", self.secret if secret is None else secret)
        config = self.folder / "config.toml"
        config.write_text(CONFIG.format(url=url, secret=file, lines=lines) + more)
        binary = os.environ["METABASE_TOKEN_SERVICE_BIN"]
        command = [binary, "doctor", "--config", config, "--timeout", "2s", "--json", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        everything = done.stdout + done.stderr
        # Not by `in` within an assert: pytest would show what must not be shown.
        is_leaked = (secret or self.secret).strip() in everything or "eyJ" in everything
        assert not is_leaked, "doctor printed a secret or a token"
        assert not done.stderr, done.stderr
        return Report(done.returncode, done.stdout, json.loads(done.stdout)["checks"])


@pytest.fixture
def doctor(tmp_path: Path, secret: str) -> Doctor:
    return Doctor(tmp_path, secret)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def assert_untouched(metabase: StandIn) -> None:
    """Nobody was made, nobody signed in, and no token went out that could have done either."""
    counts = metabase.counts()
    assert (counts["people"], counts["sessions"], counts["logins"]) == (0, 0, 0)


@pytest.mark.parametrize("version", [54, 57, 58, 61])
def test_a_healthy_instance_is_ok_in_every_version(
    start_metabase: Callable[..., StandIn], doctor: Doctor, version: int
) -> None:
    metabase = start_metabase(version=version, site_url="http://127.0.0.1")
    report = doctor(metabase.url)
    assert (report.exit_code, [bad for bad in report.of("warn") if bad[0] != "hardening"]) == (0, []), report.text
    assert ("secret", "Metabase holds `shared_secret`") in report.of("ok")
    assert_untouched(metabase)


SETTINGS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "JWT off": ({"jwt_enabled": False}, "fail", "jwt-sso", "JWT single sign-on is off"),
    "no key": ({"jwt_shared_secret": ""}, "fail", "jwt-sso", "no key"),
    "no URI of the identity provider": ({"jwt_identity_provider_uri": ""}, "fail", "jwt-sso", "identity provider's URI"),
    "JWT off, and errors hidden": (
        {"jwt_enabled": False, "error_bodies": "hidden"},
        "fail",
        "jwt-sso",
        "JWT single sign-on is off",
    ),
    "SAML only": ({"jwt_enabled": False, "saml_enabled": True}, "fail", "jwt-sso", "SAML"),
    "open source": ({"edition": "oss"}, "fail", "licence", "open-source build"),
    "no licence": ({"licence": "missing"}, "fail", "licence", "no licence for JWT"),
    "licence lost": ({"licence": "lost"}, "fail", "licence", "no licence for JWT"),
    "SDK off": ({"enable_embedding_sdk": False}, "warn", "sdk", "switched off"),
    "SDK off, and errors hidden": (
        {"enable_embedding_sdk": False, "error_bodies": "hidden"},
        "warn",
        "sdk",
        "switched off",
    ),
    "SDK off before 61": ({"enable_embedding_sdk": False, "version": 58}, "warn", "sdk", "switched off"),
    "another secret": ({"jwt_shared_secret": NOBODY_HAS}, "fail", "secret", "Metabase holds another secret"),
    "another secret, in 57": (
        {"jwt_shared_secret": NOBODY_HAS, "version": 57},
        "fail",
        "secret",
        "Metabase holds another secret",
    ),
    "clock a little ahead": ({"clock_offset_seconds": 60}, "warn", "clock", "ahead of"),
    "clock far ahead": ({"clock_offset_seconds": 400}, "fail", "clock", "takes every token for too old"),
    "clock behind": ({"clock_offset_seconds": -60}, "warn", "clock", "behind"),
    "other site": ({"site_url": "https://bi.example.com"}, "warn", "url", "bi.example.com"),
}


@pytest.mark.parametrize("seeded", SETTINGS)
def test_settings_of_metabase_are_named(metabase: StandIn, doctor: Doctor, seeded: str) -> None:
    settings, verdict, check, cause = SETTINGS[seeded]
    metabase.change(**{"site_url": "http://127.0.0.1"} | settings)
    report = doctor(metabase.url)
    assert report.names(verdict, check, cause)
    assert report.exit_code == (FAILED if verdict == "fail" else 0)
    assert_untouched(metabase)


@pytest.mark.parametrize(
    ("alter", "cause"),
    [
        (lambda secret: secret + "\n", "with a line break after it"),
        (lambda secret: secret + " ", "with a space after it"),
        (lambda secret: f'"{secret}"', "in quotes"),
        (lambda secret: secret.upper(), "in the other case"),
        (lambda secret: base64.b64encode(secret.encode()).decode(), "the base64 of our secret"),
        (lambda secret: secret.encode().hex(), "the hexadecimal form of our secret"),
    ],
)
def test_a_secret_that_was_pasted_wrongly_into_metabase_is_named(
    metabase: StandIn, doctor: Doctor, secret: str, alter: Callable[[str], str], cause: str
) -> None:
    metabase.change(jwt_shared_secret=alter(secret))
    assert doctor(metabase.url).names("fail", "secret", cause)
    assert_untouched(metabase)


@pytest.mark.parametrize(
    ("alter", "check", "cause"),
    [
        (lambda secret: secret + "\n", "configuration", "ends with a line break"),
        (lambda secret: f"'{secret}'", "configuration", "wrapped in quotes"),
        (lambda secret: base64.b64encode(secret.encode()).decode(), "secret", "ours was encoded once too often"),
        (lambda secret: secret.encode().hex(), "secret", "ours was encoded once too often"),
        (lambda secret: secret[:20], "configuration", "has 20 bytes"),
    ],
)
def test_a_secret_that_was_stored_wrongly_here_is_named(
    metabase: StandIn, doctor: Doctor, secret: str, alter: Callable[[str], str], check: str, cause: str
) -> None:
    report = doctor(metabase.url, secret=alter(secret))
    assert report.names("fail", check, cause)
    assert report.exit_code == (UNUSABLE if check == "configuration" else FAILED)
    assert_untouched(metabase)


def test_a_secret_that_was_hex_decoded_here_is_named(metabase: StandIn, doctor: Doctor, secret: str) -> None:
    file = doctor.folder / "decoded"
    file.write_bytes(b"\xff" + bytes.fromhex(secret)[1:])
    file.chmod(0o400)
    lines = f'next_shared_secret = {{ file = "{file}" }}'
    report = doctor(metabase.url, lines=lines)
    assert report.names("fail", "configuration", "neither hex-decoded nor base64-decoded")
    assert_untouched(metabase)


def test_the_secret_of_guest_embedding_is_told_from_that_of_single_sign_on(
    metabase: StandIn, doctor: Doctor, secret: str
) -> None:
    metabase.change(jwt_shared_secret=OTHER, embedding_secret_key=secret)
    assert doctor(metabase.url).names("fail", "secret", "embedding secret key")
    assert_untouched(metabase)


def test_secrets_of_two_instances_that_were_exchanged_are_named(metabase: StandIn, doctor: Doctor) -> None:
    metabase.change(jwt_shared_secret=OTHER)
    other = doctor.write("other", OTHER)
    more = f'[[instances]]\nname = "second"\nshared_secret = {{ file = "{other}" }}\n'
    report = doctor(metabase.url, "--instance", "main", more=more)
    assert report.names("fail", "secret", 'the secret of the instance "second"')
    assert_untouched(metabase)


def test_the_state_of_a_rotation_is_told(metabase: StandIn, doctor: Doctor, secret: str) -> None:
    metabase.change(site_url="http://127.0.0.1")
    lines = f'next_shared_secret = {{ file = "{doctor.write("next", OTHER)}" }}'
    report = doctor(metabase.url, lines=lines)
    assert any(check == "rotation" and "Prepared" in what for check, what in report.of("ok")), report.text
    metabase.change(jwt_shared_secret=OTHER)
    assert doctor(metabase.url, lines=lines).names("warn", "rotation", "Metabase has been changed over")
    metabase.change(jwt_shared_secret=NOBODY_HAS)
    assert doctor(metabase.url, lines=lines).names("fail", "secret", "another secret")
    assert_untouched(metabase)


FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "starting": ({"kind": "initializing"}, "health", "still starting (30 %)"),
    "no database": ({"kind": "no_database", "path": "/api/health"}, "health", "application database"),
    "proxy": ({"kind": "html", "status": 502}, "health", "A proxy answers in Metabase's place"),
    "login before it": ({"kind": "html", "status": 401}, "health", "wants credentials"),
    "elsewhere": ({"kind": "html", "status": 404}, "health", "not a Metabase"),
    "a page": ({"kind": "html", "status": 200}, "health", "not a Metabase"),
    "redirect": (
        {"kind": "redirect", "location": "https://elsewhere.example.com/?jwt=1"},
        "health",
        "sends on to https://elsewhere.example.com/ (HTTP 302)",
    ),
    "stack trace": ({"kind": "stack_trace"}, "health", "not healthy (HTTP 500)"),
    "garbage": ({"kind": "garbage_json"}, "health", "not a Metabase"),
    "hang": ({"kind": "hang", "seconds": 5}, "reachable", "does not answer in time"),
    "reset": ({"kind": "reset"}, "reachable", "broke the connection"),
    "sign-on hangs": ({"kind": "hang", "seconds": 5, "path": "/auth/sso"}, "jwt-sso", "does not answer in time"),
    "sign-on is blocked": ({"kind": "html", "status": 403, "path": "/auth/sso"}, "jwt-sso", "asked how one signs in"),
    "tokens are blocked": (
        {"kind": "html", "status": 403, "path": "/auth/sso/to_session"},
        "secret",
        "It is not known whether Metabase holds the secret",
    ),
    "traces": ({"kind": "stack_trace", "path": "/auth/sso"}, "jwt-sso", "not understood (HTTP 500)"),
}


@pytest.mark.parametrize("seeded", FAULTS)
def test_faults_of_a_server_are_named(metabase: StandIn, doctor: Doctor, seeded: str) -> None:
    fault, check, cause = FAULTS[seeded]
    metabase.fault(**fault)
    assert doctor(metabase.url).names("fail", check, cause)
    assert_untouched(metabase)


@pytest.mark.parametrize("fault", [{"value": ""}, {"value": "yesterday"}])
def test_a_missing_clock_is_a_warning(metabase: StandIn, doctor: Doctor, fault: dict[str, str]) -> None:
    metabase.change(site_url="http://127.0.0.1")
    metabase.fault("date", **fault)
    assert doctor(metabase.url).names("warn", "clock", "no `Date` that can be read")


def test_settings_that_a_proxy_holds_back_are_a_warning(metabase: StandIn, doctor: Doctor) -> None:
    metabase.fault("html", status=403, path="/api/session/properties")
    assert doctor(metabase.url).names("warn", "version", "does not tell its version")


def test_nothing_at_the_port_and_no_such_host_are_named(doctor: Doctor) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert doctor(url).names("fail", "reachable", "refuses the connection")
    assert doctor("http://metabase.invalid").names("fail", "reachable", "does not resolve")


def test_an_instance_without_url_cannot_be_asked(doctor: Doctor) -> None:
    more = f'[[instances]]\nname = "silent"\nshared_secret = {{ file = "{doctor.write("silent", OTHER)}" }}\n'
    report = doctor("http://127.0.0.1:9", "--instance", "silent", more=more)
    assert report.names("warn", "url", "has no `url`")


@pytest.fixture
def start_tls(secret: str, authority: Authority) -> Iterator[Callable[..., StandIn]]:
    """A stand-in behind TLS with a certificate for this name."""
    with ExitStack() as running:

        def start(name: x509.GeneralName, lifetime: timedelta = timedelta(days=1)) -> StandIn:
            files = authority.issue("metabase", [name], lifetime)
            return running.enter_context(StandIn(secret, tls=files, site_url="https://127.0.0.1"))

        yield start


LOOPBACK = x509.IPAddress(ip_address("127.0.0.1"))


def test_certificates_of_metabase_that_will_not_do_are_named(
    start_tls: Callable[..., StandIn], doctor: Doctor, authority: Authority
) -> None:
    trusted = f'api_ca = "{authority.certificate}"'
    good = start_tls(LOOPBACK)
    assert doctor(good.url, lines=trusted).exit_code == 0
    assert doctor(good.url).names("fail", "reachable", "a CA that is not trusted")
    assert doctor(start_tls(x509.DNSName("other.example")).url, lines=trusted).names(
        "fail", "reachable", "for another name"
    )
    assert doctor(start_tls(LOOPBACK, timedelta(hours=-1)).url, lines=trusted).names("fail", "reachable", "has expired")


def test_https_to_a_plain_port_is_named(metabase: StandIn, doctor: Doctor, authority: Authority) -> None:
    url = metabase.url.replace("http:", "https:")
    report = doctor(url, lines=f'api_ca = "{authority.certificate}"')
    assert report.names("fail", "reachable", "does not speak TLS")


@pytest.mark.parametrize(
    ("settings", "verdict", "cause"),
    [
        ({"version": 57}, "fail", "too old for tenants"),
        ({"features": {"tenants": False}}, "fail", "no licence for tenants"),
    ],
)
def test_tenants_that_metabase_does_not_have_are_named(
    metabase: StandIn, doctor: Doctor, settings: dict[str, Any], verdict: str, cause: str
) -> None:
    metabase.change(site_url="http://127.0.0.1", **settings)
    assert doctor(metabase.url, lines='tenancy = "required"').names(verdict, "tenancy", cause)
    assert_untouched(metabase)


@pytest.mark.parametrize("version", [54, 57, 58, 61])
def test_the_canary_signs_in_and_leaves_no_session(
    start_metabase: Callable[..., StandIn], doctor: Doctor, version: int
) -> None:
    metabase = start_metabase(version=version, site_url="http://127.0.0.1")
    report = doctor(metabase.url, "--canary", ADA)
    assert report.exit_code == 0, report.text
    assert any(check == "canary" and "signed the person in" in what for check, what in report.of("ok")), report.text
    counts = metabase.counts()
    assert (counts["people"], counts["logins"], counts["sessions"]) == (1, 1, 0)


def test_a_canary_without_an_account_is_named(metabase: StandIn, doctor: Doctor) -> None:
    metabase.change(site_url="http://127.0.0.1", jwt_user_provisioning=False)
    assert doctor(metabase.url, "--canary", ADA).names("fail", "canary", "no active account")
    assert_untouched(metabase)


def test_a_canary_of_the_wrong_tenant_is_named(metabase: StandIn, doctor: Doctor) -> None:
    metabase.change(site_url="http://127.0.0.1", use_tenants=True)
    report = doctor(metabase.url, "--canary", ADA, lines='tenancy = "required"')
    assert report.names("fail", "canary", "tenant must be given")
    assert_untouched(metabase)
    metabase.add_person(ADA)
    options = ("--canary", ADA, "--canary-tenant", "acme")
    assert doctor(metabase.url, *options, lines='tenancy = "required"').names("fail", "canary", "tenant")
    assert metabase.counts()["sessions"] == 0


def test_a_canary_is_not_sent_where_it_cannot_sign_in(metabase: StandIn, doctor: Doctor) -> None:
    metabase.change(site_url="http://127.0.0.1", jwt_shared_secret=OTHER)
    report = doctor(metabase.url, "--canary", ADA)
    assert report.names("fail", "secret", "another secret")
    assert any(check == "canary" for check, _ in report.of("warn")), report.text
    assert_untouched(metabase)


def test_the_deny_list_holds_for_the_canary(metabase: StandIn, doctor: Doctor) -> None:
    metabase.change(site_url="http://127.0.0.1")
    report = doctor(metabase.url, "--canary", ADA, more=f'[deny]\nemails = ["{ADA}"]\n')
    assert report.names("fail", "canary", "The configuration denies the canary")
    assert_untouched(metabase)


def test_an_instance_that_is_not_configured_is_refused(doctor: Doctor) -> None:
    doctor("http://127.0.0.1:9")
    binary = os.environ["METABASE_TOKEN_SERVICE_BIN"]
    command = [binary, "doctor", "--config", doctor.folder / "config.toml", "--instance", "mian"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert '--instance "mian": there is no such instance' in done.stderr
