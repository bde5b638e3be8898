"""Start the lookup service.

    python -m nightshift.serving
    python -m nightshift.serving --config nightshift.yaml --port 8090

Prints one line with the address when it answers; SIGTERM or Ctrl-C stops it after the requests under way.
"""

from __future__ import annotations

import argparse
import functools
import os
import resource
import socket
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from nightshift.config import ConfigError, Settings, load
from nightshift.publishing.storage import StoreError, store_of
from nightshift.serving import admin
from nightshift.serving.following.mapped import why_not_held
from nightshift.serving.wiring import guard_of
from nightshift.serving.worker import log_to_standard_error, serve


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until told to stop. What keeps it from starting is one line on standard error, and exit 1."""
    parser = argparse.ArgumentParser(
        prog="python -m nightshift.serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", help="the configuration file (NIGHTSHIFT_CONFIG, else nightshift.yaml)")
    parser.add_argument("--host", help="the address to listen on (serving.host)")
    parser.add_argument("--port", type=_port, help="the port to listen on (serving.port)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="nightshift-lookup-", dir=_memory()) as folder:
        board = Path(folder)
        try:
            settings = load(args.config)
            host, port = args.host or settings.serving.host, args.port or settings.serving.port
            _must_be_free(host, port, "serving.port or --port")
            if settings.serving.admin_port:
                _must_be_free(admin.HOST, settings.serving.admin_port, "serving.admin_port")
            store_of(settings)
            guard_of(settings, board)
        except (ConfigError, StoreError) as error:
            print(f"serving: {error}", file=sys.stderr)
            sys.exit(1)
        if settings.serving.hold_memory and (reason := why_not_held()):
            print(f"serving: serving.hold_memory: {reason}", file=sys.stderr)
            sys.exit(1)
        _allow_many_connections()
        log_to_standard_error()
        with _admin(settings, board):
            serve(settings, host, port, board)


def _admin(settings: Settings, board: Path) -> AbstractContextManager[None]:
    """What operators ask, while the service runs, where it is on."""
    port = settings.serving.admin_port
    return admin.serving(port, board, functools.partial(guard_of, settings, board)) if port else nullcontext()


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port from 1 to 65535")
    return int(text)


def _must_be_free(host: str, port: int, setting: str) -> None:
    """Granian shares ports: a second service on one would take half of the first one's requests, unseen."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except OSError as error:
        raise StoreError(f"cannot listen on {host}:{port}: {error.strerror}. Set {setting}.") from None


def _allow_many_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))


def _memory() -> str | None:
    """A folder in memory, for what the workers write every second; None: the usual one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


if __name__ == "__main__":
    main()
