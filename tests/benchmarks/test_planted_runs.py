"""The published runs that the lookup benchmark keeps between its calls."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.lookup.planted import Size, plant
from nightshift.publishing.manifest import FORMAT, Manifest
from nightshift.publishing.read import open_run
from nightshift.publishing.storage import Storage, open_storage

SIZE = Size(users=30, items=40, entries=4, shards=2)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage((tmp_path / "published").as_uri())


def planted(storage: Storage, size: Size) -> Manifest:
    return plant(storage, "home", dt.date(2026, 3, 1), "a", "a", size)


def written(storage: Storage) -> dict[str, bytes]:
    return {listed.key: storage.read(listed.key).body for listed in storage.list("")}


def test_a_planted_run_of_the_same_size_is_used_again(storage: Storage) -> None:
    first = planted(storage, SIZE)
    kept = storage.list("")
    assert planted(storage, SIZE) == first
    assert storage.list("") == kept


@pytest.mark.parametrize("other", [{"users": 50}, {"shards": 3}, {"shards": 1}, {"items": 60}, {"entries": 5}])
def test_a_planted_run_of_another_size_is_planted_anew(storage: Storage, other: dict[str, int], tmp_path: Path) -> None:
    planted(storage, SIZE)
    size = replace(SIZE, **other)
    found = planted(storage, size)
    counted = [found.counts[name] for name in ("users", "items", "longest")]
    assert [*counted, len(found.user_shards)] == [size.users, size.items, size.entries, size.shards]
    assert set(written(storage)) == {found.run.manifest} | {found.folder + file.path for file in found.files.values()}
    run = open_run(storage, found, tmp_path / "cache")
    assert run.user(f"u{size.users - 1}")
    assert not run.user(f"u{size.users}")


def test_a_planted_run_of_another_format_is_planted_anew(storage: Storage) -> None:
    found = planted(storage, SIZE)
    good = written(storage)
    old = json.loads(good[found.run.manifest]) | {"format": FORMAT - 1}
    storage.write(found.run.manifest, json.dumps(old).encode())
    assert planted(storage, SIZE).format == FORMAT
    assert set(written(storage)) == set(good)
