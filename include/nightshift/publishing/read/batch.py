"""A run for batch readers, straight from the store: e-mail, a warehouse, the next night.

    storage = open_storage("s3://bucket/published")
    with read_run(storage, "home", reader="newsletter") as run:
        run.user("17850", k=5)                    # [{"item_id": ..., "title": ..., "score": ..., ...}, ...]
        for user_id, entries in run.users(ids):   # any number of users, a shard at a time
            ...
        for batch in run.batches(["user_id", "item_id"], top=5):   # all of them, as Arrow record batches
            ...

Every file is checked against the manifest's hash before anything is read from it. At most one shard of the users' rows
is on this machine at a time, and a batch of it in memory; the lease keeps the run in the store meanwhile.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import socket
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from nightshift.config.settings import CURRENT
from nightshift.publishing.layout import date_of
from nightshift.publishing.leases import Lease
from nightshift.publishing.manifest import LISTS, File, Manifest
from nightshift.publishing.pointer import standings
from nightshift.publishing.read.fetch import fetch, tidy
from nightshift.publishing.read.manifests import CorruptRunError, find_manifest, list_manifests, parse_manifest
from nightshift.publishing.read.opened import OpenRun
from nightshift.publishing.records import Entry
from nightshift.publishing.storage import Storage, StoreError, store_of
from nightshift.runs import Night
from nightshift.runs.night import safe_run_id

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 2**16


@dataclass(frozen=True)
class BatchRun:
    """A run that is being read, and the lease on it; see `read_run`."""

    storage: Storage
    manifest: Manifest
    cache: Path
    lease: Lease | None
    keeps_files: bool  # in the cache, for the next time

    def user(self, user_id: str, k: int | None = None) -> list[Entry] | None:
        """The first `k` entries of a user's list, best first; None: the run does not know the user."""
        return next(entries for _, entries in self.users([user_id], k))

    def users(self, user_ids: Iterable[str], k: int | None = None) -> Iterator[tuple[str, list[Entry] | None]]:
        """Users with their lists, in another order than they were given: by shard, so that each is fetched once."""
        for asked in _by_shard(self._open(), user_ids):
            run = self._open()
            for user_id in asked:
                yield user_id, _entries(run.user(user_id), k)
            self._done_with_files()

    def history(self, user_id: str, k: int | None = None) -> list[Entry] | None:
        """What a user bought, the latest first; None: nothing that the run tells of."""
        found = _entries(self._open().history(user_id), k)
        self._done_with_files()
        return found

    def popular(self, k: int | None = None) -> list[Entry]:
        """The list for users that the run does not know."""
        return _entries(self._open().popular(), k) or []

    def similar(self, item_id: str, k: int | None = None) -> list[Entry] | None:
        """The items most like this one, best first; None: the run does not know the item, or none like it."""
        return _entries(self._open().similar(item_id), k)

    def batches(
        self, columns: Sequence[str] | None = None, *, top: int | None = None, rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """All users' rows, by shard, user and rank: user_id, rank, item_id, title, score, source, reason.

        Args:
            columns: these only.
            top: of each user the first so many.
            rows: of a batch, at most.
        """
        for file in self.manifest.files_in(LISTS):
            path = fetch(self.storage, self.manifest, file, self.cache)
            for batch in _batches_of(path, columns, top, rows):
                yield batch
                if self.lease:
                    self.lease.keep()
            self._done_with_files()

    def verify(self) -> Iterator[File]:
        """Fetch every file of the run, and hold it against the manifest's hash. Gives those that are right.

        Raises:
            CorruptRunError: one is missing, or another.
        """
        for file in self.manifest.files.values():
            with tempfile.TemporaryDirectory(dir=self.cache) as anew:
                fetch(self.storage, self.manifest, file, Path(anew))
            yield file
            self._done_with_files()

    def _open(self) -> OpenRun:
        return OpenRun(self.storage, self.manifest, self.cache)

    def _done_with_files(self) -> None:
        if not self.keeps_files:
            tidy(self.cache, keep=())
        if self.lease:
            self.lease.keep()


@contextlib.contextmanager
def read_run(
    storage: Storage,
    surface: str,
    *,
    run_date: dt.date | None = None,
    run_id: str | None = None,
    reader: str | None = None,
    lease: bool = True,
    cache: Path | None = None,
) -> Iterator[BatchRun]:
    """The live run, or the one of a date or an id (see `find_manifest`), held by a lease for as long as the body takes.

    Args:
        reader: who holds the lease, for people; the machine and the process, unless given. See `leases`.
        lease: False for a reader that may not write to the store: a run that is pruned meanwhile stays for a day.
        cache: where shards are kept for the next time; nowhere, unless given.

    Raises:
        StoreError: there is no such run, or the store cannot be used.
    """
    manifest = find_manifest(storage, surface, run_date, run_id)
    with contextlib.ExitStack() as stack:
        folder = cache or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nightshift-")))
        folder.mkdir(parents=True, exist_ok=True)
        held = None
        if lease:
            held = Lease(storage, surface, safe_run_id(reader or f"{socket.gethostname()}-{os.getpid()}"))
            stack.enter_context(held.of(manifest.run))
        yield BatchRun(storage, manifest, folder, held, keeps_files=cache is not None)


def read_table(
    storage: Storage, manifest: Manifest, name: str = "lists", columns: Sequence[str] | None = None
) -> pa.Table:
    """All rows of a run's `lists` or `similar` at once, in memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for file in manifest.files_in(name.removesuffix(".parquet")):
        with tempfile.TemporaryDirectory() as folder:
            path = fetch(storage, manifest, file, Path(folder))
            tables.append(pq.read_table(path, columns=columns, memory_map=False, partitioning=None))
    if not tables:
        raise CorruptRunError(f"{manifest.run} has no {name}")
    return pa.concat_tables(tables)


def published_before(night: Night, cache: Path) -> list[Path] | None:
    """The users' lists of the newest run of an earlier date; None where there is none.

    Runs that were rolled back do not count, nor those of other channels.

    Returns:
        Parquet files, fetched into `cache` where they are not on this machine.
    """
    storage, surface = store_of(night.settings, night.home), night.settings.store.surface
    named = standings(storage, surface).items()
    aside = {key for key, standing in named if standing.channel != CURRENT or standing.state == "rolled back"}
    keys = [item.key for item in list_manifests(storage, surface) if item.key not in aside]
    earlier = [key for key in keys if date_of(key) < night.run_date]
    if not earlier:
        return None
    latest = max(earlier, key=date_of)  # of one date, the first: the latest published
    manifest = parse_manifest(storage, latest)
    return [fetch(storage, manifest, file, cache) for file in manifest.files_in(LISTS)]


def _batches_of(path: Path, columns: Sequence[str] | None, top: int | None, rows: int) -> Iterator[pa.RecordBatch]:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, memory_map=False) as file:
        if unknown := set(columns or ()) - set(file.schema_arrow.names):
            raise StoreError(
                f"lists have no column {', '.join(sorted(unknown))}; they have {', '.join(file.schema_arrow.names)}"
            )
        wanted = list(columns or file.schema_arrow.names)
        for batch in file.iter_batches(rows, columns=list({*wanted, "rank"})):
            kept = batch if top is None else batch.filter(pc.less_equal(batch["rank"], top))
            if kept.num_rows:
                yield kept.select(wanted)


def _by_shard(run: OpenRun, user_ids: Iterable[str]) -> list[list[str]]:
    shards: dict[int, list[str]] = {}
    for user_id in user_ids:
        shards.setdefault(run.shard_of(user_id), []).append(user_id)
    return [shards[number] for number in sorted(shards)]


def _entries(value: bytes | None, k: int | None) -> list[Entry] | None:
    if value is None:
        return None
    entries: list[Entry] = orjson.loads(value)
    return entries[:k]
