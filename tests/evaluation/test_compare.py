import pandas as pd
import pytest

from nightshift.evaluation.compare import Case, SeenTestError, compare, compare_all
from nightshift.evaluation.discovery import OnlyNew, unseen
from nightshift.evaluation.labels import labels
from nightshift.models.baselines import ItemItem, Popularity, Repeat
from nightshift.models.recommender import Around
from nightshift.models.remembered import Remembered
from nightshift.ranking.rerank import Reranked
from tests import shop


def test_models_are_held_against_the_same_users():
    view = shop.snapshots()[1]
    truth = labels(shop.interactions(), shop.TEST_CUTOFF, shop.RUN_DATE, view)
    found = compare({"repeat": Repeat(), "popularity": Popularity()}, view, truth, 10)
    assert found.values["repeat"]["user_id"].tolist() == found.values["popularity"]["user_id"].tolist()
    assert found.metrics["repeat"]["ndcg"] == found.values["repeat"]["ndcg"].mean()
    assert found.metrics["repeat"]["ndcg"] > found.metrics["popularity"]["ndcg"]


def test_a_model_that_has_seen_the_test_is_refused():
    view = shop.snapshots()[1]
    truth = labels(shop.interactions(), shop.TEST_CUTOFF, shop.RUN_DATE, view)
    with pytest.raises(SeenTestError, match=f"up to {shop.RUN_DATE}"):
        compare({"serving": shop.trained().serving}, view, truth, 10)


def test_over_nobody_there_is_nothing_to_tell():
    view = shop.snapshots()[1]
    nobody = labels(shop.interactions().iloc[:0], shop.TEST_CUTOFF, shop.RUN_DATE, view)
    assert compare({"repeat": Repeat()}, view, nobody, 10).metrics["repeat"]["ndcg"] is None


@pytest.mark.parametrize("block", [7, 59])
def test_however_users_are_cut_into_blocks_the_figures_are_the_same(monkeypatch, block):
    view = shop.snapshots()[1]
    truth = labels(shop.interactions(), shop.TEST_CUTOFF, shop.RUN_DATE, view)
    waits = shop.settings(lists={"rules": [{"rule": "already_bought", "mode": "wait"}]}).lists
    holdout = shop.trained().holdout
    models = {"two_stage": holdout, "readers": Reranked(holdout, waits), "item_item": ItemItem()}
    fresh = {"item_item": OnlyNew(ItemItem())}
    whole = [compare(models, view, truth, 10), compare(fresh, view, unseen(truth, view), 10)]
    monkeypatch.setattr("nightshift.evaluation.compare.BLOCK", block)
    cut = compare_all([Case(models, truth, 10), Case(fresh, unseen(truth, view), 10)], view)
    assert whole[0].metrics["readers"] != whole[0].metrics["two_stage"]
    for one, other in zip(whole, cut, strict=True):
        assert one.metrics == other.metrics
        for name, values in one.values.items():
            pd.testing.assert_frame_equal(values, other.values[name], check_exact=True)


class Counted(Around):
    """Says how often it was asked."""

    asked = 0

    def recommend(self, snapshot, user_ids, k):
        type(self).asked += 1
        return self.model.recommend(snapshot, user_ids, k)


def test_a_model_that_remembers_is_asked_once_a_block(monkeypatch):
    view = shop.snapshots()[1]
    truth = labels(shop.interactions(), shop.TEST_CUTOFF, shop.RUN_DATE, view)
    monkeypatch.setattr("nightshift.evaluation.compare.BLOCK", 25)
    monkeypatch.setattr(Counted, "asked", 0)
    once = Remembered(Counted(Repeat()), 60)
    cases = [Case({"a": once, "b": once}, truth, 10), Case({"new": OnlyNew(once)}, unseen(truth, view), 10)]
    monkeypatch.setattr("nightshift.evaluation.discovery.DEEPER", 50)
    found = compare_all(cases, view)
    assert Counted.asked == -(-truth["user_id"].nunique() // 25) == 3
    assert found[0].metrics["a"] == compare({"repeat": Repeat()}, view, truth, 10).metrics["repeat"]


def test_more_than_is_remembered_cannot_be_asked_for():
    with pytest.raises(ValueError, match="5 places are remembered of each list, 6 are asked for"):
        Remembered(Repeat(), 5).recommend(shop.snapshots()[1], ["l00"], 6)
