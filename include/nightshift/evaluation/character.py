"""What lists are like beside how often they are right: do they show the catalogue, or the same few items to everybody?

Definitions, all over the first k places of each list:
    coverage         share of the sellable items that are in any list
    novelty          mean of -log2(share of the users who have the item): Zhou et al. (2010),
                     doi 10.1073/pnas.1000488107
    diversity        mean, over the pairs of a list, of 1 - cosine of their titles' words (tf-idf): Ziegler et al.
                     (2005), doi 10.1145/1060745.1060754
    personalisation  1 - mean share of the shorter list that two users have in common: Zhou et al. (2010) for lists of
                     one length; of others, as Simpson (1943), doi 10.2475/ajs.241.1.1, compares sets
    popularity_lift  mean count of buyers of the listed items against that of what the users bought, less 1:
                     Abdollahpouri et al. (2019), arXiv:1910.05755. 0: lists are as popular as the tastes
    miscalibration   Jensen-Shannon divergence, in [0, 1], between a user's history and list over three groups of items,
                     those that make the first fifth of all purchases, the last fifth, and between: Abdollahpouri
                     et al. (2021), doi 10.1145/3450613.3456821
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from nightshift.evaluation.metrics import Metrics
from nightshift.models.attributes import title_vectors
from nightshift.models.coded import Coded
from nightshift.models.rows import expand

CHARACTER = ("coverage", "novelty", "diversity", "personalisation", "popularity_lift", "miscalibration")
WORD_BUCKETS = 1024
BLOCK = 4096  # users at a time


def character(lists: pd.DataFrame, coded: Coded, k: int) -> Metrics:
    """`CHARACTER` of the lists of users of a snapshot; None where there is nothing to tell.

    Args:
        lists: user_id, rank (from 1), item_id.
    """
    users = np.unique(lists["user_id"].to_numpy(dtype=object).astype(str)).astype(object)
    return character_of(users, places_of(lists, users, coded, k), coded)


def places_of(lists: pd.DataFrame, users: np.ndarray, coded: Coded, k: int) -> np.ndarray:
    """(users, k) int32: the position of the item at each rank of a user's list; -1 where there is none."""
    top = lists[lists["rank"] <= k]
    found = np.full((len(users), k), -1, dtype=np.int32)
    row = pd.Index(users).get_indexer(top["user_id"])
    found[row, top["rank"].to_numpy(dtype=np.int64) - 1] = coded.items.get_indexer(top["item_id"])
    return found


def character_of(users: np.ndarray, places: np.ndarray, coded: Coded) -> Metrics:
    """As `character`, of the lists as `places_of` gives them; users without a list are left out."""
    listed = (places >= 0).any(axis=1)
    users, places = users[listed], places[listed]
    row, item = np.nonzero(places >= 0)[0], places[places >= 0].astype(np.int64)
    sellable = int(coded.sellable.sum())
    if not len(item):
        return {**dict.fromkeys(CHARACTER), "coverage": 0.0}
    shown = sparse.csr_array((np.ones(len(item)), (row, item)), shape=(len(users), len(coded.items)))
    owned = _owned(coded, coded.user_positions(users.tolist()))
    buyers = np.bincount(coded.pair_item, minlength=len(coded.items)).astype(np.float64)
    return {
        "coverage": len(np.unique(item)) / sellable if sellable else 0.0,
        "novelty": float(-np.log2(np.maximum(buyers[item], 1) / max(len(coded.users), 1)).mean()),
        "diversity": _diversity(shown, coded),
        "personalisation": _personalisation(shown),
        "popularity_lift": _lift(shown, owned, buyers),
        "miscalibration": _miscalibration(shown, owned, _groups(buyers)),
    }


def _owned(coded: Coded, users: np.ndarray) -> sparse.csr_array:
    """(users, items): what each has bought."""
    rows, at = expand(coded.pair_start, users)
    return sparse.csr_array((np.ones(len(rows)), (rows, coded.pair_item[at])), shape=(len(users), len(coded.items)))


def _diversity(shown: sparse.csr_array, coded: Coded) -> float | None:
    """Of all pairs at once: the squared length of a list's sum of unit vectors is its size plus twice its cosines."""
    if "title" not in coded.snapshot.items:
        return None
    words = title_vectors(coded.snapshot.items, WORD_BUCKETS)
    size = np.diff(shown.indptr)
    alike = np.concatenate(
        [
            (np.asarray((shown[at : at + BLOCK] @ words).todense()) ** 2).sum(axis=1)
            for at in range(0, shown.shape[0], BLOCK)
        ]
    )
    pairs = size * (size - 1)
    return float((1 - (alike - size)[pairs > 0] / pairs[pairs > 0]).mean()) if (pairs > 0).any() else None


def _personalisation(shown: sparse.csr_array) -> float | None:
    """Of all pairs of users at once: what lists of one length and those of another have in common."""
    users = shown.shape[0]
    if users < 2:
        return None
    length, of, count = np.unique(np.diff(shown.indptr), return_inverse=True, return_counts=True)
    often = sparse.csr_array((np.ones(users), (of, np.arange(users))), shape=(len(length), users)) @ shown
    common = np.asarray((often @ often.T).todense()) - np.diag(length * count)  # none with itself
    return float(1 - (common / np.minimum.outer(length, length)).sum() / (users * (users - 1)))


def _lift(shown: sparse.csr_array, owned: sparse.csr_array, buyers: np.ndarray) -> float | None:
    has = np.diff(owned.indptr) > 0
    if not has.any():
        return None
    listed, bought = ((part @ buyers)[has] / np.diff(part.indptr)[has] for part in (shown, owned))
    return float(listed.mean() / bought.mean() - 1)


def _groups(buyers: np.ndarray) -> np.ndarray:
    """0, 1 or 2 of each item: head, middle and tail."""
    order = np.argsort(-buyers, kind="stable")
    before = np.cumsum(buyers[order]) - buyers[order]
    group = np.empty(len(buyers), dtype=np.int64)
    group[order] = np.digitize(before / max(buyers.sum(), 1), [0.2, 0.8])
    return group


def _miscalibration(shown: sparse.csr_array, owned: sparse.csr_array, group: np.ndarray) -> float | None:
    member = sparse.csr_array((np.ones(len(group)), (np.arange(len(group)), group)), shape=(len(group), 3))
    has = np.diff(owned.indptr) > 0
    if not has.any():
        return None
    p, q = (np.asarray((part @ member).todense())[has] for part in (owned, shown))
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    middle = (p + q) / 2
    return float((_divergence(p, middle) + _divergence(q, middle)).mean() / 2)


def _divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Kullback-Leibler, in bits."""
    return np.where(p > 0, p * np.log2(np.maximum(p, 1e-300) / np.maximum(q, 1e-300)), 0).sum(axis=1)
