"""The lists of a night as they leave the pipeline, made ready to be written: sorted, with titles, for all readers."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nightshift.publishing import records
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

FILES = ("items.parquet", "lists.parquet", "popular.parquet", "similar.parquet")  # of a night's `lists` folder


@dataclass(frozen=True)
class Lists:
    """What a run publishes.

    Attributes:
        users: every user's list (`USERS`), by user and rank.
        popular: the list for unknown users (`POPULAR`), by rank.
        similar: for every item the items like it (`SIMILAR`), by item and rank; the title is of the similar one.
        titles: every known item's title; None where it has none.
    """

    users: pa.Table
    popular: pa.Table
    similar: pa.Table
    titles: dict[str, str | None]

    @property
    def counts(self) -> dict[str, int]:
        users = len(self.users["user_id"].unique())
        lists = users + len(self.similar["item_id"].unique()) + 1
        return {"users": users, "items": len(self.titles), "lists": lists, "entries": self.users.num_rows}

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """Every record of the run: its key, and its value. See `records`."""
        yield records.POPULAR, records.encode(_without_rank(self.popular))
        for user_id, entries in records.grouped("user_id", _without_rank(self.users)):
            yield records.user_key(user_id), records.encode(entries)
        similar = _without_rank(self.similar.rename_columns(["of", "rank", "item_id", "title", "score"]))
        for item_id, entries in records.grouped("of", similar):
            yield records.similar_key(item_id), records.encode(entries)
        for item_id, title in self.titles.items():
            yield records.title_key(item_id), records.encode_title(title)


def hashes(folder: Path) -> dict[str, str]:
    """The sha256 of every file that `load_lists` reads, by its name.

    Raises:
        StepError: one is missing.
    """
    return {name: hashlib.sha256(_there(folder / name).read_bytes()).hexdigest() for name in FILES}


def load_lists(folder: Path) -> Lists:
    """Read a night's `lists` folder: `lists`, `popular`, `similar` and `items`, each `.parquet`.

    Raises:
        StepError: a file or a column is missing, a score is not finite, or there is no popular list.
    """
    items = _read(folder / "items.parquet", pa.schema([("item_id", pa.string()), ("title", pa.string())]))
    titles = dict(zip(items["item_id"].to_pylist(), items["title"].to_pylist(), strict=True))
    lists = Lists(
        users=_listed(folder / "lists.parquet", USERS, titles, ["user_id", "rank"]),
        popular=_listed(folder / "popular.parquet", POPULAR, titles, ["rank"]),
        similar=_listed(folder / "similar.parquet", SIMILAR, titles, ["item_id", "rank"], titled="similar_id"),
        titles=titles,
    )
    if not lists.popular.num_rows:
        raise StepError(f"{folder / 'popular.parquet'} is empty: an unknown user would get nothing")
    return lists


def _listed(
    path: Path, schema: pa.Schema, titles: dict[str, str | None], order: list[str], titled: str = "item_id"
) -> pa.Table:
    """The file's rows in order, each with its item's title."""
    untitled = pa.schema([field for field in schema if field.name != "title"])
    table = _read(path, untitled).sort_by([(name, "ascending") for name in order])
    for score in table["score"].to_pylist():
        if score is None or not math.isfinite(score):
            raise StepError(f"{path}: a score is {score}: run `python -m jobs.infer` again, then validate_lists")
    column = pa.array([titles.get(item) for item in table[titled].to_pylist()], pa.string())
    return table.add_column(schema.get_field_index("title"), "title", column).cast(schema)


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    found = pq.read_schema(_there(path)).names
    if missing := [name for name in schema.names if name not in found]:
        raise StepError(f"{path} lacks {', '.join(missing)}; it has {', '.join(found)}")
    return pq.read_table(path, columns=schema.names).cast(schema)


def _there(path: Path) -> Path:
    if not path.is_file():
        raise StepError(f"{path} is not there: run `python -m jobs.infer` for this run date first")
    return path


def _without_rank(table: pa.Table) -> list[records.Entry]:
    return table.drop_columns("rank").to_pylist()
