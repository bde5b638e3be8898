"""The worker processes that answer, and what each does before it does.

A worker may be a fresh interpreter (spawned, where processes are not forked), which cannot import anything of a
package's `__main__`: so this is a module beside it.
"""

from __future__ import annotations

import functools
import logging
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from nightshift.config import Settings
from nightshift.serving.app import Application
from nightshift.serving.following.mapped import hold_what_is_read
from nightshift.serving.server import server_at
from nightshift.serving.wiring import application

SWITCH_SECONDS = 0.0002  # that a request waits for a thread that works for others; the usual 5 ms are too many


def serve(settings: Settings, host: str, port: int, board: Path) -> None:
    """Run the workers until told to stop. One that dies is started again."""
    server = server_at(host, port, settings.serving.workers)
    loader: Any = functools.partial(_worker, settings, host, port, board)
    server.serve(target_loader=loader, wrap_loader=False)


def log_to_standard_error() -> None:
    """Warnings of all, and what the service has to tell."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("nightshift").setLevel(logging.INFO)


def _worker(settings: Settings, host: str, port: int, board: Path) -> Application:
    sys.setswitchinterval(SWITCH_SECONDS)
    if settings.serving.hold_memory:
        hold_what_is_read()
    log_to_standard_error()
    announce = threading.Thread(target=_announce, args=(host, port, board), daemon=True)
    return application(settings, board, announce.start)


def _announce(host: str, port: int, board: Path) -> None:
    """Print the address as soon as it answers: Granian listens a moment after the application is up. The first worker
    to get here does it for all."""
    try:
        (board / "announced").touch(exist_ok=False)
    except FileExistsError:
        return
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
