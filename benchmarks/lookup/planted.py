"""Published runs to look up in: users `u0`, `u1`, ... with lists drawn from a catalogue."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from benchmarks.measure import say
from nightshift.publishing import records
from nightshift.publishing.manifest import ITEMS, PARTS, Manifest, Model
from nightshift.publishing.publish import upload
from nightshift.publishing.shards import Pair, write_shard
from nightshift.publishing.storage import Storage

SOURCES = ("two_tower", "graph_filter", "cooccurrence", "repeat", "trending")
DRAWN = 10_000  # users whose items are drawn at once


@dataclass(frozen=True)
class Size:
    """How much is published: `entries` items a list, `shards` files."""

    users: int
    items: int = 20_000
    entries: int = 20
    shards: int = 8


def plant(storage: Storage, surface: str, date: dt.date, run_id: str, mark: str, size: Size) -> Manifest:
    """Publish a run without moving the pointer; every title ends in `mark`. Memory is bounded by one shard.

    A run of this id that is there is used again if it is of this format and size, else it is planted anew.
    """
    manifest = Manifest(
        surface=surface,
        run_date=date,
        run_id=run_id,
        created_at=dt.datetime.combine(date, dt.time(2), dt.UTC),
        content_hash=f"{mark}{size.users}".encode().hex().ljust(64, "0"),
        model=Model(name="nightshift-recommender", version="1", kind="two_stage"),
        counts={
            "users": size.users,
            "items": size.items,
            "lists": size.users + size.items + 1,
            "longest": size.entries,
        },
        files={},
        tables={},
        code="benchmark",
        config="benchmark",
    )
    if storage.exists(manifest.run.manifest):
        found = Manifest.model_validate_json(storage.read(manifest.run.manifest).body)
        if _kind(found) == (manifest.format, manifest.counts, size.shards):
            return found
        say(f"run {mark!r} is there, of another format or size (format, counts, shards: {_kind(found)}): planted anew")
        storage.delete(manifest.run.manifest)
        storage.delete_all(manifest.folder)
    catalogue = _catalogue(size.items, mark)
    keys = _by_shard(size)
    with tempfile.TemporaryDirectory(prefix="plant-") as work:

        def send(name: str, pairs: Iterator[Pair]) -> None:
            path = Path(work, Path(name).name)
            write_shard(path, list(pairs))
            manifest.files[name] = upload(storage, manifest.folder, name, path)
            path.unlink()

        for shard in range(size.shards):
            say(f"planting run {mark!r}: shard {shard + 1} of {size.shards}")
            send(f"{PARTS}part-{shard:05}.lmdb", _lists(keys[shard], catalogue, size))
        send(f"{ITEMS}part-00000.lmdb", _others(catalogue, size))
    storage.create(manifest.run.manifest, manifest.to_json())
    return manifest


def _kind(found: Manifest) -> tuple[int, dict[str, int], int]:
    return found.format, found.counts, len(found.user_shards)


def _by_shard(size: Size) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in range(size.shards)]
    for user in range(size.users):
        found[records.shard_of(records.user_key(f"u{user}"), size.shards)].append(user)
    return found


def _catalogue(items: int, mark: str) -> list[bytes]:
    """Every item's entry in a list, as a line."""
    rng = np.random.default_rng(0)
    scores = rng.random(items).round(6).tolist()
    return [
        orjson.dumps(
            {
                "item_id": f"i{item}",
                "title": f"HANGING HEART LIGHT HOLDER No. {item} of {mark}",
                "score": scores[item],
                "source": SOURCES[item % len(SOURCES)],
                "reason": "Customers who bought what you bought",
            }
        )
        for item in range(items)
    ]


def _lists(users: list[int], catalogue: list[bytes], size: Size) -> Iterator[Pair]:
    for start in range(0, len(users), DRAWN):
        some = users[start : start + DRAWN]
        rng = np.random.default_rng(some[0])
        for user, items in zip(some, rng.integers(0, size.items, (len(some), size.entries)).tolist(), strict=True):
            yield records.user_key(f"u{user}"), records.array_of([catalogue[item] for item in items])


def _others(catalogue: list[bytes], size: Size) -> Iterator[Pair]:
    """The popular list, the titles and the similar items."""
    yield records.POPULAR, records.array_of(catalogue[: size.entries])
    for item, line in enumerate(catalogue):
        yield records.title_key(f"i{item}"), orjson.dumps(orjson.loads(line)["title"])
        yield records.similar_key(f"i{item}"), records.array_of(catalogue[item + 1 : item + 1 + size.entries])
