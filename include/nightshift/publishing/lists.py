"""The lists of a night as they leave the pipeline, made ready to be written: in pieces, in order, with titles."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nightshift.publishing.storage import sha256_of
from nightshift.runs import StepError

USERS = pa.schema(
    [
        ("user_id", pa.string()),
        ("rank", pa.int32()),
        ("item_id", pa.string()),
        ("title", pa.string()),
        ("score", pa.float64()),
        ("source", pa.string()),
        ("reason", pa.string()),
    ]
)
SIMILAR = pa.schema(
    [
        ("item_id", pa.string()),
        ("rank", pa.int32()),
        ("similar_id", pa.string()),
        ("title", pa.string()),
        ("score", pa.float64()),
    ]
)
POPULAR = pa.schema([field for field in USERS if field.name != "user_id"])
SEGMENTS = pa.schema([("attribute", pa.string()), ("value", pa.string()), *POPULAR])
HISTORIES = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("title", pa.string()),
        ("bought_on", pa.date32()),
        ("times", pa.int32()),
    ]
)
ITEMS = pa.schema([("item_id", pa.string()), ("title", pa.string())])

NAMES = ("histories", "items", "lists", "popular", "segments", "similar")
FILES = tuple(f"{name}.parquet" for name in NAMES)  # of a night's `lists` folder
ROWS = 2**16  # of a piece, about
BY_RANK = (("rank", "ascending"),)
LATEST_FIRST = (("bought_on", "descending"), ("times", "descending"), ("item_id", "ascending"))

Order = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Lists:
    """What a run publishes. Of users and similar items there may be more than memory holds: they are read in pieces.

    Attributes:
        folder: a night's `lists` folder.
        items: all items that the night knows (`ITEMS`); no title: null.
        attributes: the same items' other texts, a column each; no text: null.
        popular: the list for unknown users (`POPULAR`), by rank.
        segments: the lists of segments (`SEGMENTS`), by attribute, value and rank.
    """

    folder: Path
    items: pa.Table
    attributes: pa.Table
    popular: pa.Table
    segments: pa.Table

    def users(self) -> Iterator[pa.Table]:
        """Every user's list (`USERS`), by user and rank; no user is in two pieces.

        Raises:
            StepError: a column is missing, a score is not finite, or the users are not in order.
        """
        return self._pieces("lists.parquet", USERS, "item_id")

    def histories(self) -> Iterator[pa.Table]:
        """What users bought (`HISTORIES`), in the same way, the latest first."""
        return self._pieces("histories.parquet", HISTORIES, "item_id", LATEST_FIRST)

    def similar(self) -> Iterator[pa.Table]:
        """For every item the items like it (`SIMILAR`), in the same way; the title is of the similar one."""
        return self._pieces("similar.parquet", SIMILAR, "similar_id")

    def _pieces(self, name: str, schema: pa.Schema, titled: str, then: Order = BY_RANK) -> Iterator[pa.Table]:
        for rows in _in_order(self.folder / name, _untitled(schema), then):
            yield _with_titles(rows, schema, titled, self.items)


def hashes(folder: Path) -> dict[str, str]:
    """The sha256 of every file that `load_lists` reads, by its name.

    Raises:
        StepError: one is missing.
    """
    return {name: sha256_of(_there(folder / name)) for name in FILES}


def load_lists(folder: Path) -> Lists:
    """Open a night's `lists` folder: `NAMES`, each `.parquet`.

    Raises:
        StepError: a file or a column is missing, or there is no popular list.
    """
    every = _opened(folder / "items.parquet", ITEMS).read()
    items = every.select(ITEMS.names).cast(ITEMS)
    for name, schema in (("lists", USERS), ("similar", SIMILAR), ("histories", HISTORIES)):
        _opened(folder / f"{name}.parquet", _untitled(schema))
    popular = _ranked(folder / "popular.parquet", POPULAR, items, ())
    if not popular.num_rows:
        raise StepError(f"{folder / 'popular.parquet'} is empty: an unknown user would get nothing")
    segments = _ranked(folder / "segments.parquet", SEGMENTS, items, ("attribute", "value"))
    return Lists(folder, items, _texts(every), popular, segments)


def _ranked(path: Path, schema: pa.Schema, items: pa.Table, by: Sequence[str]) -> pa.Table:
    """A file's lists, whole, by these columns and rank."""
    untitled = _untitled(schema)
    rows = _opened(path, untitled).read(untitled.names).cast(untitled)
    _must_be_finite(path, rows)
    return _with_titles(rows.sort_by([*((name, "ascending") for name in by), *BY_RANK]), schema, "item_id", items)


