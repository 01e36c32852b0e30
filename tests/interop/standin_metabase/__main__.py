"""The stand-in as a process. Prints where it listens, then `ready`; ends with SIGTERM or SIGINT."""

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from . import StandIn
from .eras import FEATURES
from .faults import KINDS


def main() -> int:
    """Exit code: 0 after a signal, 1 when the stand-in broke, 2 when it cannot start."""
    arguments = _arguments()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        standin = _standin(arguments)
    except (OSError, ValueError) as cannot:
        print(f"the stand-in cannot start: {cannot}", file=sys.stderr)
        return 2
    try:
        with standin:
            print(f"metabase on {standin.url}", f"control on {standin.control_url}", "ready", sep="\n", flush=True)
            if arguments.end_with_stdin:
                threading.Thread(target=_stop_with_stdin, args=(stop,), daemon=True).start()
            stop.wait()
    except AssertionError as broke:
        print(broke, file=sys.stderr)
        return 1
    return 0


def _stop_with_stdin(stop: threading.Event) -> None:
    # Not through `sys.stdin`, whose lock the thread would take to its grave.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    stop.set()


def _standin(arguments: argparse.Namespace) -> StandIn:
    settings: dict[str, Any] = dict(arguments.set or [])
    # Only the end of the last line is taken away; Metabase takes away nothing.
    secret = arguments.secret_file.read_text().removesuffix("\n") if arguments.secret_file else ""
    return StandIn(
        secret,
        port=arguments.port,
        control_port=arguments.control_port,
        tls=(arguments.tls_cert, arguments.tls_key) if arguments.tls_cert else None,
        version=arguments.era,
        **settings,
    )


def _arguments() -> argparse.Namespace:
    faults = "\n".join(f"  {kind:13} {what}" for kind, what in KINDS.items())
    parser = argparse.ArgumentParser(
        prog="standin_metabase",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"features:\n  {' '.join(FEATURES)}\n\nfaults:\n{faults}",
    )
    parser.add_argument("--port", type=int, default=0, help="of Metabase on 127.0.0.1; 0 (default) takes a free one")
    parser.add_argument("--control-port", type=int, default=0, help="of the control on 127.0.0.1; 0 as above")
    parser.add_argument("--era", type=int, default=61, help="major version of Metabase; default 61")
    parser.add_argument("--secret-file", type=Path, help="JWT shared secret; without one JWT is not configured")
    parser.add_argument("--tls-cert", type=Path, help="certificate chain of Metabase, PEM")
    parser.add_argument("--tls-key", type=Path, help="its key, PEM")
    parser.add_argument("--set", type=_setting, action="append", metavar="NAME=JSON", help="a setting; repeatable")
    parser.add_argument("--end-with-stdin", action="store_true", help="end as well when standard input does")
    return parser.parse_args()


def _setting(given: str) -> tuple[str, Any]:
    name, _, value = given.partition("=")
    return name, json.loads(value)


if __name__ == "__main__":
    sys.exit(main())
