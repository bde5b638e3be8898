"""Publish and roll back many times while another process reads: how fast, what leaks, and what a reader sees.

    python -m benchmarks.publish --out var/figures --count 1000
    python -m benchmarks.publish --out var/figures --count 50 --users 1000000 --stores file

After every third publish the pointer goes back by one. All but the last few runs are pruned, at once, so that the
reader finds runs going while it opens them; a lease holds what it reads. Everything that it is answered carries the
name of the run that it comes from. The S3 server is moto's, in a process of its own: what it costs is not counted, but
waited for.
"""

from __future__ import annotations

import datetime as dt
import gc
import json
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import report, say
from benchmarks.options import parser
from benchmarks.stores import store
from nightshift.publishing.leases import LapsedError, Lease
from nightshift.publishing.lists import HISTORIES, SEGMENTS, load_lists
from nightshift.publishing.manifest import Model
from nightshift.publishing.pointer import make_live
from nightshift.publishing.prune import prune
from nightshift.publishing.publish import Origin, publish_run
from nightshift.publishing.read import live_manifest, open_run, tidy
from nightshift.publishing.rollback import roll_back
from nightshift.publishing.storage import Storage, StoreError, open_storage

SURFACE, DAY = "home", dt.date(2011, 11, 30)
KEPT = 3  # runs
ITEMS, SIZE = 50, 10  # items, and entries of a list
ORIGIN = Origin(Model(name="benchmark", version="1", kind="baseline"), {}, "0", "0")


@dataclass(frozen=True)
class Held:
    """What a process holds: resident memory, open files, threads."""

    mib: float
    files: int
    threads: int

    @classmethod
    def now(cls) -> Held:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        files = len(os.listdir("/proc/self/fd")) - 1  # without the one that lists them
        return cls(round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1), files, threading.active_count())


@dataclass
class Seen:
    """What the reader saw."""

    reads: int = 0
    runs: int = 0
    again: int = 0  # times that a run went between its pointer and its lease: it looks again
    failed: int = 0
    mixed: int = 0
    why: str = ""


def main(argv: list[str] | None = None) -> None:
    arguments = parser("publish", __doc__, repeats=False)
    arguments.add_argument("--count", type=int, default=1000, help="publishes (1000)")
    arguments.add_argument("--users", type=int, default=200, help="of a run (200)")
    arguments.add_argument("--shards", type=int, default=4, help="of a run (4)")
    arguments.add_argument("--stores", nargs="+", choices=["file", "s3"], default=["file", "s3"], help="(both)")
    args = arguments.parse_args(argv)
    rows = []
    for kind in args.stores:
        with tempfile.TemporaryDirectory(prefix="publish-") as folder, store(kind, Path(folder)) as (address, endpoint):
            rows.append({"store": kind, **soak(address, endpoint, args.count, args.users, args.shards, Path(folder))})
    report("publish", rows, vars(args), args.out)


