"""Runs with records that a test says: segments' lists, items' attributes, users' lists."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nightshift.publishing import records
from nightshift.publishing.manifest import ITEMS, Manifest
from nightshift.publishing.pointer import make_live
from nightshift.publishing.publish import upload
from nightshift.publishing.read import open_run
from nightshift.publishing.shards import Pair, write_shard
from nightshift.publishing.storage import Storage
from tests.publishing.planted import NOW, publish


def segment_pairs(lists: Mapping[str, Iterable[str]]) -> list[Pair]:
    """The records of segments, each with the items of its list."""
    names = {segment.partition(":")[0] for segment in lists}
    pairs = [(records.segment_key(*segment.split(":", 1)), entries(items)) for segment, items in lists.items()]
    return [(records.SEGMENTS, records.encode_names(names)), *pairs]


def attribute_pairs(attributes: Mapping[str, Mapping[str, Any]]) -> list[Pair]:
    """The records of items' attributes."""
    names = {name for of_item in attributes.values() for name in of_item}
    pairs = [(records.attributes_key(item), records.encode_attributes(of)) for item, of in attributes.items()]
    return [(records.ATTRIBUTES, records.encode_names(names)), *pairs]


def user_pair(user_id: str, items: Iterable[str]) -> Pair:
    return records.user_key(user_id), entries(items)


def entries(items: Iterable[str]) -> bytes:
    return records.encode(
        {"item_id": item, "title": f"item {item}", "score": 0.5, "source": "planted", "reason": "Planted"}
        for item in items
    )


def publish_with(
    storage: Storage, date: dt.date, run_id: str, pairs: Iterable[Pair], mark: str = "a", surface: str = "home"
) -> Manifest:
    """Publish planted lists with these records besides, or in the place of those with the same key, and live."""
    before = publish(storage, date, f"{run_id}-before", mark, surface)
    extra, manifest = dict(pairs), before.model_copy(deep=True, update={"run_id": run_id})
    with tempfile.TemporaryDirectory() as folder:
        work, run = Path(folder), open_run(storage, before, Path(folder))
        for name, file in before.files.items():
            shard = run.shard(file)
            if shard is None:
                manifest.files[name] = _moved(storage, before, manifest, name, work)
                continue
            of_items = name.startswith(ITEMS)
            count = len(before.item_shards if of_items else before.user_shards)
            number = int(name.rpartition("-")[2].removesuffix(".lmdb"))
            mine = {
                key: value
                for key, value in extra.items()
                if records.of_user(key) != of_items and records.shard_of(key, count) == number
            }
            path = work / f"{number}.{'items' if of_items else 'users'}.lmdb"
            write_shard(path, (dict(shard.pairs()) | mine).items())
            manifest.files[name] = upload(storage, manifest.folder, name, path)
    storage.create(manifest.run.manifest, manifest.to_json())
    make_live(storage, surface, manifest.run, NOW)
    return manifest


def _moved(storage: Storage, before: Manifest, after: Manifest, name: str, work: Path) -> Any:
    storage.download(before.folder + before.files[name].path, work / "table")
    return upload(storage, after.folder, name, work / "table")
