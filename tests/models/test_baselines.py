import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.models.baselines import BASELINES, ItemItem, Popularity, RecentPopularity, Repeat, load_baseline
from nightshift.models.recommender import ModelFileError
from tests import shop


def listed(model, view, user_id, k=10):
    return model.recommend(view, [user_id], k)["item_id"].tolist()


def test_repeat_gives_what_was_bought_most_often_and_of_equals_what_others_buy_of_late():
    rows = [("u", "c", 0, "1"), ("u", "b", 0, "1"), ("u", "b", 3, "2"), ("u", "a", 5, "3"), ("v", "c", 5, "4")]
    view = shop.snapshot(shop.events(rows), shop.FIRST.replace(day=10))
    assert listed(Repeat(), view, "u", 3) == ["b", "c", "a"]


WHOLE, ANY = st.integers(1, 4).map(float), st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.1 + 2**-20, 1, 2])
ITEMS = [f"{number:02d}" for number in range(12)]


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([WHOLE, ANY]).flatmap(lambda weight: st.lists(weight, min_size=12, max_size=12)),
    st.randoms(use_true_random=False),
)
def test_a_popular_item_never_comes_before_one_that_the_user_has_more_affinity_to(affinities, random):
    """Whatever an event weighs: 0.1 for a view, say. Other users make some items popular."""
    rows = [(f"v{n}", item, 5, f"{n}") for item in ITEMS for n in range(random.randrange(6))]
    rows += [("u", item, 0, "u") for item in ITEMS]
    view = shop.snapshot(shop.events(rows), shop.FIRST.replace(day=10))
    own = view.pairs["user_id"] == "u"
    pairs = view.pairs.assign(
        affinity=view.pairs["item_id"].map(dict(zip(ITEMS, affinities, strict=True))).where(own, 1)
    )
    view = replace(view, pairs=pairs)
    found = Repeat().recommend(view, ["u"], 12)
    popular = listed(RecentPopularity(), view, "u", 12)
    expected = sorted(ITEMS, key=lambda item: (-affinities[ITEMS.index(item)], popular.index(item)))
    assert found["item_id"].tolist() == expected
    if all(value == int(value) for value in affinities):
        first = found["score"] - [affinities[ITEMS.index(item)] for item in expected]
        assert first.tolist() == pytest.approx([1 - (popular.index(item) + 1) / 13 for item in expected])


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