def soak(address: str, endpoint: str | None, count: int, users: int, shards: int, work: Path) -> dict[str, Any]:
    """Publish `count` times and roll back after every third, while another process reads. Returns the figures."""
    storage = open_storage(address, endpoint)
    publish(storage, 0, users, shards, work)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    reader = context.Process(target=read, args=(address, endpoint, users, work / "cache", theirs), daemon=True)
    reader.start()
    ours.recv()  # it reads
    rollbacks, started, warm = 0, time.perf_counter(), Held.now()
    for number in range(1, count + 1):
        publish(storage, number, users, shards, work)
        if number % 3 == 0:
            roll_back(storage, SURFACE, None, dt.datetime.now(dt.UTC))
            rollbacks += 1
        if number == max(count // 10, 1):
            warm = Held.now()  # what is imported and made ready once is there now
        if number % 100 == 0:
            say(f"{number} of {count} published")
    seconds, held = time.perf_counter() - started, Held.now()
    ours.send("enough")
    seen, reader_warm, reader_held = ours.recv()
    reader.join()
    if seen.why:
        say(f"the reader: {seen.why}")
    return {
        "publishes": count,
        "rollbacks": rollbacks,
        "publishes/s": round(count / seconds, 2),
        **{f"reader: {name}": value for name, value in asdict(seen).items() if name != "why"},
        **{f"publisher, {name}": shown for name, shown in _before_and_after(warm, held)},
        **{f"reader, {name}": shown for name, shown in _before_and_after(reader_warm, reader_held)},
        "files left": len(storage.list("")),
        "half-written": len(storage.unfinished("")),
    }


def publish(storage: Storage, number: int, users: int, shards: int, work: Path) -> None:
    """Publish the `number`th run, whose every title ends in its name, make it live, and prune."""
    name, now = f"run-{number:06}", dt.datetime.now(dt.UTC)
    with tempfile.TemporaryDirectory(prefix="night-", dir=work) as folder:
        lists, built = Path(folder, "lists"), Path(folder, "built")
        built.mkdir()
        write_lists(lists, name, users)
        manifest = publish_run(
            storage,
            SURFACE,
            DAY,
            name,
            load_lists(lists),
            ORIGIN,
            shards=shards,
            item_shards=1,
            now=now,
            work=built,
        )
    make_live(storage, SURFACE, manifest.run, now)
    prune(storage, SURFACE, KEPT, dt.datetime.now(dt.UTC), grace=dt.timedelta(0))


def write_lists(folder: Path, mark: str, users: int) -> None:
    """A night's `lists` folder in which every title ends in `mark`."""
    folder.mkdir()
    items = np.array([f"item-{number:03}" for number in range(ITEMS)])
    names = np.array(sorted(f"user-{number}" for number in range(users)))
    rank = np.tile(np.arange(1, SIZE + 1, dtype=np.int32), users)
    place = (np.repeat(np.arange(users), SIZE) + rank) % ITEMS
    entry = {"item_id": items[place], "score": 1.0 / rank, "source": np.full(len(rank), "popular")}
    lists = {"user_id": np.repeat(names, SIZE), "rank": rank, **entry, "reason": np.full(len(rank), "Popular")}
    popular = {name: column[:SIZE] for name, column in lists.items() if name != "user_id"}
    similar = {"item_id": items[:-1], "rank": np.ones(ITEMS - 1, np.int32), "similar_id": items[1:]}
    tables = {
        "items": {"item_id": items, "title": np.array([f"{item} of {mark}" for item in items])},
        "popular": popular,
        "lists": lists,
        "similar": {**similar, "score": np.ones(ITEMS - 1)},
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet", row_group_size=100_000)
    for name, schema in (("segments", SEGMENTS), ("histories", HISTORIES)):
        pq.write_table(schema.empty_table(), folder / f"{name}.parquet")


def read(address: str, endpoint: str | None, users: int, cache: Path, told: Connection) -> None:
    """Be a reader: open the live run and look into it, again and again, until told that it is enough."""
    storage, seen, warm = open_storage(address, endpoint), Seen(), None
    lease = Lease(storage, SURFACE, "soak")
    while not told.poll():
        try:
            look(storage, lease, cache, users, seen)
        except LapsedError:
            seen.again += 1
        except (StoreError, OSError) as error:
            seen.failed += 1
            seen.why = str(error)
        if seen.reads == 20 and warm is None:
            warm = Held.now()
            told.send("reading")
    lease.release()
    told.send((seen, warm, Held.now()))


def look(storage: Storage, lease: Lease, cache: Path, users: int, seen: Seen) -> None:
    """Open the live run, and see whether everything in it is of this run."""
    manifest = live_manifest(storage, SURFACE)
    assert manifest
    seen.runs += lease.run != manifest.run
    lease.hold(manifest.run)
    run = open_run(storage, manifest, cache, lazy=True)
    names = [f"user-{(seen.reads * 7 + step) % users}" for step in range(5)]
    answers = [run.user(name) for name in names] + [run.popular(), run.title("item-000")]
    seen.mixed += {mark for answer in answers for mark in marks_in(answer)} != {manifest.run_id}
    seen.reads += 1
    tidy(cache, [manifest])


def marks_in(answer: bytes | None) -> set[str]:
    """The names of the runs that an answer's titles end in."""
    found = json.loads(answer) if answer else "nothing"
    titles = [entry["title"] for entry in found] if isinstance(found, list) else [found]
    return {title.rpartition(" ")[2] for title in titles}


def _before_and_after(before: Held, after: Held) -> Iterator[tuple[str, str]]:
    yield "MiB", f"{before.mib:.0f} to {after.mib:.0f}"
    yield "open files", f"{before.files} to {after.files}"
    yield "threads", f"{before.threads} to {after.threads}"


if __name__ == "__main__":
    main()
