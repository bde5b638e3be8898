"""Training examples: each basket with what its user had got before it. Nothing of a basket is in its own context."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nightshift.models.rows import expand

NEVER = np.iinfo(np.int64).max

STEPS = 20
"""Buckets of elapsed days and of counts, two a doubling; the last stands for everything longer, and for never."""


@dataclass(frozen=True)
class Baskets:
    """Baskets in order of user and time, and beside them all events in that order, which are the contexts.

    Attributes:
        user: of a basket: the user's position.
        day: of a basket: its day, as days since 1970.
        start: (baskets + 1) where each basket's targets begin.
        target: item positions, by basket.
        history_item, history_day: of an event: item position and day.
        history_next: of an event: the place of the user's next event with the same item; `NEVER` where there is none.
        history_start, history_end: of a basket: its user's events before its first moment are those from start to end.
    """

    user: np.ndarray
    day: np.ndarray
    start: np.ndarray
    target: np.ndarray
    history_item: np.ndarray
    history_day: np.ndarray
    history_next: np.ndarray
    history_start: np.ndarray
    history_end: np.ndarray

    def __len__(self) -> int:
        return len(self.day)

    def size(self, which: np.ndarray) -> np.ndarray:
        """How many items the baskets `which` hold."""
        return self.start[which + 1] - self.start[which]

    def release(self) -> None:
        """Let go what was read into memory, where it lies in files: see `basket_files`."""

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
        return np.where(known, self.history_item[places], 0).astype(np.int64), steps(days), known

    def bought(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Every item bought before each basket of `which`, once, in order of its last purchase.

        Returns:
            row in `which`, item position, and days from the last purchase to the basket.
        """
        begin, end = self.history_start[which], self.history_end[which]
        row = np.repeat(np.arange(len(which)), end - begin)
        place = np.arange(len(row)) + np.repeat(begin - np.cumsum(end - begin) + (end - begin), end - begin)
        last = self.history_next[place] >= end[row]
        row, place = row[last], place[last]
        return row, self.history_item[place].astype(np.int64), self.day[which][row] - self.history_day[place]

    def targets(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The items of the baskets `which`: row in `which`, and item position."""
        rows, places = expand(self.start, which)
        return rows, self.target[places].astype(np.int64)


def baskets_of(interactions: pd.DataFrame, user_ids: np.ndarray, item_ids: np.ndarray, as_of: dt.date) -> Baskets:
    """The baskets known by the end of `as_of`.

    An item counts once a user and day, as in the snapshot's sequences. A basket that goes on over midnight is two.

    Args:
        interactions: user_id, item_id, event_date, event_time, basket_id, run_date (the day that brought the event).
        user_ids, item_ids: the vocabularies, sorted; other users and items are passed over.
    """
    known = known_by(interactions, as_of).drop_duplicates(["user_id", "item_id", "event_date"])
    user, item = pd.Index(user_ids).get_indexer(known["user_id"]), pd.Index(item_ids).get_indexer(known["item_id"])
    both = (user >= 0) & (item >= 0)
    known, user, item = known[both], user[both], item[both]
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
        user=user[first].astype(np.int32),
        day=day[first].astype(np.int32),
        start=start,
        target=item[order].astype(np.int32),
        history_item=item[history].astype(np.int32),
        history_day=day[history].astype(np.int32),
        history_next=_next(user[history], item[history]),
        history_start=np.searchsorted(user[history], user[first]),
        history_end=np.searchsorted(moment[history], user[first] * (len(times) + 1) + begun[first]),
    )


def _next(user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """The place of the next event of the same user and item, for events in order of time."""
    order = np.lexsort((item, user))  # stable: of one user and item, still in order of time
    same = (np.diff(user[order]) == 0) & (np.diff(item[order]) == 0)
    found = np.full(len(order), NEVER)
    found[order[:-1][same]] = order[1:][same]
    return found


def known_by(interactions: pd.DataFrame, day: dt.date) -> pd.DataFrame:
    """The events that a night had by the end of `day`; one that came late is not known before it came."""
    return interactions[interactions["run_date"] <= day]


def steps(values: np.ndarray) -> np.ndarray:
    """Bucket of a non-negative number: two a doubling, from 0 to `STEPS` - 1."""
    return np.minimum(2 * np.log2(1 + np.maximum(values, 0)), STEPS - 1).astype(np.int64)
