"""Why an entry is in a list, in words for the person who reads it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nightshift.features.snapshot import Snapshot
from nightshift.models.coded import Coded
from nightshift.models.rows import expand, find
from nightshift.ranking.candidates import HALF_LIFE_DAYS

CONTEXT = 50  # recent items in which the other half of "bought together" is looked for

PLAIN = {
    "trending": "Popular this month",
    "two_tower": "Matches your recent purchases",
    "graph_filter": "Chosen by customers who buy what you buy",
    "cooccurrence": "Often bought with your recent purchases",
    "repeat": "You bought this before",
    "pinned": "Selected for you by the shop",
    "exposure": "Selected for you by the shop",
}


def with_reasons(lists: pd.DataFrame, snapshot: Snapshot) -> pd.DataFrame:
    """The lists with a column `reason`, a short sentence by `source`.

    Args:
        lists: user_id, item_id, source, and whatever else; without a user_id for the popular list.
    """
    reason = lists["source"].map(PLAIN)
    if "user_id" in lists and len(lists):
        coded = Coded(snapshot)
        user, item = coded.user_positions(lists["user_id"].to_numpy()), coded.items.get_indexer(lists["item_id"])
        repeat, together = (np.flatnonzero(lists["source"] == source) for source in ("repeat", "cooccurrence"))
        reason.iloc[repeat] = _bought(coded, user[repeat], item[repeat])
        reason.iloc[together] = _together(coded, user[together], item[together])
    return lists.assign(reason=reason)


def _bought(coded: Coded, user: np.ndarray, item: np.ndarray) -> list[str]:
    pairs, width = coded.snapshot.pairs, len(coded.items)
    pair_row, pair = expand(coded.pair_start, user)
    at = np.append(pair, -1)[find(pair_row * width + coded.pair_item[pair], np.arange(len(user)) * width + item)]
    rows = pairs.iloc[np.maximum(at, 0)] if len(pairs) else pairs
    baskets, days = (
        [0] * len(at) if not len(rows) else rows[name].to_list() for name in ("baskets", "days_since_last")
    )
    return [
        _times(int(times), int(ago)) if place >= 0 else PLAIN["repeat"]
        for place, times, ago in zip(at, baskets, days, strict=True)
    ]


def _times(baskets: int, days: int) -> str:
    ago = {0: "today", 1: "yesterday"}.get(days, f"{days} days ago")
    return f"You bought this {ago}" if baskets < 2 else f"You bought this {baskets} times, last {ago}"


def _together(coded: Coded, user: np.ndarray, item: np.ndarray) -> list[str]:
    """The recent item that speaks loudest for each entry."""
    starts, recent, days = coded.sequences
    row, place = expand(starts, user, CONTEXT)
    other, width = recent[place], len(coded.items)
    links = coded.cooccurrence
    keys = np.repeat(np.arange(width), np.diff(links.indptr)) * width + links.indices
    at = np.where(other >= 0, find(keys, other * width + item[row]), -1)
    weight = np.where(at >= 0, np.append(links.data, 0.0)[at] * np.exp2(-days[place] / HALF_LIFE_DAYS), 0.0)
    best = np.lexsort((place, -weight, row))
    first = best[np.flatnonzero(np.diff(row[best], prepend=-1))]
    items = coded.snapshot.items
    titles = items["title"].to_numpy(dtype=object) if "title" in items else coded.item_ids
    reasons = np.full(len(user), PLAIN["cooccurrence"], dtype=object)
    for entry, found in zip(row[first], first, strict=True):
        if weight[found] > 0 and isinstance(titles[other[found]], str):
            reasons[entry] = f"Often bought with {titles[other[found]]}"
    return reasons.tolist()
