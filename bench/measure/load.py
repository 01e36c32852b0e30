"""The load generators: h2load, which is fast enough for one core against one, and ghz, which is a gRPC client.

h2load does not look at trailers, so that a refusal looks to it like an answer. What tells them apart is that a refusal has no
message: with N answers of S bytes each, exactly N x S bytes of DATA have to have come. One missing answer voids the run."""

import json
import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from . import contract, machine
from .machine import LOAD_CPU, CannotMeasure, Void, Watch
from .servers import Running

TOOLS = Path(__file__).parent.parent / ".tools"
MOST_IN_FLIGHT = 900
"""At a fixed rate: the service has room for 1000 and refuses the next. Where this is reached, requests wait at the generator, which its
log does not show; `sent` does, which then stays behind `asked`."""
PATIENCE_SECONDS = 300
"""For one run of h2load."""
SETTLING_SECONDS = 0.5
"""At the start of a round with a fixed rate: connections are made, and what they cost is not looked at."""


@dataclass(frozen=True)
class Round:
    """What one run of h2load came to."""

    requests: int
    per_second: float
    server_seconds: float
    """Processor time of the server."""
    others: float
    """Share of the server's CPU that others took."""

    @property
    def seconds(self) -> float:
        return self.requests / self.per_second

    @property
    def per_cpu_second(self) -> float:
        """Requests that a second of the server's processor time is good for; says something where others take the rest of it."""
        return self.requests / self.server_seconds

    @property
    def busy(self) -> float:
        return self.server_seconds / self.seconds


