import json

import pytest

from nightshift.models.baselines import BASELINES, ItemItem, Popularity, RecentPopularity, Repeat, load_baseline
from nightshift.models.recommender import ModelFileError
from tests import shop


def listed(model, view, user_id, k=10):
    return model.recommend(view, [user_id], k)["item_id"].tolist()


def test_repeat_gives_what_was_bought_most_often_and_of_equals_what_others_buy_of_late():
    rows = [("u", "c", 0, "1"), ("u", "b", 0, "1"), ("u", "b", 3, "2"), ("u", "a", 5, "3"), ("v", "c", 5, "4")]
    view = shop.snapshot(shop.events(rows), shop.FIRST.replace(day=10))
    assert listed(Repeat(), view, "u", 3) == ["b", "c", "a"]


def test_repeat_goes_on_with_what_is_popular():
    rows = [("u", "a", 0, "1"), ("v", "b", 1, "2"), ("w", "b", 2, "3"), ("w", "c", 2, "3")]
    found = Repeat().recommend(shop.snapshot(shop.events(rows), shop.FIRST.replace(day=10)), ["u"], 3)
    assert found["item_id"].tolist() == ["a", "b", "c"]
    assert found["source"].tolist() == ["repeat", "trending", "trending"]


def test_recent_popularity_forgets_what_popularity_remembers():
    rows = [(user, "old", 0, user) for user in "uvw"] + [("u", "new", 40, "9"), ("v", "new", 41, "8")]
    view = shop.snapshot(shop.events(rows), shop.FIRST.replace(month=2, day=13))
    assert listed(Popularity(), view, "u", 1) == ["old"]
    assert listed(RecentPopularity(), view, "u", 1) == ["new"]


def test_item_item_finds_the_planted_co_purchase():
    rows = [(f"{user}", item, user % 9, f"{user}") for user in range(10) for item in ("a", "b")]
    rows += [(f"{user}", item, user % 9, f"{user}") for user in range(10, 20) for item in ("c", "d")]
    rows += [("u", "a", 9, "u")]
    assert listed(ItemItem(), shop.snapshot(shop.events(rows), shop.FIRST.replace(day=10)), "u")[0] == "b"


@pytest.mark.parametrize("kind", BASELINES)
def test_a_baseline_is_a_json_file(kind, tmp_path):
    kind().save(tmp_path)
    assert json.loads((tmp_path / "baseline.json").read_text())["kind"] == kind.kind
    assert load_baseline(tmp_path) == kind()


def test_parameters_are_kept(tmp_path):
    ItemItem(length=5, half_life_days=10.0).save(tmp_path)
    assert load_baseline(tmp_path) == ItemItem(length=5, half_life_days=10.0)


def test_a_kind_that_does_not_exist_is_named(tmp_path):
    (tmp_path / "baseline.json").write_text('{"kind": "oracle", "parameters": {}}')
    with pytest.raises(ModelFileError, match=r"'oracle' is none of popularity, recent_popularity, repeat, item_item"):
        load_baseline(tmp_path)
