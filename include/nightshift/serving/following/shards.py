"""The shards of a run that is served: read while they are here, fetched when somebody asks who waits for none of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from nightshift.publishing.manifest import File
from nightshift.publishing.read import OpenRun
from nightshift.publishing.records import Read
from nightshift.publishing.storage import StoreError

log = logging.getLogger("nightshift.serving")

AGAIN_SECONDS = 5.0  # after a fetch has failed


class NotHereError(Exception):
    """The shard is not on this machine yet; it is being fetched."""


class Fetcher:
    """A reader for each shard of an open run, by its number. Those of items are here; of users, some may not be.

    Args:
        ahead: fetches files before they are opened here, at nobody's cost.
        fetched: called when a shard has come.

    Attributes:
        of_users, of_items: look a key up in the shard. One of a shard that is not here raises `NotHereError`.
    """

    def __init__(self, run: OpenRun, ahead: Callable[[Sequence[File]], None], fetched: Callable[[], None]) -> None:
        self._run, self._ahead, self._fetched = run, ahead, fetched
        self._files = tuple(run.manifest.user_shards)
        self._lock = threading.Lock()
        self._waiting: list[int] = []
        self._again: dict[int, float] = {}
        self._thread: threading.Thread | None = None
        self.of_users: list[Read] = [self._reader(number) for number in range(len(self._files))]
        self.of_items: list[Read] = [_kept(run, file) for file in run.manifest.item_shards]

    @property
    def missing(self) -> int:
        """How many shards are not here."""
        return sum(self._run.shard(file) is None for file in self._files)

    def wait(self, seconds: float = 10.0) -> None:
        """Wait for what is being fetched, but no longer than this."""
        if thread := self._thread:
            thread.join(seconds)

    def _reader(self, number: int) -> Read:
        file = self._files[number]
        if self._run.shard(file) is None:
            return lambda key: self._ask_for(number)
        return _kept(self._run, file)

    def _ask_for(self, number: int) -> bytes | None:
        """Have the shard fetched, unless it is on its way or has failed a moment ago."""
        with self._lock:
            if number not in self._waiting and time.monotonic() >= self._again.get(number, 0):
                self._waiting.append(number)
                if self._thread is None:
                    self._begin()
        raise NotHereError

    def _begin(self) -> None:
        """Start the thread that fetches what is waited for; where there is none to be had, the next who asks tries."""
        thread = threading.Thread(target=self._fetch, name="shards", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            log.warning("no shard of %s can be fetched now: %s", self._run.manifest.run, error)
            self._waiting.clear()
        else:
            self._thread = thread

    def _fetch(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                number = self._waiting[0]
            file = self._files[number]
            try:
                self._ahead([file])
                self._run.open_all([file])
                self.of_users[number] = _kept(self._run, file)
                self._fetched()
            except Exception as error:
                unforeseen = not isinstance(error, StoreError | OSError)
                run = self._run.manifest.run
                log.warning("shard %s of %s cannot be fetched: %s", number, run, error, exc_info=unforeseen)
                self._again[number] = time.monotonic() + AGAIN_SECONDS
            finally:
                with self._lock:
                    self._waiting.remove(number)


def _kept(run: OpenRun, file: File) -> Read:
    shard = run.shard(file)
    if shard is None:
        raise StoreError(f"{file.path} of {run.manifest.run} is not open")
    return shard.reader()
