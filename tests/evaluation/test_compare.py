import pytest

from nightshift.evaluation.compare import SeenTestError, compare
from nightshift.evaluation.labels import labels
from nightshift.models.baselines import Popularity, Repeat
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
