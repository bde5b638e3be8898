"""The keys that are known now: read from the key file, and again whenever it changes.

A file that cannot be used leaves the keys as they were; that is counted and said once, and looked at again at the
next change. A process that starts meanwhile has the keys that another has kept; when the service starts, it is an
error.
"""

from __future__ import annotations

import datetime as dt
import logging
import math
import os
import threading
import time
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest
from pathlib import Path

from nightshift.config import ConfigError, load_as
from nightshift.runs.durable import replacing
from nightshift.serving.guard.keys import DIGEST_BYTES, Caller, Key, KeyFile
from nightshift.serving.guard.rates import Bucket, part

log = logging.getLogger("nightshift.serving")

HANDLE_BYTES = 8  # of a digest, that entries are found by; the whole of it is then compared in constant time
MISSING = "Make one: python -m nightshift.serving.guard new-key --name NAME"

Stamp = tuple[int, int, int]


@dataclass(slots=True)
class Entry:
    """A key that is known.

    Attributes:
        bucket: shared by all keys of a name; None: no limit.
        expires_at: by the clock of `time.monotonic`.
    """

    digest: bytes
    caller: Caller
    bucket: Bucket | None
    expires: dt.datetime | None
    expires_at: float = math.inf


class Keys:
    """The keys of one reading of the file.

    Attributes:
        entries: by the first bytes of their digests.
        recent: keys that were found to be right, with their entries, by `hash`, which is keyed anew in each process:
            where it finds one, the two are compared in constant time.
    """

    __slots__ = ("entries", "recent")

    def __init__(self, entries: dict[bytes, Entry]) -> None:
        self.entries, self.recent = entries, dict[int, tuple[str, Entry]]()

    def find(self, key: str) -> Entry | None:
        """The entry of a key; None: there is none."""
        known = self.recent.get(hash(key))
        if known is not None and key.isascii() and compare_digest(key, known[0]):
            return known[1]
        digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()
        entry = self.entries.get(digest[:HANDLE_BYTES])
        if entry is None or not compare_digest(digest, entry.digest):
            return None
        if key.isascii():
            self.recent[hash(key)] = (key, entry)
        return entry


class Keyring:
    """The keys of the key file at `path`.

    Args:
        kept: where the last content that could be used is kept, for processes that start later; None: nowhere.

    Attributes:
        keys: of the last reading that could be used.
        errors: times that a changed file could not be used.

    Raises:
        ConfigError: the file cannot be used at the start, and none is kept.
    """

    def __init__(self, path: Path, processes: int = 1, kept: Path | None = None) -> None:
        self.path, self.errors = path, 0
        self.keys = Keys({})
        self._processes, self._kept = processes, kept
        self._buckets: dict[tuple[str, float, int], Bucket] = {}
        self._seen: Stamp | None = self._stamp()
        self._take(self._first())
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, seconds: float) -> None:
        """Look at the file every `seconds`, in a thread of its own, until `stop`."""
        self._thread = threading.Thread(target=self._follow, args=(seconds,), name="keyring", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread:
            self._thread.join(2)

    def look(self) -> None:
        """Take the file's keys if it has changed since the last look."""
        stamp = self._stamp()
        if stamp == self._seen:
            return _set_clocks(self.keys)
        self._seen = stamp
        try:
            self._take(self._read())
        except ConfigError as error:
            self._refuse(error)
        else:
            log.info("%d keys of %s", len(self.keys.entries), self.path)

    def _first(self) -> KeyFile:
        """The file as it is at the start; where it cannot be used, as another process has kept it."""
        try:
            return self._read()
        except ConfigError as error:
            if self._kept is None or not self._kept.exists():
                raise
            self._refuse(error)
            return KeyFile.model_validate_json(self._kept.read_bytes())

    def _read(self) -> KeyFile:
        file = load_as(KeyFile, self.path, MISSING)
        if self._kept is not None:
            try:
                with replacing(self._kept) as partial:
                    partial.touch(0o600)
                    partial.write_text(file.model_dump_json(), encoding="utf-8")
            except OSError as error:
                log.warning("the keys cannot be kept for workers that start later: %s", error)
        return file

    def _refuse(self, error: ConfigError) -> None:
        self.errors += 1
        log.error("the key file cannot be used, so the keys stay as they were: %s", error)

    def _take(self, file: KeyFile) -> None:
        keys = Keys({key.digest[:HANDLE_BYTES]: self._entry(key) for key in file.keys})
        used = {id(entry.bucket) for entry in keys.entries.values()}
        self._buckets = {limit: bucket for limit, bucket in self._buckets.items() if id(bucket) in used}
        _set_clocks(keys)
        self.keys = keys  # in one act: a request sees the old keys or the new

    def _entry(self, key: Key) -> Entry:
        bucket = None
        if key.rate:
            limit = (key.name, key.rate, key.burst or max(1, math.ceil(key.rate)))
            bucket = self._buckets.setdefault(
                limit, Bucket(key.rate / self._processes, part(limit[2], self._processes))
            )
        return Entry(key.digest, key.caller, bucket, key.expires)

    def _stamp(self) -> Stamp | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _follow(self, seconds: float) -> None:
        while not self._stopping.wait(seconds):
            try:
                self.look()
            except Exception:
                log.exception("the look at the key file failed; looking again")


def _set_clocks(keys: Keys) -> None:
    """Say when keys expire by the clock that requests are timed with; at each look, since the two drift apart."""
    ahead = time.monotonic() - time.time()
    for entry in keys.entries.values():
        if entry.expires:
            entry.expires_at = entry.expires.timestamp() + ahead
