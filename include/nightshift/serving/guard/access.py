"""The access log: a JSON line a request, without personal data, written by a thread of its own.

    {"at":1322704800.123,"route":"recommendations","status":200,"ms":0.214,"bytes":2113,"caller":"shop",
     "request_id":"5f1c9a7e00000001"}

`at` is Unix time. No user id, no query, no address. `note` only puts a line in a queue; a queue that is full, or a
disk, drops lines, and `dropped` counts them. A process that is killed loses what it noted in the last `WRITE_SECONDS`.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from time import time

import orjson

from nightshift.config.settings import AccessLog as AccessLogSettings
from nightshift.serving.guard.sinks import RotatedFile, Sink, StandardOutput

log = logging.getLogger("nightshift.serving")

WRITE_SECONDS = 0.02  # seldom and much at once would keep requests waiting
CHUNK = 128  # lines that are written at once: the interpreter is let go of in between, for requests

Noted = tuple[float, str, int, float, int, str, str]


class AccessLog:
    """Lines on their way to a sink; `waiting` of them at most."""

    def __init__(self, sink: Sink, waiting: int) -> None:
        self.dropped = 0
        self._sink, self._most = sink, waiting
        self._waiting: deque[Noted] = deque()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._failing = False

    def note(self, route: str, status: int, seconds: float, size: int, caller: str, request_id: str) -> None:
        """Take a line for a request that was answered just now, after `seconds`, with `size` bytes. Never blocks.

        `route` and `caller` are names from fixed sets, and `request_id` is one of `request_ids`: no data of a person.
        """
        waiting = self._waiting
        if len(waiting) >= self._most:
            self.dropped += 1
            return
        waiting.append((time(), route, status, seconds, size, caller, request_id))

    def start(self) -> None:
        """Write what is noted, every `WRITE_SECONDS`, until `stop`."""
        self._thread = threading.Thread(target=self._write_on, name="access log", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, and end."""
        self._stopping.set()
        if self._thread:
            self._thread.join(5)
        self.write()
        self._sink.close()

    def write(self) -> None:
        """Write what has been noted up to now."""
        left = len(self._waiting)
        while left:
            taken = [self._waiting.popleft() for _ in range(min(CHUNK, left))]
            left -= len(taken)
            try:
                self._sink.write(_lines(taken))
            except OSError as error:
                self.dropped += len(taken)
                if not self._failing:
                    log.error("the access log cannot be written, so its lines are dropped: %s", error)
                self._failing = True
            else:
                self._failing = False

    def _write_on(self) -> None:
        while not self._stopping.wait(WRITE_SECONDS):
            try:
                self.write()
            except Exception:
                log.exception("a batch of access lines was lost")


def _lines(noted: Sequence[Noted]) -> bytes:
    """All at once, which takes three quarters of the time; no value that `note` takes has a brace in it."""
    lines = [
        {
            "at": int(at * 1000) / 1000,  # `round` takes three times as long
            "route": route,
            "status": status,
            "ms": int(seconds * 1_000_000) / 1000,
            "bytes": size,
            "caller": caller,
            "request_id": request_id,
        }
        for at, route, status, seconds, size, caller, request_id in noted
    ]
    return orjson.dumps(lines)[1:-1].replace(b"},{", b"}\n{") + b"\n"


def access_log_of(settings: AccessLogSettings, home: Path) -> AccessLog | None:
    """The log that the settings ask for, or None. Call `start` in the process that serves."""
    if settings.path is None:
        return None
    sink = StandardOutput() if settings.path == "-" else RotatedFile(home / settings.path, settings)
    return AccessLog(sink, settings.waiting)
