"""What every model has to do, whatever it is."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from nightshift.evaluation.labels import labels
from nightshift.evaluation.metrics import by_user
from nightshift.models.baselines import BASELINES
from nightshift.models.recommender import COLUMNS, SOURCES, Recommender
from nightshift.models.remembered import Remembered
from nightshift.ranking.loading import load_recommender
from nightshift.ranking.rerank import Reranked
from tests import shop

MODELS = {  # by the name that tests are shown with
    **{kind.kind: kind for kind in BASELINES},
    "two_tower": lambda: shop.trained().holdout.embeddings["two_tower"],
    "graph_filter": lambda: shop.trained().holdout.embeddings["graph_filter"],
    "two_stage": lambda: shop.trained().holdout,
    "reranked": lambda: Reranked(shop.trained().holdout, shop.settings().lists),
}


UNRULED = [name for name in MODELS if name != "reranked"]
PERSONAL = [name for name in MODELS if not name.endswith("popularity")]
REGISTERED = [name for name in UNRULED if name not in ("two_tower", "graph_filter")]


@pytest.fixture(params=MODELS, scope="module")
def model(request) -> Recommender:
    return MODELS[request.param]()


@pytest.fixture(scope="module")
def lists(model) -> pd.DataFrame:
    return model.recommend(shop.snapshots()[1], USERS, 10)


USERS = [*shop.snapshots()[1].users["user_id"], "nobody", "nobody else"]


def test_it_is_a_recommender(model):
    assert isinstance(model, Recommender)


def test_every_user_has_a_list_with_ranks_1_to_k_in_the_order_asked_for(lists):
    assert lists.columns.tolist() == COLUMNS
    assert lists["user_id"].tolist() == np.repeat(USERS, 10).tolist()
    assert lists["rank"].tolist() == list(range(1, 11)) * len(USERS)


def test_no_item_is_in_a_list_twice(lists):
    assert not lists.duplicated(["user_id", "item_id"]).any()


def test_only_what_can_be_sold_is_listed(lists):
    assert not set(shop.GONE) & set(lists["item_id"])
    assert set(lists["item_id"]) <= set(shop.snapshots()[1].items["item_id"])


def test_scores_are_finite_and_sources_known(lists):
    assert np.isfinite(lists["score"]).all()
    assert set(lists["source"]) <= set(SOURCES)


@pytest.mark.parametrize("model", UNRULED, indirect=True)
def test_scores_fall_with_rank(lists):
    assert (lists.groupby("user_id")["score"].diff().dropna() <= 1e-12).all()


def test_the_same_question_has_the_same_answer(model, lists):
    pd.testing.assert_frame_equal(model.recommend(shop.snapshots()[1], USERS, 10), lists)


def test_a_users_list_does_not_depend_on_who_else_is_asked_for(model, lists):
    some = ["m05", "nobody", "l07"]
    alone = model.recommend(shop.snapshots()[1], some, 10).set_index(["user_id", "rank"])
    together = lists.set_index(["user_id", "rank"]).loc[alone.index]
    assert alone["item_id"].tolist() == together["item_id"].tolist()


def test_strangers_get_the_popular_list(lists):
    strangers = [lists.loc[lists["user_id"] == user, ["item_id", "source"]] for user in ("nobody", "nobody else")]
    assert strangers[0].to_numpy().tolist() == strangers[1].to_numpy().tolist()
    assert set(strangers[0]["source"]) == {"trending"}


@pytest.mark.parametrize("model", UNRULED, indirect=True)
def test_a_shorter_list_is_the_beginning_of_a_longer_one(model, lists):
    few = model.recommend(shop.snapshots()[1], USERS, 3)
    assert few["item_id"].tolist() == lists.loc[lists["rank"] <= 3, "item_id"].tolist()


@pytest.mark.parametrize("model", UNRULED, indirect=True)
def test_what_is_remembered_is_what_would_be_found(model, lists):
    once = Remembered(model, 60)
    assert len(once.recommend(shop.snapshots()[1], USERS, 60)) > len(lists)
    pd.testing.assert_frame_equal(once.recommend(shop.snapshots()[1], USERS, 10), lists)


@pytest.mark.parametrize("model", UNRULED, indirect=True)
def test_more_than_there_is_gives_all_there_is(model):
    found = model.recommend(shop.snapshots()[1], ["l00"], 1000)
    assert sorted(found["item_id"]) == sorted(shop.snapshots()[1].items.query("sellable")["item_id"])


def test_nobody_asked_for_is_an_empty_answer(model):
    assert model.recommend(shop.snapshots()[1], [], 10).columns.tolist() == COLUMNS


def test_with_indexes_that_are_built_once_it_recommends_the_same():
    model, view = shop.trained().holdout, shop.snapshots()[1]
    indexed = model.indexed(view)
    assert indexed.indexes.keys() == model.embeddings.keys()
    pd.testing.assert_frame_equal(indexed.recommend(view, USERS, 10), model.recommend(view, USERS, 10))


@pytest.mark.parametrize("model", REGISTERED, indirect=True)
def test_what_was_saved_recommends_the_same(model, lists, tmp_path):
    shop.trained().save(tmp_path) if model.kind == "two_stage" else model.save(tmp_path)
    read = load_recommender(tmp_path, model.kind, shop.settings(), which="holdout")
    pd.testing.assert_frame_equal(read.recommend(shop.snapshots()[1], USERS, 10), lists)


@pytest.mark.parametrize("model", PERSONAL, indirect=True)
def test_it_finds_the_planted_tastes(lists):
    known = lists[~lists["user_id"].str.startswith("nobody")]
    own = known["user_id"].str[0].str.upper() == known["item_id"].str[0]
    other = ~own & ~known["item_id"].str.startswith("RIBBON")
    top = known["rank"] <= 5
    assert own[top].mean() > 5 * other[top].mean()


def test_it_is_better_than_chance(lists):
    truth = labels(shop.interactions(), shop.TEST_CUTOFF, shop.RUN_DATE, shop.snapshots()[1])
    by_chance = 10 / 41
    assert by_user(lists, truth, 10)["recall"].mean() > by_chance


def test_a_newer_snapshot_may_hold_items_that_a_model_does_not_know(model):
    day = shop.RUN_DATE + dt.timedelta(days=1)
    news = shop.events([(user, "NEW00", 140, f"{user}-new") for user in ("l00", "m00", "newcomer")])
    later = shop.snapshot(pd.concat([shop.interactions(), news]), day)
    found = model.recommend(later, ["l00", "newcomer", "nobody"], 10)
    assert found.groupby("user_id").size().tolist() == [10, 10, 10]
    assert np.isfinite(found["score"]).all()
