"""What really happened after the cut-off: the truth that lists are held against."""

from __future__ import annotations

import datetime as dt

import pandas as pd

from nightshift.features.snapshot import Snapshot


def labels(interactions: pd.DataFrame, after: dt.date, until: dt.date, known: Snapshot) -> pd.DataFrame:
    """Which known user got which known item in the days (after, until], as it was known by the end of `until`.

    Args:
        interactions: positive events with user_id, item_id, event_date and run_date.
        known: what the judged models know; a user or an item that came later cannot be foretold by any of them.

    Returns:
        user_id, item_id: distinct pairs, sorted.

    Raises:
        ValueError: `known` is later than `after`, so that its features have seen labels.
    """
    if known.as_of > after:
        raise ValueError(f"features as of {known.as_of} have seen events after {after}, which are the labels")
    happened, known_by = interactions["event_date"], interactions["run_date"]
    window = interactions[(happened > after) & (happened <= until) & (known_by <= until)]
    found = window["user_id"].isin(known.users["user_id"]) & window["item_id"].isin(known.items["item_id"])
    pairs = window.loc[found, ["user_id", "item_id"]].drop_duplicates()
    return pairs.sort_values(["user_id", "item_id"], ignore_index=True)
