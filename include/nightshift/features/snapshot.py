"""What a model may know: the committed feature tables as of one day, in memory."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
import sqlglot

from nightshift.features.definitions import USER_ITEM, Feature
from nightshift.features.lineage import LINEAGE, layers, load_states
from nightshift.features.measures import ALIVE
from nightshift.lake import Lake
from nightshift.lake.duck import parquet
from nightshift.runs import StepError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Versions = Mapping[str, int]
Read = Callable[[str, Sequence[dt.date]], "AbstractContextManager[DuckDBPyConnection]"]
"""Of a table, the partitions of some days: a DuckDB with the view `rows`."""

FEATURES = "columns(lambda name: name not in ('run_date', 'state'))"  # without what only the next night reads
INTERACTIONS = ["user_id", "item_id", "event_date", "event_time", "basket_id", "run_date"]


@dataclass(frozen=True)
class Snapshot:
    """The committed features as of the end of `as_of`, sorted by key, so that positions are stable.

    Attributes:
        as_of: the last business day that is known.
        users: one row a user, by `user_id`: see `definitions.user_features`.
        items: one row an item, by `item_id`: see `definitions.item_features`; `sellable` says what may be listed.
        pairs: one row a (user_id, item_id) with affinity above 0: see `definitions.USER_ITEM`.
        sequences: `user_id`, `items` (item ids, the most recent first), `days_ago` (days before the end of `as_of`).
        cooccurrence: `item_id`, `neighbour_id`, `baskets` (count), `score` (cosine, in (0, 1]), best first per item.
        gaps: `item_id`, `gap_days` (median of `mean_gap_days` over all pairs) of items that somebody has bought twice;
            None: `pairs` are all pairs, and tell.
        lineage: what it follows from, see `lineage`; None: it is not out of the lake.
        shared: what others have made of `items` and `cooccurrence`, kept for all snapshots with the same two tables.
    """

    as_of: dt.date
    users: pd.DataFrame
    items: pd.DataFrame
    pairs: pd.DataFrame
    sequences: pd.DataFrame
    cooccurrence: pd.DataFrame
    gaps: pd.DataFrame | None = None
    lineage: str | None = None
    shared: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


def load_snapshot(lake: Lake, as_of: dt.date, versions: Versions | None = None) -> Snapshot:
    """The features as of a day that a night has committed.

    Args:
        versions: table -> Delta version to read, as a manifest names them; the newest where it names none.

    Raises:
        StepError: there is no state of that day.
    """
    read = partial(partition_rows, lake, versions=versions)
    found = snapshot_of(chain_of(lake, as_of, versions), read)
    recorded = {state.run_date: state.lineage for state in load_states(lake, (versions or {}).get(LINEAGE))}
    return replace(found, lineage=recorded[as_of])


def chain_of(lake: Lake, as_of: dt.date, versions: Versions | None = None) -> tuple[dt.date, ...]:
    """The days whose partitions lie upon each other in the features as of a day, that day first.

    Raises:
        StepError: there is no state of that day.
    """
    states = load_states(lake, (versions or {}).get(LINEAGE))
    if as_of not in {state.run_date for state in states}:
        raise StepError(f"no features as of {as_of}: python -m jobs.build_features --run-date {as_of} makes them")
    return tuple(layers(states, as_of))


def snapshot_of(chain: Sequence[dt.date], read: Read) -> Snapshot:
    """The features as of the first day of a chain, out of the tables' rows wherever they are read from."""
    return Snapshot(chain[0], **tables_of_users(chain, read), **tables_of_items(chain, read))


def tables_of_users(chain: Sequence[dt.date], read: Read) -> dict[str, pd.DataFrame]:
    """The tables of a snapshot that have rows of users."""
    return {
        "users": _whole(read, "user_features", chain[0], ["user_id"]),
        "pairs": _pairs(read, chain),
        "sequences": _sequences(read, chain),
    }


def tables_of_items(chain: Sequence[dt.date], read: Read) -> dict[str, pd.DataFrame]:
    """The others."""
    return {
        "items": _whole(read, "item_features", chain[0], ["item_id"]),
        "cooccurrence": _whole(read, "cooccurrence", chain[0], ["item_id", "score desc", "neighbour_id"]),
    }


