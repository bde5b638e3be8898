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
from typing import TYPE_CHECKING

from nightshift.config.settings import Experiments, ExposureFiles

if TYPE_CHECKING:
    import pyarrow as pa

    from nightshift.experiments.assignment import Assignment

log = logging.getLogger("nightshift.experiments")

FOLDER, PENDING, LANDED = "exposures", "pending", "landed"  # in NIGHTSHIFT_HOME
LOOKS_SECONDS = 0.1  # between two looks of the thread
GIVE_WAY_SECONDS = 0.0005  # between two parts of its work, so that no request waits for a whole file


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
        self._taken: list[tuple[object, ...]] = []
        self._room = settings.max_rows  # for waiting ones
        self._writer, self._files, self._told = secrets.token_hex(8), 0, 0
        self._since = time.monotonic()
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
                waiting.append((user_id, assignment, run, items, at, request_id, channel))
            else:
                self.dropped += 1

    @property
    def waiting(self) -> int:
        """Exposures that a kill would lose now."""
        return len(self._waiting) + len(self._taken)

    def start(self) -> None:
        from nightshift.experiments import exposure_files  # noqa: F401  (pyarrow takes its time to import)

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
        from nightshift.experiments.exposure_files import write

        self._since = time.monotonic()
        self._take()
        if not self._taken:
            return
        dropped = self.dropped
        try:
            write(self.folder, self._batches(), self._writer, self._files, dropped - self._told)
        except OSError as error:
            self.failures += 1
            log.warning("exposures: %d rows wait, for they cannot be written: %s", self.waiting, error)
            return
        except Exception:  # a row that is none: it would be in the way of all that come after
            self.dropped += len(self._taken)
            log.exception("exposures: %d rows are dropped", len(self._taken))
        else:
            self._files, self._told, self.written = self._files + 1, dropped, self.written + len(self._taken)
        self._taken, self._room = [], self.settings.max_rows

    def _batches(self) -> list[pa.RecordBatch]:
        from nightshift.experiments.exposure_files import AT_ONCE, batch_of

        batches = []
        for start in range(0, len(self._taken), AT_ONCE):
            batches.append(batch_of(self._taken[start : start + AT_ONCE], self._writer, self.written + start))
            time.sleep(GIVE_WAY_SECONDS)
        return batches

    def _take(self) -> None:
        """Take what waits; all that is taken and all that waits never is more than `max_rows`."""
        for _ in range(len(self._waiting)):
            self._room -= 1  # before, so that no request finds room that there is not
            self._taken.append(self._waiting.popleft())

    def _run(self) -> None:
        while not self._stopping.wait(LOOKS_SECONDS):
            if self._is_due():
                self.flush()

    def _is_due(self) -> bool:
        half_full = self.waiting >= self.settings.max_rows // 2
        return half_full or time.monotonic() - self._since >= self.settings.flush_seconds - LOOKS_SECONDS
