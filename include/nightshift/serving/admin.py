"""Routes for who operates the service, on a port of their own that readers cannot reach: what every worker serves, and
a look at the pointers now. Off unless `serving.admin_port` is set; on this machine's loopback alone.

    curl localhost:8091/admin/v1/workers
    curl --request POST localhost:8091/admin/v1/look
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson

from nightshift.serving.answers import JSON, plain_headers
from nightshift.serving.problems import Problem, not_allowed, not_there
from nightshift.serving.seams import Guard
from nightshift.serving.telemetry.board import Board

log = logging.getLogger("nightshift.serving")

HOST = "127.0.0.1"
WORKERS, LOOK = "/admin/v1/workers", "/admin/v1/look"
METHODS = {WORKERS: "GET", LOOK: "POST"}
LOOK_SECONDS = 30.0
AGAIN_SECONDS = 1.0  # after which a process that has ended is started again


class Admin(ThreadingHTTPServer):
    """Answers from what the workers put on the board. With keys, callers need one with the role admin."""

    daemon_threads = True

    def __init__(self, port: int, board: Board, guard: Guard | None = None) -> None:
        self.board, self.guard = board, guard
        super().__init__((HOST, port), _Handler)

    def workers(self) -> Any:
        """What every worker serves."""
        return {"workers": self.board.states()}

    def look(self) -> Any:
        """Have every worker look at its pointers; what they serve once they have, or after `LOOK_SECONDS`."""
        asked = time.time()
        rung, ends = self.board.ring(), asked + LOOK_SECONDS
        while time.time() < ends:
            looked = [one["looked"] or 0 for state in self.board.states() for one in state["channels"]]
            if looked and min(looked) >= asked:
                break
            time.sleep(0.02)
        return {"rung": rung, **self.workers()}


class _Handler(BaseHTTPRequestHandler):
    server: Admin
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "nightshift", ""
    timeout = 30

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        try:
            self._must_be_let_in()
            allowed = METHODS.get(self.path)
            if allowed is None:
                raise not_there(self.path)
            if allowed != self.command:
                raise not_allowed(self.command, allowed)
            found = self.server.look() if self.path == LOOK else self.server.workers()
            self._send(200, plain_headers(JSON, "no-store"), orjson.dumps(found))
        except Problem as problem:
            self._send(*problem.answer())

    def _must_be_let_in(self) -> None:
        guard = self.server.guard
        if guard is None or guard.by_address:  # it asks for no keys, so nobody can have one with the role
            return
        caller: Any = guard.admit(self.headers, time.monotonic(), "{}:{}".format(*self.client_address[:2]))
        if getattr(caller, "role", None) is None:
            raise Problem(caller.status, caller.detail, caller.headers)
        if caller.role != "admin":
            raise Problem(403, f"The key of {caller.name} has the role {caller.role}; this takes admin.")

    def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in (*headers, ("content-length", str(len(body))), ("connection", "close")):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def serving(port: int, board: Path, guard_of: Callable[[], Guard | None]) -> Iterator[None]:
    """Serve in a process of its own, which ends with this one; one that ends within this block is started again.

    Args:
        guard_of: called in that process.
    """
    over = threading.Event()
    first = _started(port, board, guard_of)

    def keep() -> None:
        first.join()
        while not over.wait(AGAIN_SECONDS):
            log.error(
                "the process of serving.admin_port %d has ended, and is started again: if that goes on, see what kills "
                "it, or close the port",
                port,
            )
            _started(port, board, guard_of).join()

    threading.Thread(target=keep, name="admin", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _started(port: int, board: Path, guard_of: Callable[[], Guard | None]) -> multiprocessing.Process:
    process = multiprocessing.Process(target=_serve, args=(port, board, guard_of), name="admin", daemon=True)
    process.start()
    return process


def _serve(port: int, board: Path, guard_of: Callable[[], Guard | None]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the service's end ends this
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a service that runs has a handler of its own
    guard = guard_of()
    if guard is not None:
        guard.start()
    Admin(port, Board(board), guard).serve_forever()
