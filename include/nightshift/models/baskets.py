"""Training examples: each basket with what its user had got before it. Nothing of a basket is in its own context."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nightshift.models.rows import expand

STEPS = 20
"""Buckets of elapsed days and of counts, two a doubling; the last stands for everything longer, and for never."""


@dataclass(frozen=True)
class Baskets:
    """Positive events in order of user and time, cut into baskets.

    Attributes:
        item, day: of an event: position in the items' vocabulary, and day number.
        start: (baskets + 1) where each basket's events begin.
        user_start: of a basket: where its user's events begin.
        user_id: of a basket.
    """

    item: np.ndarray
    day: np.ndarray
    start: np.ndarray
    user_start: np.ndarray
    user_id: np.ndarray

    def __len__(self) -> int:
        return len(self.user_start)

    @property
    def size(self) -> np.ndarray:
        return np.diff(self.start)

    def age(self, as_of: dt.date) -> np.ndarray:
        """Days from each basket to `as_of`."""
        return _number(as_of) - self.day[self.start[:-1]]

    def contexts(self, which: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The last `length` events before each basket of `which`, the most recent first.

        Returns:
            items, elapsed (bucket of the days from event to basket) and known (False where there is no event any
            more), each (baskets, length).
        """
        places = self.start[which][:, None] - 1 - np.arange(length)
        known = places >= self.user_start[which][:, None]
        places = np.maximum(places, 0)
        days = self.day[self.start[which]][:, None] - self.day[places]
        return np.where(known, self.item[places], 0), steps(days), known

    def targets(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The items of the baskets `which`: row in `which`, and item."""
        rows, places = expand(self.start, which)
        return rows, self.item[places]


def baskets_of(interactions: pd.DataFrame, item_ids: np.ndarray, as_of: dt.date) -> Baskets:
    """The baskets known by the end of `as_of`.

    An item counts once a user and day, as in the snapshot's sequences; what a user bought at one instant is one basket.

    Args:
        interactions: user_id, item_id, event_date, event_time, basket_id, run_date (the day that brought the event).
    """
    known = known_by(interactions, as_of)
    known = known.drop_duplicates(["user_id", "item_id", "event_date"])
    item = pd.Index(item_ids).get_indexer(known["item_id"])
    known, item = known[item >= 0], item[item >= 0]
    basket = known.groupby(["user_id", "basket_id"], sort=False)["event_time"].transform("min")
    user, user_ids = pd.factorize(known["user_id"], sort=True)
    time = pd.to_datetime(basket, utc=True).astype("int64").to_numpy()
    day = pd.to_datetime(known["event_date"]).to_numpy().astype("datetime64[D]").astype(np.int64)
    # a basket's latest events come last, and of events at one time the item whose id sorts first: see `sequences`
    order = np.lexsort((-item, time, user))
    user, time, item, day = user[order], time[order], item[order], day[order]
    first = np.ones(len(user), dtype=bool)
    first[1:] = (np.diff(user) != 0) | (np.diff(time) != 0)
    start = np.append(np.flatnonzero(first), len(user))
    owner = user[start[:-1]]
    return Baskets(item, day, start, np.searchsorted(user, owner), np.asarray(user_ids, dtype=object)[owner])


def known_by(interactions: pd.DataFrame, day: dt.date) -> pd.DataFrame:
    """The events that a night had by the end of `day`; one that came late is not known before it came."""
    return interactions[interactions["run_date"] <= day]


def steps(values: np.ndarray) -> np.ndarray:
    """Bucket of a non-negative number: two a doubling, from 0 to `STEPS` - 1."""
    return np.minimum(2 * np.log2(1 + np.maximum(values, 0)), STEPS - 1).astype(np.int64)


def _number(day: dt.date) -> int:
    return (day - dt.date(1970, 1, 1)).days
