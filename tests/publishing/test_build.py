"""A run's files are made a piece at a time, and hold the same whatever the pieces and the shards are."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightshift.publishing import build as building
from nightshift.publishing import lists as night
from nightshift.publishing import records
from nightshift.publishing.build import Built, build
from nightshift.publishing.lists import load_lists
from nightshift.publishing.manifest import FORMAT
from nightshift.publishing.shards import open_shard
from nightshift.runs import StepError
from tests.publishing.planted import ITEMS, USERS, day, planted_lists, write_lists, write_more

MANY = tuple(sorted(f"user {number}" for number in range(100)))
OF_FORMAT_3 = "b5c6bc38ab3d3fc83714ed38c94d8f023eb1613ad8fb19289f8a3cfc43906c85"


@pytest.fixture
def built(tmp_path: Path) -> Callable[..., Built]:
    """Build the lists in `folder` with so many shards."""

    def make(folder: Path, shards: int, item_shards: int = 1) -> Built:
        work = tmp_path / f"built-{len(list(tmp_path.glob('built-*')))}"
        work.mkdir()
        return build(load_lists(folder), shards, item_shards, work)

    return make


def rewritten(folder: Path, name: str, row_group: int, change: Callable[[pa.Table], pa.Table] = lambda t: t) -> Path:
    file = folder / f"{name}.parquet"
    pq.write_table(change(pq.read_table(file, partitioning=None)), file, row_group_size=row_group)
    return folder


def pairs(built: Built) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for path in built.files.values():
        if path.suffix == ".lmdb":
            found |= dict(open_shard(path).pairs())
    return found


def test_the_content_hash_is_that_of_its_format_and_of_any_number_of_shards(
    built: Callable[..., Built], tmp_path: Path
) -> None:
    """Who changes a record gives the format another number: readers of an older release would take it for theirs."""
    folder = write_lists(tmp_path / "lists")
    found = {built(folder, shards, items).content_hash for shards, items in ((1, 1), (2, 3), (16, 4))}
    assert (FORMAT, found) == (3, {OF_FORMAT_3})


@pytest.mark.parametrize("row_group", [1, 7, 90, 5_000])
def test_neither_the_pieces_nor_the_row_groups_can_be_told_from_the_run(
    built: Callable[..., Built], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row_group: int
) -> None:
    whole = built(write_lists(tmp_path / "whole", users=MANY), 3)
    monkeypatch.setattr(night, "ROWS", 50)
    monkeypatch.setattr(building, "ROW_GROUP", 100)
    cut = built(rewritten(write_lists(tmp_path / "cut", users=MANY), "lists", row_group), 3)
    assert pairs(cut) == pairs(whole)
    assert (cut.content_hash, cut.counts) == (whole.content_hash, whole.counts)
    for name in (name for name in whole.files if name.endswith(".parquet")):
        assert pq.read_table(cut.files[name]) == pq.read_table(whole.files[name])


def test_the_pieces_are_of_whole_users_and_no_larger_than_they_must_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(night, "ROWS", 50)
    pieces = list(load_lists(rewritten(write_lists(tmp_path, users=MANY), "lists", 99)).users())
    users = [set(piece["user_id"].to_pylist()) for piece in pieces]
    assert sum(map(len, users)) == len(set().union(*users)) == len(MANY)
    assert max(piece.num_rows for piece in pieces) < 50 + len(ITEMS)


def test_a_users_rows_lie_with_their_record(built: Callable[..., Built], tmp_path: Path) -> None:
    run = built(write_lists(tmp_path / "lists", users=MANY), 5)
    for number in range(5):
        rows = pq.read_table(run.files[f"lists/part-{number:05}.parquet"])
        shard = open_shard(run.files[f"parts/part-{number:05}.lmdb"])
        users = rows["user_id"].unique().to_pylist()
        assert users == sorted(users)
        assert len(shard) == len(users)
        for user in users:
            assert records.shard_of(records.user_key(user), 5) == number
            value = shard.get(records.user_key(user)) or b""
            assert [entry["item_id"] for entry in orjson.loads(value)] == list(ITEMS)


def test_what_waits_on_disk_is_gone_when_the_run_is_built(built: Callable[..., Built], tmp_path: Path) -> None:
    run = built(write_lists(tmp_path / "lists"), 2)
    assert set((tmp_path / "built-0").iterdir()) == set(run.files.values())


def test_users_that_are_not_in_order_are_refused(built: Callable[..., Built], tmp_path: Path) -> None:
    def turned(rows: pa.Table) -> pa.Table:
        return rows.sort_by([("user_id", "descending"), ("rank", "ascending")])

    folder = rewritten(write_lists(tmp_path / "lists"), "lists", len(ITEMS), turned)
    with pytest.raises(
        StepError, match=r"lists.parquet is not in order of user_id, row group 1 .*run `python -m jobs.in"
    ):
        built(folder, 2)


def test_an_item_that_is_there_twice_is_refused(built: Callable[..., Built], tmp_path: Path) -> None:
    folder = rewritten(write_lists(tmp_path / "lists"), "items", 100, lambda rows: pa.concat_tables([rows, rows]))
    with pytest.raises(ValueError, match="two records have the key b't:21034'"):
        built(folder, 2)


def test_no_similar_items_and_no_users_are_a_run_too(built: Callable[..., Built], tmp_path: Path) -> None:
    folder = write_lists(tmp_path / "lists", users=())
    run = built(rewritten(folder, "similar", 100, lambda rows: rows.slice(0, 0)), 2)
    assert run.counts == {"users": 0, "items": len(ITEMS), "lists": 1, "entries": 0, "longest": 0}
    assert set(pairs(run)) == {records.POPULAR, *map(records.title_key, ITEMS)}


def test_segments_attributes_and_histories_have_their_records(built: Callable[..., Built], tmp_path: Path) -> None:
    bought = {
        USERS[0]: [("21034", day(3), 1), ("22423", day(9), 4), ("85123A", day(3), 2)],
        "no list": [("x", day(1), 1)],
    }
    folder = write_more(write_lists(tmp_path / "lists"), ["country:Spain", "country:France: North"], bought)
    run = built(folder, 3, 2)
    found = pairs(run)
    assert run.counts == {"users": 4, "items": 4, "lists": 4 + 3 + 1 + 2, "entries": 16, "longest": 4}
    assert orjson.loads(found[records.SEGMENTS]) == ["country"]
    assert orjson.loads(found[records.ATTRIBUTES]) == ["kind"]
    for value in ("Spain", "France: North"):
        entries = orjson.loads(found[records.segment_key("country", value)])
        assert [entry["item_id"] for entry in entries] == list(reversed(ITEMS))
        assert list(entries[0]) == list(orjson.loads(found[records.user_key(USERS[0])])[0])
    kinds = {item: found.get(records.attributes_key(item)) for item in ITEMS}
    assert kinds == {
        ITEMS[0]: b'{"kind":"kind 0"}',
        ITEMS[1]: b'{"kind":"kind 1"}',
        ITEMS[2]: b'{"kind":"kind 2"}',
        ITEMS[3]: None,
    }
    assert orjson.loads(found[records.history_key(USERS[0])]) == [
        {"item_id": "22423", "title": "item 22423 of a", "bought_on": "2011-11-09", "times": 4},
        {"item_id": "85123A", "title": "item 85123A of a", "bought_on": "2011-11-03", "times": 2},
        {"item_id": "21034", "title": "item 21034 of a", "bought_on": "2011-11-03", "times": 1},
    ]
    assert orjson.loads(found[records.history_key("no list")])[0]["title"] is None
    assert len(found) == 1 + 4 + 4 + 3 + (1 + 2) + (1 + 3) + 2
    assert built(folder, 5, 1).content_hash == run.content_hash
    shard = open_shard(run.files[f"parts/part-{records.shard_of(records.user_key(USERS[0]), 3):05}.lmdb"])
    assert shard.get(records.history_key(USERS[0]))  # where a reader of the user's list has it at hand


def test_records_are_merged_from_their_shards_in_key_order(tmp_path: Path) -> None:
    run = build(planted_lists(), 3, 2, tmp_path)
    shards = [open_shard(path).pairs() for path in run.files.values() if path.suffix == ".lmdb"]
    merged: list[Any] = list(heapq.merge(*shards))
    assert [key for key, _ in merged] == sorted(key for key, _ in merged)
    assert len(merged) == 1 + len(USERS) + 2 * len(ITEMS) - 1
