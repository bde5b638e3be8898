"""Why an entry is in a list, in words for the person who reads it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nightshift.config.settings import Reasons
from nightshift.features.snapshot import Snapshot
from nightshift.models.coded import Coded
from nightshift.models.rows import expand, find
from nightshift.ranking.candidates import HALF_LIFE_DAYS

CONTEXT = 50  # recent items in which the other half of "bought together" is looked for


PLAIN = {
    **{source: source for source in ("trending", "two_tower", "graph_filter", "pinned", "exposure")},
    "repeat": "repeat_before",
    "cooccurrence": "cooccurrence_untitled",
}  # source -> which of `Reasons` it has where nothing is known of the entry


def with_reasons(lists: pd.DataFrame, snapshot: Snapshot, words: Reasons) -> pd.DataFrame:
    """The lists with a column `reason`, a short sentence by `source`.

    Args:
        lists: user_id, item_id, source, and whatever else; without a user_id for the popular list.
        words: of the configuration, `lists.reasons`.
    """
    reason = lists["source"].map({source: getattr(words, name).format() for source, name in PLAIN.items()})
    if "user_id" in lists and len(lists):
        coded = Coded(snapshot)
        user, item = coded.user_positions(lists["user_id"].to_numpy()), coded.items.get_indexer(lists["item_id"])
        repeat, together = (np.flatnonzero(lists["source"] == source) for source in ("repeat", "cooccurrence"))
        reason.iloc[repeat] = _bought(coded, user[repeat], item[repeat], words)
        reason.iloc[together] = _together(coded, user[together], item[together], words)
    return lists.assign(reason=reason)


def _bought(coded: Coded, user: np.ndarray, item: np.ndarray, words: Reasons) -> list[str]:
    pairs, width = coded.snapshot.pairs, len(coded.items)
    pair_row, pair = expand(coded.pair_start, user)
    at = np.append(pair, -1)[find(pair_row * width + coded.pair_item[pair], np.arange(len(user)) * width + item)]
    rows = pairs.iloc[np.maximum(at, 0)] if len(pairs) else pairs
    baskets, days = (
        [0] * len(at) if not len(rows) else rows[name].to_list() for name in ("baskets", "days_since_last")
    )
    return [
        _times(int(times), int(ago), words) if place >= 0 else words.repeat_before.format()
        for place, times, ago in zip(at, baskets, days, strict=True)
    ]


def _times(baskets: int, days: int, words: Reasons) -> str:
    ago = {0: words.today.format(), 1: words.yesterday.format()}.get(days, words.days_ago.format(days=days))
    return words.repeat.format(ago=ago) if baskets < 2 else words.repeat_often.format(times=baskets, ago=ago)


def _together(coded: Coded, user: np.ndarray, item: np.ndarray, words: Reasons) -> list[str]:
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
    reasons = np.full(len(user), words.cooccurrence_untitled.format(), dtype=object)
    for entry, found in zip(row[first], first, strict=True):
        if weight[found] > 0 and isinstance(titles[other[found]], str):
            reasons[entry] = words.cooccurrence.format(title=titles[other[found]])
    return reasons.tolist()
