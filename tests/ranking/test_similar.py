import numpy as np
import pytest

from nightshift.models.coded import Coded
from nightshift.ranking.rerank import Rules
from nightshift.ranking.similar import similar_items
from nightshift.retrieval.index import index_for
from tests import shop


@pytest.fixture(params=["two_tower", "baseline"])
def similar(request):
    settings = shop.settings(lists={"similar": 5, "rules": [{"rule": "banned", "items": ["MUG03"]}]})
    rules = Rules(Coded(shop.snapshots()[2]), settings.lists)
    if request.param == "baseline":
        return similar_items(rules, None, None)
    model = shop.trained().serving.embeddings["two_tower"]
    return similar_items(rules, model, index_for(model, rules.coded, settings, of_items=True))


def test_every_item_has_similar_ones_that_can_be_sold(similar):
    assert sorted(similar["item_id"].unique()) == shop.snapshots()[2].items["item_id"].tolist()
    assert similar["rank"].tolist() == [1, 2, 3, 4, 5] * 43
    assert not similar["similar_id"].isin([*shop.GONE, "MUG03"]).any()
    assert (similar["item_id"] != similar["similar_id"]).all()
    assert not similar.duplicated(["item_id", "similar_id"]).any()


def test_scores_are_finite_and_fall(similar):
    assert np.isfinite(similar["score"]).all()
    assert (similar.groupby("item_id")["score"].diff().dropna() <= 1e-12).all()


def test_mugs_are_like_mugs(similar):
    mugs = similar[similar["item_id"].str.startswith("MUG") & (similar["rank"] <= 3)]
    assert mugs["similar_id"].str.startswith("MUG").mean() > 0.8


def test_the_planted_companion_is_among_them(similar):
    assert "LANTERN01" in similar.loc[similar["item_id"] == "LANTERN00", "similar_id"].tolist()
