"""What a model may know: the feature tables as of one day, in memory."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Snapshot:
    """The committed features as of the end of `as_of`, sorted by key, so that positions are stable.

    Attributes:
        as_of: the last business day that is known.
        users: one row a user, by `user_id`: see `definitions.USER`.
        items: one row an item, by `item_id`: see `definitions.ITEM`; column `sellable` says what may be listed.
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
