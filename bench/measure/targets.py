"""What is measured. A further target is one more entry of `side_by_side`, and, with a bar, one of bars.py."""

import os
import shutil
import sys
from pathlib import Path

from . import configuration, contract
from .configuration import Shape
from .servers import Place, Target

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "bench"
TOOLS = BENCH / ".tools"
RELEASE = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
SERVICE = RELEASE / "metabase-token-service"
ECHO = RELEASE / "echo"
UNTIL_SERVING = RELEASE / "until_serving"


def dev() -> Target:
    def command(place: Place) -> list[str]:
        metrics = f"127.0.0.1:{place.metrics_port}"
        return [str(SERVICE), "serve", "--dev", "--listen", place.address, "--metrics-listen", metrics]

    environment = {"METABASE_JWT_SHARED_SECRET": contract.SECRET, "METABASE_URL": "https://metabase.example.com"}
    return Target("dev", "the service, serve --dev", command, environment, has_metrics=True, files=(SERVICE,))


def service(name: str, title: str, shape: Shape) -> Target:
    def command(place: Place) -> list[str]:
        return [str(SERVICE), "serve", "--config", str(configuration.write(shape, place))]

    return Target(name, title, command, tls=shape.tls, has_metrics=True, files=(SERVICE,))


def echo(name: str, title: str, token_chars: int, tls: bool = False) -> Target:
    def command(place: Place) -> list[str]:
        certificates = place.certificates
        files = [certificates.server, certificates.server_key, certificates.ca] if tls else []
        return [str(ECHO), place.address, str(token_chars), *map(str, files)]

    return Target(name, title, command, tls=tls, signs=False, files=(ECHO,))


def node() -> Target:
    folder = BENCH / "targets/node"
    return Target(
        "node",
        "Node, grpc-js and jsonwebtoken",
        lambda place: [str(shutil.which("node")), str(folder / "server.js"), place.address],
        {"JWT_SHARED_SECRET": contract.SECRET, "NODE_ENV": "production"},
        files=(folder / "server.js", folder / "node_modules"),
        runtime="Node",
        warm_up=2,
    )


def go() -> Target:
    program = TOOLS / "bin/issuer"
    environment = {"JWT_SHARED_SECRET": contract.SECRET}
    return Target(
        "go", "Go, grpc-go and golang-jwt", lambda place: [str(program), place.address], environment, files=(program,)
    )


def java() -> Target:
    folder = BENCH / "targets/java/target"

    def command(place: Place) -> list[str]:
        # One core gets the serial collector by itself; the heap is given, so that it does not grow while it is measured.
        options = ["-Xms256m", "-Xmx256m", "-XX:+UseSerialGC", "-cp", f"{folder}/issuer.jar:{folder}/lib/*"]
        return [str(shutil.which("java")), *options, "bench.Server", "127.0.0.1", str(place.port)]

    return Target(
        "java",
        "Java, grpc-java and nimbus-jose-jwt",
        command,
        {"JWT_SHARED_SECRET": contract.SECRET},
        files=(folder / "issuer.jar", folder / "lib"),
        runtime="JRE",
        warm_up=5,
    )


def python(form: str = "aio") -> Target:
    folder, venv = BENCH / "targets/python", TOOLS / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return Target(
        "python" if form == "aio" else f"python-{form}",
        f"Python, grpcio ({form}) and PyJWT",
        lambda place: [str(venv / "bin/python"), str(folder / "server.py"), place.address, form],
        {"JWT_SHARED_SECRET": contract.SECRET, "PYTHONPATH": str(TOOLS / "stubs")},
        files=(folder / "issuer.py", folder / "server.py", venv / f"lib/{version}/site-packages"),
        runtime="Python",
    )


def side_by_side(token_chars: int) -> list[Target]:
    """All. The echo answers with tokens of so many characters."""
    return [
        dev(),
        service("production", "the service in production: mTLS, policy, audit log, metrics", Shape()),
        service("production-no-audit", "the same without an audit log", Shape(audit="off")),
        echo("echo", "the limit: tonic, an answer of the same size", token_chars),
        echo("echo-mtls", "the limit behind the same mTLS", token_chars, tls=True),
        go(),
        java(),
        node(),
        python(),
        python("threads"),
    ]


def size(target: Target) -> int:
    """Bytes of what has to be deployed."""
    files = [file for path in target.files for file in ([path] if path.is_file() else path.rglob("*"))]
    return sum(file.stat().st_size for file in files if file.is_file() and not file.is_symlink())
