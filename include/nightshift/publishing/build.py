"""Make a run's files from a night's lists, in memory that does not grow with the number of users.

One pass over the lists lays each user's record and rows aside, on disk, with the others of its shard; then each shard
is written by itself. So at any time there are in memory a piece of the lists, and the keys of one shard.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from nightshift.publishing import records
from nightshift.publishing.lists import POPULAR, SIMILAR, USERS, Lists, group_starts
from nightshift.publishing.manifest import ITEMS, LISTS, PARTS
from nightshift.publishing.shards import Pair, content_hash
from nightshift.publishing.spool import Spool

ROW_GROUP = 2**17  # rows
COUNTS = ("users", "items", "lists", "entries", "longest")  # of a manifest
ENTRY = [name for name in POPULAR.names if name != "rank"]


@dataclass(frozen=True)
class Built:
    """A run's files, by the names that its manifest gives them, and what the manifest says of them all."""

    files: dict[str, Path]
    content_hash: str
    counts: dict[str, int]


def build(lists: Lists, shards: int, item_shards: int, work: Path) -> Built:
    """Write the run's files into `work`, which is empty and has room for about twice their size.

    Raises:
        StepError: the lists are not in order: see `Lists`.
        ValueError: an item is there twice.
        OSError, lmdb.Error: the disk is full.
    """
    counts: Counter[str] = Counter(items=lists.items.num_rows, lists=1, longest=0)
    files = {
        **_users(lists, shards, work, counts),
        **_items(lists, item_shards, work, counts),
        "similar.parquet": _similar(lists, work),
    }
    content = content_hash(path for path in files.values() if path.suffix == ".lmdb")
    return Built(files, content, {name: counts[name] for name in COUNTS})


def _users(lists: Lists, shards: int, work: Path, counts: Counter[str]) -> dict[str, Path]:
    rows = [work / f"rows-{number:05}.arrow" for number in range(shards)]
    with contextlib.ExitStack() as stack:
        spools = _spools(stack, work, "users", shards)
        kept = [stack.enter_context(_rows_to(path)) for path in rows]
        for piece in lists.users():
            starts, users, shard_of = _users_of(piece, shards)
            _append(spools, shard_of, _records(piece, map(records.user_key, users), starts))
            of_row = np.repeat(shard_of, np.diff([*starts, piece.num_rows]))
            for number in set(shard_of):
                kept[number].write_table(piece.take(np.flatnonzero(of_row == number)))
            counts.update(users=len(users), lists=len(users), entries=piece.num_rows)
            counts["longest"] = max([counts["longest"], *np.diff([*starts, piece.num_rows]).tolist()])
        for piece in lists.histories():
            starts, users, shard_of = _users_of(piece, shards)
            _append(spools, shard_of, _records(piece, map(records.history_key, users), starts))
    files = {}
    for number, (spool, path) in enumerate(zip(spools, rows, strict=True)):
        files[f"{PARTS}part-{number:05}.lmdb"] = shard = work / f"users-{number:05}.lmdb"
        spool.write(shard)
        files[f"{LISTS}/part-{number:05}.parquet"] = table = work / f"lists-{number:05}.parquet"
        _write_parquet(table, USERS, _rows_of(path))
        path.unlink()
    return files


def _users_of(piece: pa.Table, shards: int) -> tuple[np.ndarray, list[str], list[int]]:
    """Where each user's rows begin, the users, and the number of each one's shard."""
    starts = group_starts(piece["user_id"])
    users = piece["user_id"].take(starts).to_pylist()
    return starts, users, [records.shard_of(records.user_key(user), shards) for user in users]


def _append(spools: Sequence[Spool], shard_of: Sequence[int], pairs: Iterable[Pair]) -> None:
    for number, pair in zip(shard_of, pairs, strict=True):
        spools[number].append(*pair)


