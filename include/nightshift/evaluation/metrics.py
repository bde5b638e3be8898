"""Ranking metrics over the whole catalogue, one value a user and their means. No sampled negatives.

Definitions: Manning, Raghavan, Schütze (2008), Introduction to Information Retrieval, chapter 8. Recall is capped: it
is divided by min(k, relevant items), so that 1 can be reached.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

METRICS = ("ndcg", "recall", "map", "mrr", "hit_rate")
Metrics = dict[str, float | None]


def by_user(lists: pd.DataFrame, labels: pd.DataFrame, k: int) -> pd.DataFrame:
    """Each metric at `k` for each user that has labels; a user without a list scores 0.

    Args:
        lists: user_id, rank (from 1), item_id.
        labels: user_id, item_id; distinct.

    Returns:
        user_id (sorted) and `METRICS`, all in [0, 1].
    """
    users, relevant = np.unique(labels["user_id"].to_numpy(dtype=object).astype(str), return_counts=True)
    hits = _hits(lists, labels, pd.Index(users.astype(object)), k)
    ideal = np.minimum(relevant, k)
    ranks = np.arange(1, k + 1)
    discounts = 1 / np.log2(ranks + 1)
    found = hits.sum(axis=1)
    precision = np.cumsum(hits, axis=1) / ranks
    return pd.DataFrame(
        {
            "user_id": users.astype(object),
            "ndcg": _sum(hits * discounts) / np.cumsum(discounts)[ideal - 1],
            "recall": found / ideal,
            "map": _sum(precision * hits) / ideal,
            "mrr": np.where(found > 0, 1 / (hits.argmax(axis=1) + 1), 0.0),
            "hit_rate": (found > 0).astype(np.float64),
        }
    )


def mean(values: pd.DataFrame) -> Metrics:
    """`METRICS`, the means over the users of `by_user`, None where there is no user, and how many `users` they are."""
    result: Metrics = {name: float(values[name].mean()) if len(values) else None for name in METRICS}
    return {**result, "users": float(len(values))}


def _sum(values: np.ndarray) -> np.ndarray:
    """Of each row, from the left: a matrix product's last bits depend on how many rows there are."""
    return np.cumsum(values, axis=1)[:, -1]


def _hits(lists: pd.DataFrame, labels: pd.DataFrame, users: pd.Index, k: int) -> np.ndarray:
    """(users, k): 1 where the item at that rank is relevant to the user."""
    top = lists[lists["rank"] <= k]
    relevant = pd.MultiIndex.from_frame(labels[["user_id", "item_id"]])
    hit = pd.MultiIndex.from_frame(top[["user_id", "item_id"]]).isin(relevant)
    rows = users.get_indexer(top["user_id"])
    keep = hit & (rows >= 0)
    hits = np.zeros((len(users), k))
    hits[rows[keep], top["rank"].to_numpy(dtype=np.int64)[keep] - 1] = 1
    return hits
