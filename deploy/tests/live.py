"""Runs the image's binary with nothing beside it, and holds rules and dashboard to its metrics: unshare --net python live.py BINARY

In a network namespace of its own: Metabase and a name server are stand-ins on loopback. The binary sees a folder with what the last
stage of the Dockerfile copies and with the files that a container is given: no libc, no shell.
"""

import fcntl
import json
import re
import secrets
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml
from image import Image

DEPLOY = Path(__file__).parent.parent
CONFIG = """
[server]
listen = "127.0.0.1:50051"
probe_listen = "127.0.0.1:8081"
metrics_listen = "127.0.0.1:9464"
[server.identity]
local = "shop"
[[instances]]
name = "main"
default = true
api_url = "http://by-hosts.test:3000"
probe_interval = "1s"
shared_secret = { file = "/run/secrets/main" }
next_shared_secret = { file = "/run/secrets/next" }
[[instances]]
name = "other"
api_url = "http://by-dns.test:3000"
probe_interval = "1s"
shared_secret = { file = "/run/secrets/other" }
[[callers]]
name = "shop"
[[callers.grants]]
instance = "main"
email_domains = ["example.com"]
groups = ["Customers"]
[shadow]
policy = "/etc/metabase-token-service/candidate.toml"
"""
# Labels of the target, which Prometheus adds.
OF_THE_TARGET = {"job", "namespace", "instance"}
# Labels whose values are words of the service; every value that is asked for has to be among the live ones.
WORDS = {"outcome", "state", "secret", "what", "change", "method"}
# With TLS only, which this service does not speak.
NOT_LIVE = {"metabase_token_service_certificate_expiry_timestamp_seconds"}
GRPC_CODES = set("OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED "
                 "FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED".split())
asked: set[str] = set()


class Metabase(BaseHTTPRequestHandler):
    def answer(self):
        asked.add(self.headers["host"].partition(":")[0])
        self.send_response(404)
        self.end_headers()

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


