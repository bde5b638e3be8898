"""One channel of a surface: the pointer that it follows, and the run that it serves.

The run changes in one act, when the next one is whole and open. What is wrong with the next leaves the one before, and
answers say so.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from nightshift.config.settings import CURRENT
from nightshift.publishing.layout import pointer_key
from nightshift.publishing.manifest import File, Manifest, Run
from nightshift.publishing.pointer import parse_pointer
from nightshift.publishing.read import CorruptRunError, OpenRun, cached, open_run, read_manifest
from nightshift.publishing.storage import NotThereError, Storage, Stored, StoreError
from nightshift.serving.following.ahead import Ahead
from nightshift.serving.following.kept import KeptRuns, OnThisMachine
from nightshift.serving.following.live import LiveRun
from nightshift.serving.following.mapped import hold, let_go
from nightshift.serving.following.shards import Fetcher
from nightshift.serving.following.timely import Timely
from nightshift.serving.telemetry.metrics import Metrics

log = logging.getLogger("nightshift.serving")

LONGEST_WAIT = 60.0  # seconds between two tries to open a run that was refused

REFUSED = "a newer run is refused, as it cannot be read whole"
GONE = "the store no longer says which run is live"


@dataclass(frozen=True)
class Follows:
    """How channels are followed.

    Attributes:
        ask_seconds: within which the store must answer a small question, and
        open_seconds: within which a run must be here and open.
        stale_seconds: the pointer may go unread so long before answers are called stale.
        lazy: serve a run before all users' shards are here.
        hold: keep the shards of the run that is served in memory; another is served once they are there.
        max_age: seconds that a reader may keep an answer.
        form: what answers depend on beside their run, as the release: their tags change with it.
        ahead: fetches the files of a run while another is served; None: this process does.
    """

    ask_seconds: float = 5.0
    open_seconds: float = 3600.0
    stale_seconds: float = 60.0
    lazy: bool = False
    hold: bool = False
    max_age: int = 60
    form: str = ""
    ahead: Ahead | None = None


class Channel:
    """Follows one pointer; `look` is called by one thread, `live` and `state` may be read by any.

    Args:
        others: what other channels serve, of whose files nothing is let go of.
    """

    def __init__(
        self,
        storage: Storage,
        surface: str,
        name: str,
        cache: Path,
        metrics: Metrics,
        how: Follows,
        others: Callable[[], Collection[LiveRun]] = tuple,
    ) -> None:
        self.storage, self.surface, self.name, self.cache, self.metrics = storage, surface, name, cache, metrics
        self.live: LiveRun | None = None
        self.refusal: str | None = None  # why the run that the pointer names is not the one that is served
        self.unread: str | None = None  # why the pointer cannot be read
        self.looked: float | None = None  # when the last look that is over began, and
        self.pointer_read: float | None = None  # when the pointer was last read, as Unix time
        self._how, self._kept, self._others = how, KeptRuns(cache, name), others
        self._ask, self._open_in_time = Timely(how.ask_seconds), Timely(how.open_seconds)
        self._key = pointer_key(surface, name)
        self._seen: str | None = None  # the pointer's tag, once what it names is served
        self._failed: str | None = None  # the tag of a pointer whose run was refused
        self._failures, self._retry_at = 0, 0.0
        self._unread_since: float | None = None
        self._found = False  # whether there was a pointer, when it was last read
        self._passed_over: set[str] = set()  # what was said of kept runs that cannot be served

    def look(self) -> None:
        """Look at the pointer once: open what it names, if it is new, and serve it."""
        began = time.time()
        self._look()
        self.looked = began

    def _look(self) -> None:
        try:
            pointer = self._ask(lambda: self.storage.read(self._key))
        except NotThereError:
            self._is_gone()
        except StoreError as error:
            self._is_unread(error)
        else:
            self.unread, self._unread_since, self.pointer_read, self._found = None, None, time.time(), True
            self._follow(pointer)
            if self.live:
                self.live.fetcher.look()
        if self.live is None:
            self._serve_what_is_here()

    @property
    def is_empty(self) -> bool:
        """Whether the last look has found no pointer."""
        return self.looked is not None and self.unread is None and self.refusal is None and not self._found

    @property
    def trouble(self) -> str | None:
        """Why the pointer, or a shard of what is served, cannot be read."""
        return self.unread or (self.live.fetcher.trouble if self.live else None)

    def state(self) -> dict[str, Any]:
        """What is served, for metrics and for people."""
        live, found = self.live, None
        if live:
            run = live.run.manifest
            found = {
                "run_date": run.run_date.isoformat(),
                "run_id": run.run_id,
                "model": run.model.version,
                "created_at": run.created_at.isoformat(),
                "since": live.since.isoformat(),
                "missing": live.fetcher.missing,
            }
        return {
            "surface": self.surface,
            "channel": self.name,
            "live": found,
            "stale": live.stale if live else None,
            "refused": self.refusal,
            "trouble": self.trouble,
            "looked": self.looked,
            "pointer_read": self.pointer_read,
        }

    def _follow(self, pointer: Stored) -> None:
        if pointer.etag == self._seen:
            return self._now(None)
        if pointer.etag == self._failed and time.monotonic() < self._retry_at:
            return
        history: tuple[Run, ...] = ()
        try:
            named = parse_pointer(pointer.body, self._key)
            history = named.history
            if not self._serve(named.run, history, pointer.etag):
                return
        except (StoreError, OSError) as error:
            self._refuse(pointer.etag, error)
            if self.live is None:
                self._serve_what_is_here()
            if self.live is None:
                self._serve_one_before(history)
        else:
            self._seen, self._failed, self._failures, self.refusal = pointer.etag, None, 0, None

    def _serve(self, run: Run, history: tuple[Run, ...], etag: str) -> bool:
        """Serve the run that the pointer with this tag names. False: it names another by the time that this is here."""
        if self.live and self.live.run.manifest.run == run:
            self._now(None)
            return True
        manifest = self._ask(lambda: read_manifest(self.storage, run))
        self._kept.expect(manifest)
        opened = self._opened(self.storage, manifest)
        if self.live and self._how.hold:
            self._hold(opened)
        if self.live and self._has_moved(etag):  # a rollback, most likely: what was withdrawn must not be served
            log.warning("%s names another run than %s by now; looking again", self._key, run)
            return False
        before, self.live = self.live, opened
        if not before:
            self._hold_beside(opened)
        else:
            served = (live.run.manifest for live in (opened, *self._others()))
            let_go(self._mapped(before).difference(*map(self._paths, served)))
        self._kept.keep(manifest, history)
        self.metrics.happened(self.surface, "opened")
        log.info("serving %s of %s, model %s %s", run, self._key, manifest.model.name, manifest.model.version)
        return True

    def _has_moved(self, etag: str) -> bool:
        """Whether the pointer is another than it was. One that cannot be read now is taken as it was."""
        try:
            return self._ask(lambda: self.storage.read(self._key)).etag != etag
        except StoreError:
            return False

    def _opened(self, storage: Storage, manifest: Manifest, stale: str | None = None) -> LiveRun:
        """The run, with every shard here, or, where shards may come later, those that are in use now."""
        before, how = self.live, self._how
        files = manifest.item_shards + _in_use(before, manifest) if how.lazy else manifest.shards

        def ahead(files: Sequence[File]) -> None:
            if how.ahead:
                how.ahead.fetch(storage, manifest, files, self.cache, how.open_seconds)

        def opened() -> OpenRun:
            if before:  # with readers that must not wait
                ahead(files)
            run = open_run(storage, manifest, self.cache, lazy=True)
            run.open_all(files)
            return run

        def fetched() -> None:
            self.metrics.happened(self.surface, "fetched")
            if self.live and self.live.run is run:
                self._hold_beside(self.live)

        run = self._open_in_time(opened)

        def damaged() -> None:
            self.metrics.happened(self.surface, "damaged")

        fetcher = Fetcher(run, ahead, fetched, damaged)
        return LiveRun(run, dt.datetime.now(dt.UTC), fetcher, stale=stale, max_age=how.max_age, form=how.form)

    def _hold(self, live: LiveRun, wanted: Callable[[], bool] = lambda: True) -> None:
        """Have the shards of a run in memory, for as long as it is served."""
        try:
            hold(self._mapped(live), wanted)
        except OSError as error:
            log.warning("%s: not all of its shards can be held in memory: %s", live.key, error)

    def _hold_beside(self, live: LiveRun) -> None:
        """The same of what is served already, by a thread: no look waits."""

        def is_served() -> bool:
            return self.live is not None and self.live.run is live.run

        if self._how.hold:
            name = f"hold {self.name} of {self.surface}"
            threading.Thread(target=self._hold, args=(live, is_served), name=name, daemon=True).start()

    def _paths(self, manifest: Manifest) -> dict[Path, File]:
        """Where its shards lie on this machine, or will."""
        local = self.storage.local
        return {local(manifest.folder + file.path) or cached(self.cache, file): file for file in manifest.shards}

    def _mapped(self, live: LiveRun) -> set[Path]:
        """Where those of its shards lie that are open: as long as it is there, they stay mapped."""
        return {path for path, file in self._paths(live.run.manifest).items() if live.run.shard(file) is not None}

    def _now(self, stale: str | None) -> None:
        if self.live and self.live.stale != stale:
            self.live = self.live.now(stale)

    def _refuse(self, etag: str, error: Exception) -> None:
        self._failures = self._failures + 1 if etag == self._failed else 1
        self._seen, self._failed = None, etag
        self._retry_at = time.monotonic() + min(LONGEST_WAIT, 0.5 * 2**self._failures)
        self.refusal = str(error)
        self.metrics.happened(self.surface, "refused")
        self._now(REFUSED)
        log.error("%s: refused: %s; still serving %s", self._key, error, self.live and self.live.key)

    def _is_unread(self, error: StoreError) -> None:
        if str(error) != self.unread:
            log.warning("%s cannot be read: %s", self._key, error)
        self.unread, now = str(error), time.time()
        self._unread_since = self._unread_since or self.pointer_read or now
        if now - self._unread_since > self._how.stale_seconds:
            since = dt.datetime.fromtimestamp(int(self._unread_since), dt.UTC)
            self._now(f"there may be a newer run: the store has not been readable since {since:%Y-%m-%d %H:%M:%S} UTC")
        self.metrics.happened(self.surface, "store_errors")

    def _is_gone(self) -> None:
        """There is no pointer: nothing was published yet, or an experiment is over. What is live is not let go of."""
        self.unread, self._unread_since, self.pointer_read, self._found = None, None, time.time(), False
        if self.name != CURRENT:
            self.live = self._seen = None
            self._kept.forget()
        elif self.live and self.live.stale != GONE:
            self._seen = None
            self._now(GONE)
            log.error("%s is gone; still serving %s", self._key, self.live.key)

    def _serve_what_is_here(self) -> None:
        """Serve the last good run that is whole on this machine."""
        why = REFUSED if self.refusal else "the store cannot be read" if self.unread else None
        stale = f"there may be a newer run: {why}" if why else GONE
        offline = OnThisMachine(self.storage)
        for manifest in self._kept:
            try:
                self.live = self._opened(cast(Storage, offline), manifest, stale)
                offline.downloads = True
                self._hold_beside(self.live)
            except (StoreError, OSError) as error:
                if str(error) not in self._passed_over:
                    log.warning("%s, kept on this machine, cannot be served: %s", manifest.run, error)
                self._passed_over.add(str(error))
            else:
                log.warning("serving %s as kept here: %s", manifest.run, self.unread or self.refusal or GONE)
                return

    def _serve_one_before(self, history: tuple[Run, ...]) -> None:
        """Serve the run of these, the latest first, that the store has whole."""
        for run in history:
            try:
                manifest = self._ask(lambda: read_manifest(self.storage, run))  # noqa: B023
                self._kept.expect(manifest)
                self.live = self._opened(self.storage, manifest, REFUSED)
            except CorruptRunError as error:
                log.warning("%s: not served instead: %s", self._key, error)
            except (StoreError, OSError) as error:
                log.warning("%s: no run before can be read: %s", self._key, error)
                return
            else:
                self._hold_beside(self.live)
                self._kept.keep(manifest, history)
                self.metrics.happened(self.surface, "opened")
                log.warning("serving %s of %s instead, which was live before", run, self._key)
                return


def _in_use(before: LiveRun | None, manifest: Manifest) -> list[File]:
    """The next run's shards of the users whose shards are here now."""
    files = manifest.user_shards
    if before is None or len(before.run.manifest.user_shards) != len(files):
        return []
    shards = zip(before.run.manifest.user_shards, files, strict=True)
    return [new for old, new in shards if before.run.shard(old) is not None]
