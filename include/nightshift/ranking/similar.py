"""For every item the items like it: near in the two-tower's space, else bought in the same baskets, else popular."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nightshift.config.settings import Lists
from nightshift.models.recommender import SOURCES, lists_of, popular
from nightshift.models.rows import top_of_rows
from nightshift.models.two_tower import TwoTower
from nightshift.ranking.rerank import Rules
from nightshift.retrieval.index import ItemIndex, rows_of


def similar_items(rules: Rules, two_tower: TwoTower | None, index: ItemIndex | None, settings: Lists) -> pd.DataFrame:
    """The `settings.similar` items most like each item, only such as may be in a list.

    Args:
        two_tower, index: both, or none where a baseline serves.

    Returns:
        item_id (every item, sorted), rank (int32 from 1), similar_id, score (float64, falling with rank).
    """
    coded = rules.coded
    k = settings.similar + 1  # an item is found among those like it, and dropped at the end
    row, item, score = _near(rules, two_tower, index, k) if two_tower and index else _nothing()
    rest = np.setdiff1d(np.arange(len(coded.items)), row)
    linked = top_of_rows(coded.cooccurrence[rest], k, rules.allowed)
    row, item = np.concatenate([row, rest[linked[0]]]), np.concatenate([item, linked[1]])
    score = np.concatenate([score, linked[2]])
    order, trend = popular(coded)
    fill = order[rules.allowed[order]], trend[rules.allowed[order]]
    source = np.full(len(row), SOURCES.index("two_tower"))
    found = lists_of(coded, coded.item_ids, row, item, score, source, k, fill=fill)
    found = found.rename(columns={"user_id": "item_id", "item_id": "similar_id"})
    found = found[found["item_id"] != found["similar_id"]]
    found["rank"] = (found.groupby("item_id", sort=False).cumcount() + 1).astype(np.int32)
    kept = found.loc[found["rank"] <= settings.similar, ["item_id", "rank", "similar_id", "score"]]
    return kept.reset_index(drop=True)


def _near(rules: Rules, two_tower: TwoTower, index: ItemIndex, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nearest neighbours in the index of every item that the model knows, itself among them: row, item, cosine."""
    coded = rules.coded
    place = two_tower.vocabulary.get_indexer(coded.items)
    known = np.flatnonzero(place >= 0)
    found, score = index.search(two_tower.item_vectors()[1][place[known]], k + len(rules.settings.banned_items))
    item = rows_of(index, coded.items)[found].ravel()
    row = np.repeat(known, found.shape[1])
    keep = (item >= 0) & rules.allowed[item]
    return row[keep], item[keep], score.ravel()[keep].astype(np.float64)


def _nothing() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0)
