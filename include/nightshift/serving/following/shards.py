"""The shards of a run that is served: read while they are here, fetched when somebody asks who waits for none of it.

One that cannot be read is closed: it is not here any more, until its hash is right again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn, TypeVar

from nightshift.publishing.manifest import File
from nightshift.publishing.read import OpenRun
from nightshift.publishing.records import Read
from nightshift.publishing.storage import StoreError

log = logging.getLogger("nightshift.serving")

T = TypeVar("T")

AGAIN_SECONDS = 5.0  # after a fetch has failed, or a shard that was fetched cannot be read again


class NotHereError(Exception):
    """The shard is not on this machine yet; it is being fetched."""

    why = "is still on its way"


class UnreadableError(NotHereError):
    """The shard is damaged; it is being checked, and fetched again where it can be."""

    why = "cannot be read"


class Readers(NamedTuple):
    """The shards of one kind, by number: the files, and what looks a key up in each, while it is here."""

    files: Sequence[File]
    reads: list[Read]


class Fetcher:
    """A reader for each shard of an open run, by its number. Those of items are here; of users, some may not be.

    Args:
        ahead: fetches files before they are opened here, at nobody's cost.
        fetched: called when a shard has come.
        damaged: called when a shard cannot be read.

    Attributes:
        users, items: whose reads raise `NotHereError` where the shard is not here, and what they like where it is
            damaged: `read` then closes it.
    """

    def __init__(
        self,
        run: OpenRun,
        ahead: Callable[[Sequence[File]], None],
        fetched: Callable[[], None],
        damaged: Callable[[], None] = lambda: None,
    ) -> None:
        self._run, self._ahead, self._fetched, self._damaged = run, ahead, fetched, damaged
        self._lock = threading.Lock()
        self._waiting: list[File] = []
        self._asked = dict[str, File]()  # by path: what somebody has asked for, and is not here
        self._unreadable = dict[str, str]()  # by path, why
        self._again: dict[str, float] = {}
        self._thread: threading.Thread | None = None
        self.users = Readers(run.manifest.user_shards, [self._reader(file) for file in run.manifest.user_shards])
        self.items = Readers(run.manifest.item_shards, [_kept(run, file) for file in run.manifest.item_shards])
        self._places = {
            file.path: (of.reads, number) for of in (self.users, self.items) for number, file in enumerate(of.files)
        }

    @property
    def missing(self) -> int:
        """How many shards are not here."""
        return sum(self._run.shard(file) is None for file in self._run.manifest.shards)

    @property
    def is_damaged(self) -> bool:
        """Whether a shard cannot be read."""
        return bool(self._unreadable)

    @property
    def trouble(self) -> str | None:
        """Which shards cannot be read, and why; None: none."""
        found = [f"{path} cannot be read: {why}" for path, why in sorted(self._unreadable.copy().items())]
        return f"{self._run.manifest.run}: {'; '.join(found)}" if found else None

    def read(self, of: Readers, number: int, key: bytes, parse: Callable[[bytes], T]) -> T | None:
        """What is under a key in the shard of this number, parsed; None where there is nothing.

        Raises:
            NotHereError: the shard is not here, or cannot be read.
        """
        try:
            value = of.reads[number](key)
            return None if value is None else parse(value)
        except NotHereError:
            raise
        except Exception as error:  # LMDB's own, or whatever comes of bytes that are not those that were written
            self._close(of.files[number], error)
            self._ask_for(of.files[number])

    def wait(self, seconds: float = 10.0) -> None:
        """Wait for what is being fetched, but no longer than this."""
        if thread := self._thread:
            thread.join(seconds)

    def look(self) -> None:
        """Have what was asked for and is not here fetched, if that has not failed a moment ago."""
        for file in list(self._asked.values()):
            self._want(file)

    def _reader(self, file: File) -> Read:
        return _kept(self._run, file) if self._run.shard(file) is not None else lambda key: self._ask_for(file)

    def _close(self, file: File, error: Exception) -> None:
        log.error(
            "%s of %s cannot be read, and is checked and fetched again: %s", file.path, self._run.manifest.run, error
        )
        self._unreadable[file.path] = f"{type(error).__name__}: {error}"
        self._run.close(file)
        reads, number = self._places[file.path]
        reads[number] = self._reader(file)
        self._damaged()

    def _ask_for(self, file: File) -> NoReturn:
        """Have the shard fetched, unless it is on its way or has failed a moment ago."""
        self._asked[file.path] = file
        self._want(file)
        raise UnreadableError if file.path in self._unreadable else NotHereError

    def _want(self, file: File) -> None:
        with self._lock:
            if file not in self._waiting and time.monotonic() >= self._again.get(file.path, 0):
                self._waiting.append(file)
                if self._thread is None:
                    self._begin()

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
                file = self._waiting[0]
            try:
                if file.path in self._unreadable:
                    self._run.doubt(file)
                self._ahead([file])
                self._run.open_all([file])
                reads, number = self._places[file.path]
                reads[number] = _kept(self._run, file)
                self._asked.pop(file.path, None)
                self._unreadable.pop(file.path, None)
                self._fetched()
            except Exception as error:
                unforeseen = not isinstance(error, StoreError | OSError)
                run = self._run.manifest.run
                log.warning("%s of %s cannot be fetched: %s", file.path, run, error, exc_info=unforeseen)
            finally:
                self._again[file.path] = time.monotonic() + AGAIN_SECONDS
                with self._lock:
                    self._waiting.remove(file)


def _kept(run: OpenRun, file: File) -> Read:
    shard = run.shard(file)
    if shard is None:
        raise StoreError(f"{file.path} of {run.manifest.run} is not open")
    return shard.reader()
