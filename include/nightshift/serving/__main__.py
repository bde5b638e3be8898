"""Start the lookup service.

    python -m nightshift.serving
    python -m nightshift.serving --config nightshift.yaml --port 8090

Prints one line with the address when it answers; SIGTERM or Ctrl-C stops it after the requests under way.
"""

from __future__ import annotations

import argparse
import functools
import logging
import socket
import sys
import threading
import time
from collections.abc import Sequence

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels
from starlette.applications import Starlette

from nightshift.config import ConfigError, Settings, load
from nightshift.publishing.storage import StoreError, store_of
from nightshift.runs import home_of
from nightshift.serving.app import Limits, Service, make_app
from nightshift.serving.follower import Follower
from nightshift.serving.metrics import Metrics


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until told to stop. What keeps it from starting is one line on standard error, and exit 1."""
    parser = argparse.ArgumentParser(
        prog="python -m nightshift.serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", help="the configuration file (NIGHTSHIFT_CONFIG, else nightshift.yaml)")
    parser.add_argument("--host", help="the address to listen on (serving.host)")
    parser.add_argument("--port", type=int, help="the port to listen on (serving.port)")
    args = parser.parse_args(argv)
    try:
        settings = load(args.config)
        host, port = args.host or settings.serving.host, args.port or settings.serving.port
        _must_be_free(host, port)
        store_of(settings)
    except (ConfigError, StoreError) as error:
        print(f"serving: {error}", file=sys.stderr)
        sys.exit(1)
    server = Granian(
        "nightshift.serving", host, port, interface=Interfaces.ASGI, websockets=False, log_level=LogLevels.warning
    )
    server.serve(target_loader=functools.partial(application, settings, host, port), wrap_loader=False)


def application(settings: Settings, host: str, port: int) -> Starlette:
    """The application as it runs in a Granian worker."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("nightshift").setLevel(logging.INFO)
    surface, metrics = settings.store.surface, Metrics()
    follower = Follower(store_of(settings), surface, home_of(settings) / "serving" / surface, metrics)
    limits = Limits(settings.lists.size, settings.lists.similar, settings.serving.max_batch)
    announce = threading.Thread(target=_announce, args=(host, port), daemon=True)
    return make_app(Service(follower, metrics, limits), settings.serving.poll_seconds, announce.start)


def _must_be_free(host: str, port: int) -> None:
    """Granian shares ports: a second service on one would take half of the first one's requests, unseen."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except OSError as error:
        raise StoreError(f"cannot listen on {host}:{port}: {error.strerror}. Set serving.port or --port.") from None


def _announce(host: str, port: int) -> None:
    """Print the address as soon as it answers: Granian listens a moment after the application is up."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    while True:
        try:
            socket.create_connection((reached, port), timeout=1).close()
        except OSError:
            time.sleep(0.01)
        else:
            shown = f"[{reached}]" if ":" in reached else reached
            print(f"The lookup service is at http://{shown}:{port} (see /docs)", flush=True)
            return


if __name__ == "__main__":
    main()
