"""What a model may know: the committed feature tables as of one day, in memory."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from nightshift.lake import Lake


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
    """

    as_of: dt.date
    users: pd.DataFrame
    items: pd.DataFrame
    pairs: pd.DataFrame
    sequences: pd.DataFrame
    cooccurrence: pd.DataFrame


def load_snapshot(lake: Lake, run_date: dt.date, as_of: dt.date, versions: Mapping[str, int] | None = None) -> Snapshot:
    """The features that the night of `run_date` committed for one of its cut-offs.

    Args:
        versions: table -> Delta version to read; the newest where it names none.
    """
    versions = versions or {}

    def read(table: str, keys: list[str], ascending: list[bool] | None = None) -> pd.DataFrame:
        where = [("run_date", "=", run_date.isoformat()), ("as_of", "=", as_of.isoformat())]
        frame = lake.pandas(table, where=where, version=versions.get(table)).drop(columns=["run_date", "as_of"])
        return frame.sort_values(keys, ascending=ascending or True, kind="stable", ignore_index=True)

    return Snapshot(
        as_of=as_of,
        users=read("user_features", ["user_id"]),
        items=read("item_features", ["item_id"]),
        pairs=read("user_item_features", ["user_id", "item_id"]),
        sequences=read("user_sequences", ["user_id"]),
        cooccurrence=read("cooccurrence", ["item_id", "score", "neighbour_id"], [True, False, True]),
    )


def load_interactions(lake: Lake, until: dt.date, version: int | None = None) -> pd.DataFrame:
    """The positive events known by the end of `until`: what a model learns from and is tested on.

    Returns:
        Columns user_id, item_id, event_date, event_time, basket_id, run_date, sorted by event_time, user_id, item_id.
    """
    columns = ["user_id", "item_id", "event_date", "event_time", "basket_id", "run_date"]
    where = [("run_date", "<=", until.isoformat()), ("weight", ">", 0.0)]
    frame = lake.pandas("events", columns, where, version)
    return frame.sort_values(["event_time", "user_id", "item_id", "basket_id"], kind="stable", ignore_index=True)
