"""Follow the pointer: keep the live run open, and swap it for the next while requests go on.

A request takes `Follower.live` once and answers from it alone, so no answer mixes two runs. Runs are immutable and
counted by reference: the one that was swapped out is unmapped when the last request that uses it lets go of it.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import orjson

from nightshift.publishing.layout import pointer_key
from nightshift.publishing.pointer import parse_pointer
from nightshift.publishing.read import OpenRun, cached, open_run, read_manifest
from nightshift.publishing.storage import NotThereError, Storage, StoreError
from nightshift.serving.metrics import Metrics

log = logging.getLogger("nightshift.serving")

LONGEST_WAIT = 60.0  # seconds between two tries to open a run that was refused


@dataclass(frozen=True)
class LiveRun:
    """The run that is served, and the JSON members that every answer carries."""

    run: OpenRun
    since: dt.datetime
    stamp: bytes

    @classmethod
    def of(cls, run: OpenRun) -> LiveRun:
        manifest = run.manifest
        stamp = {
            "surface": manifest.surface,
            "run_date": manifest.run_date,
            "run_id": manifest.run_id,
            "model": manifest.model.model_dump(),
        }
        return cls(run, dt.datetime.now(dt.UTC), orjson.dumps(stamp)[1:-1])


class Follower:
    """Looks at the pointer of one surface, in a thread of its own between `start` and `stop`."""

    def __init__(self, storage: Storage, surface: str, cache: Path, metrics: Metrics) -> None:
        self.storage, self.surface, self.cache, self.metrics = storage, surface, cache, metrics
        self.live: LiveRun | None = None
        self.refusal: str | None = None  # why the run that the pointer names is not the one that is served
        self._seen: str | None = None  # the pointer's tag, once what it names is served
        self._failures, self._retry_at = 0, 0.0
        self._failed: str | None = None
        self._stopping, self._looked = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, seconds: float, patience: float = 5.0) -> None:
        """Look every `seconds`; return after the first look, or after `patience` seconds where that takes longer."""
        self._thread = threading.Thread(target=self._follow, args=(seconds,), name="follower", daemon=True)
        self._thread.start()
        self._looked.wait(patience)

    def stop(self) -> None:
        self._stopping.set()
        if self._thread:
            self._thread.join(2)

    def look(self) -> None:
        """Look once: open what the pointer names, if it is new, and serve it. What fails leaves what is served."""
        try:
            stored = self.storage.read(pointer_key(self.surface))
        except NotThereError:
            self.metrics.looked.set_to_current_time()
            return
        except StoreError as error:
            self.metrics.unreachable.inc()
            log.warning("the pointer cannot be read: %s", error)
            return
        self.metrics.looked.set_to_current_time()
        if stored.etag == self._seen or (stored.etag == self._failed and time.monotonic() < self._retry_at):
            return
        try:
            self._serve(stored.body)
        except (StoreError, OSError) as error:
            self._refuse(stored.etag, error)
        else:
            self._seen, self._failed, self._failures, self.refusal = stored.etag, None, 0, None

    def _serve(self, pointer: bytes) -> None:
        run = parse_pointer(pointer, pointer_key(self.surface)).run
        if self.live and self.live.run.manifest.run == run:
            return
        manifest = read_manifest(self.storage, run)
        self.live = LiveRun.of(open_run(self.storage, manifest, self.cache))
        self.metrics.serves(manifest)
        log.info("serving %s, model %s %s", run, manifest.model.name, manifest.model.version)
        self._tidy({cached(self.cache, file) for file in manifest.shards})

    def _refuse(self, etag: str, error: Exception) -> None:
        self._failures = self._failures + 1 if etag == self._failed else 1
        self._seen, self._failed = None, etag
        self._retry_at = time.monotonic() + min(LONGEST_WAIT, 0.5 * 2**self._failures)
        self.refusal = str(error)
        self.metrics.refused.inc()
        log.error("refused: %s; still serving %s", error, self.live and self.live.run.manifest.run)

    def _tidy(self, needed: set[Path]) -> None:
        """Delete downloads of runs before. What a request still has mapped stays readable."""
        for path in self.cache.glob("*.lmdb"):
            if path not in needed:
                path.unlink(missing_ok=True)

    def _follow(self, seconds: float) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
            except Exception:
                log.exception("the look at the pointer failed; looking again")
            self._looked.set()
            self._stopping.wait(seconds)