def _items(lists: Lists, shards: int, work: Path, counts: Counter[str]) -> dict[str, Path]:
    with contextlib.ExitStack() as stack:
        spools = _spools(stack, work, "items", shards)
        for key, value in _of_items(lists, counts):
            spools[records.shard_of(key, shards)].append(key, value)
    files = {}
    for number, spool in enumerate(spools):
        files[f"{ITEMS}part-{number:05}.lmdb"] = shard = work / f"items-{number:05}.lmdb"
        spool.write(shard)
    return files


def _spools(stack: contextlib.ExitStack, work: Path, name: str, shards: int) -> list[Spool]:
    paths = (work / f"{name}-{number:05}.spool" for number in range(shards))
    return [stack.enter_context(contextlib.closing(Spool(path))) for path in paths]


def _of_items(lists: Lists, counts: Counter[str]) -> Iterator[Pair]:
    """Every record that is no user's."""
    yield records.POPULAR, records.encode(lists.popular.drop_columns("rank").to_pylist())
    for item_id, title in zip(*(column.to_pylist() for column in lists.items.columns), strict=True):
        yield records.title_key(item_id), records.encode_title(title)
    yield from _of_attributes(lists)
    yield from _of_segments(lists, counts)
    for piece in lists.similar():
        starts = group_starts(piece["item_id"])
        keys = [records.similar_key(item) for item in piece["item_id"].take(starts).to_pylist()]
        counts["lists"] += len(keys)
        entries = piece.drop_columns("item_id").rename_columns({"similar_id": "item_id"})
        yield from _records(entries, keys, starts)


def _of_attributes(lists: Lists) -> Iterator[Pair]:
    """What items can be filtered by."""
    names = lists.attributes.column_names
    if names:
        yield records.ATTRIBUTES, records.encode_names(names)
        for item_id, attributes in zip(lists.items["item_id"].to_pylist(), lists.attributes.to_pylist(), strict=True):
            if any(value is not None for value in attributes.values()):
                yield records.attributes_key(item_id), records.encode_attributes(attributes)


def _of_segments(lists: Lists, counts: Counter[str]) -> Iterator[Pair]:
    """The lists of segments, for users who are not known."""
    rows = lists.segments.to_pylist()
    if rows:
        yield records.SEGMENTS, records.encode_names({row["attribute"] for row in rows})
    for segment, of_segment in itertools.groupby(rows, itemgetter("attribute", "value")):
        counts["lists"] += 1
        yield records.segment_key(*segment), records.encode({name: row[name] for name in ENTRY} for row in of_segment)


def _records(rows: pa.Table, keys: Iterable[bytes], starts: np.ndarray) -> Iterator[Pair]:
    """The record of each key, whose rows begin at `starts`."""
    entries = rows.drop_columns([name for name in ("user_id", "rank") if name in rows.column_names])
    names, columns = entries.column_names, [column.to_numpy().tolist() for column in entries.columns]
    encoded = [orjson.dumps(dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)]
    ends = [*starts[1:], rows.num_rows]
    for key, start, end in zip(keys, starts, ends, strict=True):
        yield key, records.array_of(encoded[start:end])


def _similar(lists: Lists, work: Path) -> Path:
    path = work / "similar.parquet"
    _write_parquet(path, SIMILAR, lists.similar())
    return path


def _rows_to(path: Path) -> Any:
    """Where rows are laid aside."""
    return pa.ipc.new_stream(str(path), USERS, options=pa.ipc.IpcWriteOptions(compression="lz4"))


def _rows_of(path: Path) -> Iterator[pa.Table]:
    with pa.ipc.open_stream(str(path)) as stream:
        for batch in stream:
            yield pa.Table.from_batches([batch])


def _write_parquet(path: Path, schema: pa.Schema, pieces: Iterator[pa.Table]) -> None:
    """Write the pieces in row groups of about `ROW_GROUP` rows."""
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        waiting: list[pa.Table] = []
        for piece in pieces:
            waiting.append(piece)
            if sum(table.num_rows for table in waiting) >= ROW_GROUP:
                writer.write_table(pa.concat_tables(waiting))
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting))