def name_server() -> None:
    """127.0.0.1 for whatever is asked for as A, nothing for other types."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 53))
    while True:
        query, client = listener.recvfrom(512)
        end = query.index(b"\0", 12) + 5
        is_a = query[end - 4:end - 2] == b"\0\x01"
        answer = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01" if is_a else b""
        listener.sendto(query[:2] + b"\x81\x80\0\x01" + (b"\0\x01" if is_a else b"\0\0") + b"\0\0\0\0" + query[12:end] + answer, client)


def wait_until(what: str, holds) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, f"after 30 s, still not: {what}"
        time.sleep(0.05)


def samples() -> list[tuple[str, dict[str, str]]]:
    with urllib.request.urlopen("http://127.0.0.1:9464/metrics", timeout=5) as answer:
        lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
    found = [re.match(r"(\w+)(?:\{(.*)\})? ", line) for line in lines]
    return [(sample[1], dict(re.findall(r'(\w+)="([^"]*)"', sample[2] or ""))) for sample in found]


def main() -> None:
    with socket.socket() as any_socket:  # Loopback of the new namespace is down.
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 0x1 | 0x40))
    threading.Thread(target=name_server, daemon=True).start()
    metabase = ThreadingHTTPServer(("127.0.0.1", 3000), Metabase)
    threading.Thread(target=metabase.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as root:
        image = Image(Path(root), Path(sys.argv[1]))
        image.root.chmod(0o755)
        config = image.command[-1]
        image.write("/etc/hosts", "127.0.0.1 by-hosts.test\n")
        image.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
        for name in "main", "next", "other":
            image.write(f"/run/secrets/{name}", secrets.token_hex(32), 0o440)
        candidate = CONFIG.replace('groups = ["Customers"]', "groups = []").partition("[shadow]")[0]
        image.write("/etc/metabase-token-service/candidate.toml", candidate)
        image.write(config, CONFIG)
        service = subprocess.Popen(image.arguments(*image.entrypoint, *image.command), env={}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            announced = []
            while "ready" not in announced:
                line = service.stdout.readline()
                assert line, service.stderr.read()
                announced.append(line.strip())
            exercise(image, config)
            live = samples()
        finally:
            service.send_signal(signal.SIGTERM)
            _, log = service.communicate(timeout=30)
        assert service.returncode == 0, f"SIGTERM ended it with {service.returncode}:\n{log}"
    rules = yaml.safe_load((DEPLOY / "prometheus/rules.yaml").read_text())
    named = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    dashboard = json.loads((DEPLOY / "grafana/dashboard.json").read_text())
    named += [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    own = {name for name, _ in live}
    count = sum(check_expression(expression, live) for expression in named)
    unused = {re.sub(r"_(bucket|sum|count)$", "", name) for name in own if not any(re.sub(r"_(bucket|sum|count)$", "", name) in text for text in named)}
    assert not unused, f"on neither a rule nor the dashboard: {unused}"
    print(f"static binary served, resolved by hosts and DNS, was healthy, drained; {count} selectors of {len(named)} expressions are live")


def exercise(image: Image, config: str) -> None:
    """Makes the service say everything it has to say in metrics."""
    assert image.run(*image.healthcheck).stdout == "SERVING\n"
    sick = [word.replace("8081", "9") for word in image.healthcheck]
    assert image.run(*sick).returncode == 1, "a health check that cannot fail"
    issue = ["/metabase-token-service", "issue", "--instance", "main", "--user-id", "1815", "--first-name", "Ada", "--last-name", "Lovelace", "--email"]
    assert image.run(*issue, "ada@example.com", "--group", "Customers").returncode == 0
    assert image.run(*issue, "ada@example.com", "--group", "Staff").returncode == 1
    assert image.run(*issue, "nobody").returncode == 1
    checked = image.run("/metabase-token-service", "status", input="no.token.here")
    assert checked.returncode == 3, checked.stderr

    def reloads(outcome: str) -> bool:
        return any(name == "metabase_token_service_reloads_total" and labels["outcome"] == outcome for name, labels in samples())

    image.write(config, CONFIG + "\n# changed\n")
    wait_until("reloaded", lambda: reloads("succeeded"))
    image.write(config, "broken")
    wait_until("refused", lambda: reloads("failed"))
    wait_until("Metabase was asked by both names", lambda: asked >= {"by-hosts.test", "by-dns.test"})
    wait_until("told the clock", lambda: any(name.endswith("_clock_skew_seconds") for name, _ in samples()))


def check_expression(expression: str, live: list) -> int:
    selectors = re.findall(r"\b(metabase_token_service_\w+)(?![\w:])(?:\{([^}]*)\})?", expression)
    for name, matchers in selectors:
        if name in NOT_LIVE:
            continue
        of_name = [labels for sample, labels in live if sample == name]
        assert of_name, f"no live metric {name}: {expression}"
        for label, operator, value in re.findall(r'(\w+)(=~|!=|!~|=)"([^"]*)"', matchers):
            if label in OF_THE_TARGET:
                continue
            values = {labels[label] for labels in of_name if label in labels}
            assert values, f"{name} has no label {label}: {expression}"
            wanted = set(value.split("|")) if operator == "=~" else {value}
            if label == "code":
                assert wanted <= GRPC_CODES, f"{wanted - GRPC_CODES} is no code: {expression}"
            elif label in WORDS:
                for word in wanted:
                    assert any(re.fullmatch(word, live_value) for live_value in values), f"{name} never has {label}={word}: {expression}"
    words = {label for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression) for label in re.split(r"[,\s]+", labels) if label}
    known = {"file"} | {label for name, _ in selectors for sample, labels in live if sample == name for label in labels}
    unknown = words - OF_THE_TARGET - known
    assert not (selectors and unknown), f"grouped by {unknown}, which none of its metrics has: {expression}"
    return len(selectors)


main()
