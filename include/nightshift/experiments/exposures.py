"""Note what was shown to whom: an append on the path of the request, the rest in a thread.

A process that is killed loses what it noted within the last `flush_seconds`, and the time that it takes to write them,
and never more than `max_rows`. Where so many wait to be written, as on a disk that is full, what comes is dropped and
counted: in `dropped`, in the next file, and in what landing says.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from pathlib import Path

from nightshift.config.settings import Experiments, ExposureFiles
from nightshift.experiments.assignment import Assignment
from nightshift.experiments.exposure_files import Part, part_of, write

log = logging.getLogger("nightshift.experiments")

FOLDER, PENDING, LANDED = "exposures", "pending", "landed"  # in NIGHTSHIFT_HOME
LOOKS_SECONDS = 0.02  # between two looks of the thread: each makes lines of what has come, little at a time
AT_ONCE = 200  # rows that are made lines without giving way to requests
GIVE_WAY_SECONDS = 0.0005  # between two such parts, where much has come
RETRY_SECONDS = 1.0  # after a file that could not be written


def exposure_log(settings: Experiments, home: Path) -> ExposureLog | None:
    """The log of a process whose home this is; None where nobody would be noted."""
    of = settings.exposures.of
    if of == "nobody" or (of == "enrolled" and not settings.layers):
        return None
    return ExposureLog(settings.exposures, home / FOLDER / PENDING)


class ExposureLog:
    """The exposures of one process, which one thread notes, between `start` and `stop`.

    Args:
        folder: where files go, a subfolder a day; see `exposure_files`.

    Attributes:
        dropped: exposures that were not kept, for want of room.
        written: exposures that lie in files.
        failures: tries to write a file that failed; its rows are kept for the next.
    """

    def __init__(self, settings: ExposureFiles, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.dropped = self.written = self.failures = 0
        self._everyone = settings.of == "everyone"
        self._waiting: deque[tuple[object, ...]] = deque()
        self._made: list[Part] = []  # of those that waited, and their rows
        self._rows = 0
        self._room = settings.max_rows  # for waiting ones
        self._writer, self._numbered, self._files, self._told = secrets.token_hex(8), 0, 0, 0
        self._since, self._not_before = time.monotonic(), 0.0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def note(
        self,
        user_id: str,
        assignment: Assignment,
        run: str,
        items: int | bytes,
        at: float,
        request_id: str | None = None,
        channel: str | None = None,
    ) -> None:
        """Note one list: the fields of an `Exposure`. Of users who are not enrolled, only where all are asked for."""
        if assignment.enrolled or self._everyone:
            waiting = self._waiting
            if len(waiting) < self._room:
                waiting.append((assignment, run, channel, user_id, items, at, request_id))
            else:
                self.dropped += 1

    @property
    def waiting(self) -> int:
        """Exposures that a kill would lose now."""
        return len(self._waiting) + self._rows

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="exposures", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, and end."""
        self._stopping.set()
        if self._thread:
            self._thread.join()
        self.flush()

    def flush(self) -> None:
        """Write what waits as one file. What the disk does not take is kept for the next try."""
        self._since = time.monotonic()
        self._make(len(self._waiting))
        if not self._rows:
            return
        dropped = self.dropped
        try:
            write(self.folder, self._made, self._writer, self._files, dropped - self._told)
        except OSError as error:
            self.failures, self._not_before = self.failures + 1, time.monotonic() + RETRY_SECONDS
            log.warning("exposures: %d rows wait, for they cannot be written: %s", self.waiting, error)
            return
        self._files, self._told, self.written = self._files + 1, dropped, self.written + self._rows
        self._made, self._rows, self._room = [], 0, self.settings.max_rows

    def _make(self, count: int) -> None:
        """Make lines of the first `count` that wait; all that is made and all that waits never is over `max_rows`."""
        for begin in range(0, count, AT_ONCE):
            if begin:
                time.sleep(GIVE_WAY_SECONDS)
            size = min(AT_ONCE, count - begin)
            self._room -= size  # before, so that no request finds room that there is not
            rows = [self._waiting.popleft() for _ in range(size)]
            try:
                self._made.append(part_of(rows, self._numbered))
            except Exception:  # one of them is none
                self._room += size
                self.dropped += size
                log.exception("exposures: %d rows are dropped", size)
                continue
            self._rows += size
            self._numbered += size

    def _run(self) -> None:
        while not self._stopping.wait(LOOKS_SECONDS):
            if self._is_due():
                self.flush()
            else:
                self._make(len(self._waiting) // AT_ONCE * AT_ONCE)

    def _is_due(self) -> bool:
        now, half_full = time.monotonic(), self.waiting >= self.settings.max_rows // 2
        return now >= self._not_before and (
            half_full or now - self._since >= self.settings.flush_seconds - LOOKS_SECONDS
        )