def _whole(read: Read, table: str, as_of: dt.date, order: Sequence[str]) -> pd.DataFrame:
    """A day's partition of a table that has every row in it, without what only the next night reads."""
    with read(table, [as_of]) as rows:
        return (
            rows.sql(f"select * exclude (run_date), from rows order by {', '.join(order)}")
            .df()
            .drop(columns="state", errors="ignore")
        )


def _pairs(read: Read, chain: Sequence[dt.date]) -> pd.DataFrame:
    with read("user_item_features", chain) as rows:
        view_pairs(rows, chain)
        return rows.sql("from pairs order by user_id, item_id").df()


def view_pairs(rows: DuckDBPyConnection, chain: Sequence[dt.date]) -> None:
    """Put the pairs that are in `rows`, as they are as of the first day of a chain, under the name `pairs`."""
    features = ", ".join(f"{duckdb_of(f)}::{f.type} as {f.name}" for f in USER_ITEM)
    newest = _newest(chain, "user_id, item_id")
    rows.execute(f"create view newest as select *, date '{chain[0]}' as as_of from rows {newest}")
    rows.execute(f"create view pairs as select user_id, item_id, {features} from newest where {ALIVE}")


def _sequences(read: Read, chain: Sequence[dt.date]) -> pd.DataFrame:
    ago = f"list_transform(days, lambda day: date_diff('day', day, date '{chain[0]}'))"
    with read("user_sequences", chain) as rows:
        newest = _newest(chain, "user_id")
        return rows.sql(f"select user_id, items, {ago} as days_ago from rows {newest} order by user_id").df()


def _newest(chain: Sequence[dt.date], keys: str) -> str:
    """The clause that keeps the row of the newest layer; a single layer has no other."""
    ranked = f"row_number() over (partition by {keys} order by run_date desc)"
    return f"qualify {ranked} = 1" if len(chain) > 1 else ""


@contextmanager
def partition_rows(
    lake: Lake, table: str, days: Sequence[dt.date], versions: Versions | None = None
) -> Iterator[DuckDBPyConnection]:
    """A DuckDB with the view `rows`: these days' partitions of a table."""
    import duckdb

    with duckdb.connect() as database:
        _view(database, "rows", lake, table, days, versions)
        yield database


def view_features(database: DuckDBPyConnection, lake: Lake, as_of: dt.date, versions: Versions | None = None) -> None:
    """Put the users, items and pairs of `load_snapshot` under these names; they stay in the lake.

    Raises:
        StepError: there is no state of that day.
    """
    chain = chain_of(lake, as_of, versions)
    _view(database, "users", lake, "user_features", [as_of], versions, FEATURES)
    _view(database, "items", lake, "item_features", [as_of], versions, FEATURES)
    _view(database, "rows", lake, "user_item_features", chain, versions)
    view_pairs(database, chain)


def _view(
    database: DuckDBPyConnection,
    name: str,
    lake: Lake,
    table: str,
    days: Sequence[dt.date],
    versions: Versions | None,
    what: str = "*",
) -> None:
    version = (versions or {}).get(table)
    files = lake.files(table, [("run_date", "in", list(days))], version)
    if files:
        database.execute(f"create view {name} as select {what} from {parquet(files)}")
    else:
        database.register(name, lake.schema(table, version).empty_table())


def duckdb_of(feature: Feature) -> str:
    """A feature's expression in DuckDB's words."""
    return sqlglot.transpile(feature.expression, read="spark", write="duckdb")[0]


def load_interactions(
    lake: Lake, until: dt.date, version: int | None = None, after: dt.date | None = None
) -> pd.DataFrame:
    """The positive events known by the end of `until`: what a model learns from and is tested on.

    Args:
        after: only events of later days are read.

    Returns:
        Columns `INTERACTIONS`, sorted by event_time, user_id, item_id.
    """
    where: list[tuple[str, str, Any]] = [("run_date", "<=", until.isoformat()), ("weight", ">", 0.0)]
    if after:
        where.append(("event_date", ">", after))
    return in_order(lake.pandas("events", INTERACTIONS, where, version))


def in_order(interactions: pd.DataFrame) -> pd.DataFrame:
    """Events by time; of one moment by user, item and basket."""
    return interactions.sort_values(["event_time", "user_id", "item_id", "basket_id"], kind="stable", ignore_index=True)
