"""For every item the items like it: near in an embedding's space, else bought in the same baskets, else popular."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nightshift.models.nearest import VectorModel
from nightshift.models.recommender import NOTHING, Entries, Popular, lists_of, popular
from nightshift.models.rows import top_of_rows
from nightshift.ranking.rerank import Rules
from nightshift.retrieval.index import ItemIndex, rows_of

SIMILAR_BY = "two_tower"
"""The model by whose vectors items are alike: they are of one length."""


def similar_items(rules: Rules, model: VectorModel | None, index: ItemIndex | None) -> pd.DataFrame:
    """The items most like each item, as many as the settings say, only such as may be in a list.

    Args:
        model, index: both, or none where a baseline serves; of `SIMILAR_BY`.

    Returns:
        item_id (every item, sorted), rank (int32 from 1), similar_id, score (float64, falling with rank).
    """
    coded, settings = rules.coded, rules.settings
    k = settings.similar + 1  # an item is found among those like it, and dropped at the end
    near = _near(rules, model, index, k) if model and index else NOTHING
    rest = np.setdiff1d(np.arange(len(coded.items)), near.row)
    row, item, score, _ = top_of_rows(coded.cooccurrence[rest], k, rules.allowed)
    linked = Entries.of(rest[row], item, score, "cooccurrence")
    trend = popular(coded)
    allowed = rules.allowed[trend.items]
    fill = Popular(trend.items[allowed], trend.scores[allowed])
    found = lists_of(coded, coded.item_ids.tolist(), Entries.joined([near, linked]), k, fill)
    found = found.rename(columns={"user_id": "item_id", "item_id": "similar_id"})
    found = found[found["item_id"] != found["similar_id"]].reset_index(drop=True)
    found["rank"] = (found.groupby("item_id", sort=False).cumcount() + 1).astype(np.int32)
    kept = found.loc[found["rank"] <= settings.similar, ["item_id", "rank", "similar_id", "score"]]
    return kept.reset_index(drop=True)


def _near(rules: Rules, model: VectorModel, index: ItemIndex, k: int) -> Entries:
    """Nearest neighbours in the index of every item that the model knows, itself among them."""
    places = model.places(rules.coded)
    known = np.flatnonzero(places >= 0)
    found, score = index.search(model.item_vectors()[1][places[known]], k + len(rules.settings.banned))
    item = rows_of(index, rules.coded.items)[found].ravel()
    keep = (item >= 0) & rules.allowed[item]
    return Entries.of(np.repeat(known, found.shape[1])[keep], item[keep], score.ravel()[keep], SIMILAR_BY)