def h2load(server: Running, connections: int, streams: int, *options: str) -> tuple[str, float, float]:
    """What it printed, the server's processor time, and the share of others."""
    scheme = "https" if server.target.tls else "http"
    url = f"{scheme}://localhost:{server.place.port}{contract.RPC}"
    request, _ = contract.write(server.message, server.place.folder)
    command = ["h2load", "-t", "1", "-c", str(connections), "-m", str(streams), "-d", str(request), *options]
    command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    command += [f"--connect-to={server.place.address}", url]
    environment = dict(os.environ)
    if server.target.tls:
        certificates = server.place.certificates
        environment |= {
            "LD_PRELOAD": str(TOOLS / "client_certificates.so"),
            "CLIENT_CERTIFICATE_FOLDER": str(certificates.folder),
            "CLIENT_CERTIFICATES": str(certificates.count),
        }
    watch = Watch(server.pid)
    began = time.monotonic()
    try:
        done = subprocess.run(
            machine.pinned(LOAD_CPU, command),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        # Of connections that come to stand only after the time that counts, h2load lets some go on for ever.
        raise CannotMeasure(f"h2load has not ended after {PATIENCE_SECONDS} s: are connections made too slowly?") from error
    own, others = watch.stop(time.monotonic() - began)
    if done.returncode != 0 or "finished in" not in done.stdout:
        raise CannotMeasure(f"h2load: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    return done.stdout, own, others


def closed(server: Running, requests: int, connections: int = 16, streams: int = 16, *options: str) -> Round:
    """So many requests, each sent when an earlier one is answered: as fast as the server can."""
    requests = max(requests // connections, 1) * connections
    text, own, others = h2load(server, connections, streams, "-n", str(requests), *options)
    _check(text, server, requests)
    return Round(requests, _number(r"finished in .*?, ([\d.]+) req/s", text), own, others)


def warm_up(server: Running, seconds: float) -> float:
    """Asks for so long, more each time, and returns the requests a second of the last time."""
    requests, began = 256, time.monotonic()
    while True:
        done = closed(server, requests)
        if time.monotonic() - began >= seconds:
            return done.per_second
        requests = max(256, int(done.per_second * seconds / 4))


def timed(server: Running, seconds: float, warm_up: float, connections: int, streams: int) -> Round:
    """As fast as the server can, for a time, from when all connections stand. What is in flight at the end is not looked at;
    where the server counts its answers, none but those may be other than OK."""
    before = server.answers() if server.target.has_metrics else {}
    options = ["-D", f"{seconds * 1000:.0f}ms", "--warm-up-time", f"{warm_up * 1000:.0f}ms"]
    text, own, others = h2load(server, connections, streams, *options)
    requests, failed = int(_number(r" (\d+) succeeded", text)), int(_number(r" (\d+) failed", text))
    if failed:
        raise Void(f"{server.target.name}: {failed} requests failed\n{text}")
    if not requests:
        raise CannotMeasure(f"{server.target.name}: no answer within {warm_up + seconds:g} s; is the machine busy?")
    if server.target.has_metrics:
        after = server.answers()
        new = {code: count - before.get(code, 0) for code, count in after.items()}
        cut = new.pop("CANCELLED", 0)
        wrong = sum(count for code, count in new.items() if code != "OK")
        if wrong or cut > connections * streams or new.get("OK", 0) < requests:
            raise Void(f"{server.target.name}: {requests} answers, of which the server counted {new} and {cut} cut off")
    return Round(requests, _number(r"finished in .*?, ([\d.]+) req/s", text), own, others)


def at_rate(server: Running, per_second: float, seconds: float, connections: int = 64) -> tuple[Round, dict[str, float]]:
    """So many requests a second, sent by the clock whether earlier ones are answered or not. Milliseconds of the percentiles."""
    rate = per_second / connections
    requests = max(int(rate * (seconds + SETTLING_SECONDS)), 10) * connections
    log = server.place.folder / "requests.tsv"
    log.unlink(missing_ok=True)
    options = ["-n", str(requests), f"--rps={rate:.3f}", f"--log-file={log}"]
    text, own, others = h2load(server, connections, MOST_IN_FLIGHT // connections, *options)
    _check(text, server, requests)
    began, took = [], []
    for line in log.read_text().splitlines():
        start, _, duration = line.split("\t")[:3]
        began.append(int(start))
        took.append(int(duration))
    settled = min(began) + SETTLING_SECONDS * 1e6
    kept = sorted(duration for start, duration in zip(began, took, strict=True) if start >= settled)
    sent = len(kept) / ((max(began) - settled) / 1e6)
    log.unlink()
    percentiles = {name: kept[min(int(len(kept) * share), len(kept) - 1)] / 1000 for name, share in PERCENTILES.items()}
    done = Round(requests, requests / ((max(began) - min(began)) / 1e6), own, others)
    return done, percentiles | {"asked": per_second, "sent": sent}


PERCENTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if not found:
        raise CannotMeasure(f"h2load says nothing like {pattern}: {text}")
    return float(found[1])


def _check(text: str, server: Running, requests: int) -> None:
    succeeded = int(_number(r" (\d+) succeeded", text))
    data = int(_number(r"headers \(space savings .*?\), .*? \((\d+)\) data", text))
    if succeeded != requests or data != requests * server.answer_bytes:
        raise Void(
            f"{server.target.name}: {requests} requests, {succeeded} of HTTP status 200, and {data} bytes of answers where "
            f"{requests * server.answer_bytes} were due: at least one is not of gRPC status 0; "
            f"the server has counted {server.answers() if server.target.has_metrics else 'nothing'}\n{text}"
        )


def ghz(server: Running, requests: int, per_second: float) -> dict[str, float]:
    """The same from a real gRPC client, which reads every trailer: none may be other than OK."""
    ca, certificate, key = server.place.certificates.of_client
    tls = ["--cacert", ca, "--cert", certificate, "--key", key, "--cname", "localhost"]
    _, message = contract.write(server.message, server.place.folder)
    command = [TOOLS / "bin/ghz", *(tls if server.target.tls else ["--insecure"]), "--cpus", "1", "-O", "json"]
    command += ["--protoset", TOOLS / "contract.binpb", "--call", contract.RPC[1:].replace("/", ".", 1)]
    command += ["--connections", "4", "-c", "32", "-n", requests, "--rps", int(per_second), "-B", message]
    words = [str(word) for word in [*command, server.place.address]]
    done = subprocess.run(machine.pinned(LOAD_CPU, words), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotMeasure(f"ghz: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    report = json.loads(done.stdout)
    statuses = report["statusCodeDistribution"]
    if statuses != {"OK": requests}:
        raise Void(f"{server.target.name}: ghz asked {requests} times, and was answered {statuses}")
    latencies = {f"p{entry['percentage']}": entry["latency"] / 1e6 for entry in report["latencyDistribution"]}
    return {"per_second": report["rps"], "p50": latencies["p50"], "p99": latencies["p99"]}
