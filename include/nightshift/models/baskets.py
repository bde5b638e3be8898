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
    """Baskets in order of user and time, and beside them all events in that order, which are the contexts.

    Attributes:
        user_id, day: of a basket; the day as days since 1970.
        start: (baskets + 1) where each basket's targets begin.
        target: item positions, by basket.
        history_item, history_day: of an event: item position and day.
        history_start, history_end: of a basket: its user's events before its first moment are those from start to end.
    """

    user_id: np.ndarray
    day: np.ndarray
    start: np.ndarray
    target: np.ndarray
    history_item: np.ndarray
    history_day: np.ndarray
    history_start: np.ndarray
    history_end: np.ndarray

    def __len__(self) -> int:
        return len(self.day)

    @property
    def size(self) -> np.ndarray:
        return np.diff(self.start)

    def age(self, as_of: dt.date) -> np.ndarray:
        """Days from each basket to `as_of`."""
        return (as_of - dt.date(1970, 1, 1)).days - self.day

    def contexts(self, which: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The last `length` events before each basket of `which`, the most recent first.

        Returns:
            items, elapsed (bucket of the days from event to basket) and known (False where there is no event any
            more), each (baskets, length).
        """
        places = self.history_end[which][:, None] - 1 - np.arange(length)
        known = places >= self.history_start[which][:, None]
        places = np.where(known, places, 0)
        days = self.day[which][:, None] - self.history_day[places]
        return np.where(known, self.history_item[places], 0), steps(days), known

    def targets(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The items of the baskets `which`: row in `which`, and item position."""
        rows, places = expand(self.start, which)
        return rows, self.target[places]


def baskets_of(interactions: pd.DataFrame, item_ids: np.ndarray, as_of: dt.date) -> Baskets:
    """The baskets known by the end of `as_of`.

    An item counts once a user and day, as in the snapshot's sequences. A basket that goes on over midnight is two.

    Args:
        interactions: user_id, item_id, event_date, event_time, basket_id, run_date (the day that brought the event).
        item_ids: the vocabulary, sorted; other items are passed over.
    """
    known = known_by(interactions, as_of).drop_duplicates(["user_id", "item_id", "event_date"])
    item = pd.Index(item_ids).get_indexer(known["item_id"])
    known, item = known[item >= 0], item[item >= 0]
    user, user_ids = pd.factorize(known["user_id"], sort=True)
    day = pd.to_datetime(known["event_date"]).to_numpy().astype("datetime64[D]").astype(np.int64)
    time, times = pd.factorize(known["event_time"], sort=True)  # moments in order: their number is enough
    basket = known.assign(time=time).groupby(["user_id", "basket_id", "event_date"], sort=False)["time"]
    begun, number = basket.transform("min").to_numpy(), basket.ngroup().to_numpy()

    # Forwards in time, and of one moment the item whose id sorts first comes last: backwards, it is as in `sequences`.
    history = np.lexsort((-item, time, user))
    moment = user * (len(times) + 1) + time
    order = np.lexsort((item, number, begun, user))
    start = np.append(np.flatnonzero(np.diff(number[order], prepend=-1)), len(order))
    first = order[start[:-1]]
    return Baskets(
        user_id=np.asarray(user_ids, dtype=object)[user[first]],
        day=day[first],
        start=start,
        target=item[order],
        history_item=item[history],
        history_day=day[history],
        history_start=np.searchsorted(user[history], user[first]),
        history_end=np.searchsorted(moment[history], user[first] * (len(times) + 1) + begun[first]),
    )


def known_by(interactions: pd.DataFrame, day: dt.date) -> pd.DataFrame:
    """The events that a night had by the end of `day`; one that came late is not known before it came."""
    return interactions[interactions["run_date"] <= day]


def steps(values: np.ndarray) -> np.ndarray:
    """Bucket of a non-negative number: two a doubling, from 0 to `STEPS` - 1."""
    return np.minimum(2 * np.log2(1 + np.maximum(values, 0)), STEPS - 1).astype(np.int64)