def _texts(items: pa.Table) -> pa.Table:
    """The columns of texts that are not of `ITEMS` and have some."""
    names = [
        field.name
        for field in items.schema
        if field.name not in ITEMS.names
        and (pa.types.is_string(field.type) or pa.types.is_large_string(field.type))
        and items[field.name].null_count < items.num_rows
    ]
    return items.select(sorted(names)).cast(pa.schema([(name, pa.string()) for name in sorted(names)]))


def _in_order(path: Path, schema: pa.Schema, then: Order) -> Iterator[pa.Table]:
    """A file's rows in pieces, by the first column and `then`; no value of the first column is in two pieces.

    The file must be in order of its first column from row group to row group, as `infer` writes it.
    """
    file, key = _opened(path, schema), schema.names[0]
    rest, last = schema.empty_table(), ""
    for number in range(file.num_row_groups):
        rows = pa.concat_tables([rest, file.read_row_group(number, schema.names).cast(schema)])
        rows = rows.sort_by([(key, "ascending"), *then])
        _must_be_finite(path, rows)
        if rows.num_rows and rows[key][0].as_py() < last:
            where = f"row group {number} begins before the one before it ends"
            raise StepError(f"{path} is not in order of {key}, {where}: run `python -m jobs.infer` again")
        *pieces, rest = _cut(rows, key)
        last = rest[key][0].as_py() if rest.num_rows else last
        yield from pieces
    if rest.num_rows:
        yield rest


def _cut(rows: pa.Table, key: str) -> list[pa.Table]:
    """Rows that are in order, cut where the key changes into pieces of about `ROWS`; the last piece has one key."""
    starts = group_starts(rows[key])
    cuts = sorted({0, *(starts[starts.searchsorted(at)] for at in range(ROWS, int(starts[-1]), ROWS)), int(starts[-1])})
    return [rows.slice(start, end - start) for start, end in itertools.pairwise([*cuts, rows.num_rows])]


def group_starts(column: pa.ChunkedArray) -> np.ndarray:
    """Where each new value of an ordered column begins; of an empty column, 0."""
    if len(column) < 2:
        return np.zeros(1, np.int64)
    changes = pc.not_equal(column.slice(1), column.slice(0, len(column) - 1))
    return np.concatenate([[0], np.flatnonzero(changes.to_numpy()) + 1])


def _must_be_finite(path: Path, rows: pa.Table) -> None:
    if "score" not in rows.column_names:
        return
    wrong = rows["score"].filter(pc.invert(pc.fill_null(pc.is_finite(rows["score"]), False)))
    if len(wrong):
        again = "run `python -m jobs.infer` again, then validate_lists"
        raise StepError(f"{path}: a score is {wrong[0].as_py()}: {again}")


def _with_titles(rows: pa.Table, schema: pa.Schema, titled: str, items: pa.Table) -> pa.Table:
    titles = items["title"].take(pc.index_in(rows[titled], value_set=items["item_id"]))
    return rows.add_column(schema.get_field_index("title"), "title", titles).cast(schema)


def _untitled(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field for field in schema if field.name != "title"])


def _opened(path: Path, schema: pa.Schema) -> pq.ParquetFile:
    file = pq.ParquetFile(_there(path))
    found = file.schema_arrow.names
    if missing := [name for name in schema.names if name not in found]:
        raise StepError(f"{path} lacks {', '.join(missing)}; it has {', '.join(found)}")
    return file


def _there(path: Path) -> Path:
    if not path.is_file():
        raise StepError(f"{path} is not there: run `python -m jobs.infer` for this run date first")
    return path
