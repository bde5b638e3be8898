"""The runs that are not live, for who compares two, as the page does: opened when asked for, few at a time."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import orjson

from nightshift.publishing.layout import date_of
from nightshift.publishing.pointer import UNNAMED, Standing, standings
from nightshift.publishing.read import CorruptRunError, list_manifests, open_run, parse_manifest, tidy
from nightshift.publishing.storage import Storage, StoreError
from nightshift.serving.answers import Answer
from nightshift.serving.exchange import Asked
from nightshift.serving.following.channel import Follows
from nightshift.serving.following.live import LiveRun
from nightshift.serving.following.shards import Fetcher
from nightshift.serving.problems import Problem
from nightshift.serving.routes.lists import Found, find
from nightshift.serving.routes.pages import NOW
from nightshift.serving.routes.query import Queries, Query
from nightshift.serving.service import SOON, Service, must_be_for

log = logging.getLogger("nightshift.serving")

T = TypeVar("T")

MOST_OPEN = 2  # of a surface
MOST_LISTED = 50  # the latest
MOST_ASKING = 8  # at once
TIDY_SECONDS = 60.0  # between two looks whether what is open is still there
FOLDER = "past"  # in a surface's cache


class PastRuns:
    """The published runs of one surface. All of it but `tidy` asks the store, so call it from a thread.

    Args:
        cache: a folder of its own.
        how: the live run is followed: how long answers keep, and what they depend on beside their run.
        seconds: that a shard which is not here may take to come.
    """

    def __init__(
        self, storage: Storage, surface: str, cache: Path, how: Follows | None = None, seconds: float = 10.0
    ) -> None:
        self._storage, self._surface, self._cache, self._seconds = storage, surface, cache, seconds
        self._how = how or Follows()
        self._open: OrderedDict[str, LiveRun] = OrderedDict()
        self._one_by_one, self._reading = threading.Lock(), threading.Lock()
        self._asking = threading.BoundedSemaphore(MOST_ASKING)
        self._threads = ThreadPoolExecutor(MOST_ASKING, "past runs")  # others' work must not wait for this store
        self._tidy_at = 0.0  # by the clock of `time.monotonic`
        self._tidied: Future[None] | None = None  # what was begun last

    def listed(self) -> list[tuple[str, Standing]]:
        """The runs' names, as `<run date>/<run id>`, the latest first, and what pointers say of each."""
        named = standings(self._storage, self._surface)
        return [(name, named.get(key, UNNAMED)) for name, key in self._manifests().items()]

    def find(self, name: str, user_id: str, query: Query) -> tuple[LiveRun, Found]:
        """A user's list in the run of this name, and the run.

        Raises:
            Problem: there is no such run.
            StoreError: it cannot be read.
        """
        live = self._opened(name)
        found = self._found(live, user_id, query)
        if found.awaited:
            live.fetcher.wait(self._seconds)
            found = self._found(live, user_id, query)
        return live, found

    def tidy(self) -> None:
        """Once a minute, in a thread: let go of the runs that the store has no more, here and in memory."""
        is_over = self._tidied is None or self._tidied.done()
        if is_over and time.monotonic() >= self._tidy_at and self._cache.is_dir():
            self._tidy_at = time.monotonic() + TIDY_SECONDS
            self._tidied = self._threads.submit(self._tidy)

    def _tidy(self) -> None:
        try:
            with self._one_by_one:
                self._let_go_of_what_went()
                tidy(self._cache, [live.run.manifest for live in self._open.values()])
        except Exception as error:
            log.warning("past runs of %s that may have gone are kept a minute longer: %s", self._surface, error)

    def _found(self, live: LiveRun, user_id: str, query: Query) -> Found:
        with self._reading:  # a shard's reader is for one thread at a time
            return find(live, user_id, query)

    async def ask(self, what: Callable[[], T]) -> T:
        """What `what` returns, in a thread.

        Raises:
            Problem: others ask already; the run is not one that can be read; or the store cannot be.
        """
        if not self._asking.acquire(blocking=False):
            raise Problem(503, f"{MOST_ASKING} requests are reading runs that are not live; ask again.", SOON)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, what)
        except CorruptRunError as error:  # to ask again will not help
            raise Problem(409, f"{error}.") from None
        except (StoreError, OSError) as error:
            raise Problem(503, f"The store cannot be read: {error}.", SOON) from None
        finally:
            self._asking.release()

    def _manifests(self) -> dict[str, str]:
        """The manifests' keys, by the runs' names."""
        keys = [item.key for item in list_manifests(self._storage, self._surface)]
        keys.sort(key=date_of, reverse=True)  # of one date the last published comes first
        return {"/".join(key.split("/")[-3:-1]): key for key in keys[:MOST_LISTED]}

    def _opened(self, name: str) -> LiveRun:
        with self._one_by_one:
            self._let_go_of_what_went()
            if name not in self._open:
                key = self._manifests().get(name)
                if key is None:
                    raise Problem(404, f"There is no run {name[:100]!r}. GET /v1/runs lists those there are.")
                run = open_run(self._storage, parse_manifest(self._storage, key), self._cache, lazy=True)
                run.open_all(run.manifest.item_shards)
                fetcher, now = Fetcher(run, lambda files: None, lambda: None), dt.datetime.now(dt.UTC)
                self._open[name] = LiveRun(run, now, fetcher, max_age=self._how.max_age, form=self._how.form)
                if len(self._open) > MOST_OPEN:
                    self._open.popitem(last=False)
                    tidy(self._cache, [live.run.manifest for live in self._open.values()])
            self._open.move_to_end(name)
            return self._open[name]

    def _let_go_of_what_went(self) -> None:
        """Close the runs that the store has no more: somebody who was in them may have been erased."""
        kept = [
            live.run.manifest for live in self._open.values() if self._storage.exists(live.run.manifest.run.manifest)
        ]
        if len(kept) < len(self._open):
            names = {str(manifest.run) for manifest in kept}
            self._open = OrderedDict((name, live) for name, live in self._open.items() if name in names)
            tidy(self._cache, kept)


class Runs:
    """`GET /v1/runs`: the runs of a surface that lists can be asked of, the latest first."""

    def __init__(self, service: Service, past: Mapping[str, PastRuns]) -> None:
        self._service, self._past = service, past
        self._parse = Queries(("surface",), service.surfaces).parse

    def __call__(self, name: str, query_string: str, asked: Asked) -> Awaitable[Answer]:
        surface = self._parse(query_string).surface
        self._service.must_be_tester(asked.caller, "The list of runs")
        must_be_for(asked.caller, surface)
        return self._answer(surface)

    async def _answer(self, surface: str) -> Answer:
        past, live = self._past[surface], self._service.followers[surface].live
        found: list[dict[str, Any]] = []
        for name, standing in await past.ask(past.listed):
            run_date, run_id = name.split("/")
            told = {"run_date": run_date, "run_id": run_id, "live": bool(live and live.key == name)}
            found.append({**told, "channel": standing.channel, "state": standing.state})
        return 200, NOW, orjson.dumps({"surface": surface, "runs": found})
