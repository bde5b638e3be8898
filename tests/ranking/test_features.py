import numpy as np
import pandas as pd
import pytest

from nightshift.models.coded import Coded
from nightshift.models.recommender import SOURCES
from nightshift.ranking.features import assemble
from tests import shop


def candidates(*pairs: tuple[int, int]) -> pd.DataFrame:
    columns = {f"{source}_{what}": np.float32(1) for source in SOURCES for what in ("score", "rank")}
    return pd.DataFrame(pairs, columns=["row", "item"]).assign(**columns)


ROWS = [("u", "a1", 0, "1"), ("u", "a1", 6, "2"), ("u", "b1", 6, "2"), ("v", "a2", 6, "3"), ("u", "a2", 8, "4")]
VIEW = shop.snapshot(shop.events(ROWS), shop.FIRST.replace(day=11))  # items: a1, a2 (of kind a), b1


def test_features_by_hand():
    found = assemble(candidates((0, 0), (0, 2), (1, 0)), Coded(VIEW), np.array([0, 1]))
    mine, once, others = (found.iloc[row] for row in range(3))
    assert (mine["pair_events"], mine["pair_baskets"], mine["pair_days_since_last"]) == (2, 2, 4)
    assert (mine["pair_mean_gap_days"], mine["pair_overdue"]) == (6, np.float32(4 / 7))
    assert mine["pair_share"] == np.float32(2 / 3)
    assert mine["pair_kind_events"] == 1  # a2 is of a1's kind
    assert np.isnan(once["pair_mean_gap_days"])
    assert np.isnan(others["pair_events"])
    assert others["pair_kind_events"] == 1
    assert (mine["item_users_all"], mine["user_baskets_all"], others["user_baskets_all"]) == (1, 3, 1)
    assert mine["trending_score"] == 1


def test_what_no_season_moves_by_hand():
    """In the last week a1 was bought once, b1 once and a2 twice; in four weeks a1 twice."""
    found = assemble(candidates((0, 0), (0, 1), (0, 2), (1, 2)), Coded(VIEW), np.array([0, 1]))
    assert found["item_share_7d"].tolist() == pytest.approx([3 / 4, 6 / 4, 3 / 4, 3 / 4])
    assert found["item_share_28d"].tolist() == pytest.approx([6 / 5, 6 / 5, 3 / 5, 3 / 5])
    assert found["item_momentum"].tolist() == [1, 1, 1, 1]  # it all was in the last four weeks
    assert found["item_events_7d_place"].tolist() == pytest.approx([2.5 / 3, 1 / 3, 2.5 / 3, 1])
    assert found["trending_place"].tolist() == [2, 2, 2, 1]  # all scores are 1
    assert found["user_mean_gap_days"][:3].tolist() == [4, 4, 4]  # three baskets in eight days
    assert found["user_overdue"][0] == np.float32(2 / 5)
    assert np.isnan(found["user_mean_gap_days"][3])  # a single basket


def test_demand_is_a_share_so_that_a_busier_season_does_not_show():
    busier = shop.snapshot(
        shop.events([(user, *rest, f"{basket}{user}") for user in "uvwx" for _, *rest, basket in ROWS]), VIEW.as_of
    )
    quiet = shop.snapshot(shop.events([("u", *rest) for _, *rest in ROWS]), VIEW.as_of)
    names = ["item_share_7d", "item_share_28d"]
    one, other = (
        assemble(candidates((0, 0), (0, 1), (0, 2)), Coded(view), np.array([0]))[names] for view in (busier, quiet)
    )
    pd.testing.assert_frame_equal(one, other)


def test_a_title_is_like_what_the_user_bought_of_late():
    """Of three titles a word that two have counts log(4 / 3), one that all have nothing, and a rare one log(4 / 2)."""
    found = assemble(candidates((0, 0), (0, 1), (0, 2), (1, 2)), Coded(VIEW), np.array([0, 1]))["pair_title_likeness"]
    shared, rare = np.log(4 / 3), np.log(4 / 2)
    a1, a2, b1 = (np.array(word) for word in ((shared, 0, shared, 0), (shared, 0, 0, rare), (0, rare, shared, 0)))
    titles = [title / np.linalg.norm(title) for title in (a1, a2, b1)]  # words: A, B, 1, 2
    weights = [2 ** (-10 / 90) + 2 ** (-4 / 90), 2 ** (-2 / 90), 2 ** (-4 / 90)]  # a1 twice, a2, b1
    taste = sum(weight * title for weight, title in zip(weights, titles, strict=True))
    expected = [taste @ title / np.linalg.norm(taste) for title in titles]
    assert found[:3].to_numpy() == pytest.approx(expected, abs=1e-5)
    assert found[3] == pytest.approx(titles[1] @ titles[2], abs=1e-5)


def test_features_are_of_a_candidate_and_not_of_its_place():
    some = candidates((0, 0), (0, 1), (0, 2), (1, 0), (1, 1))
    all_at_once = assemble(some, Coded(VIEW), np.array([0, 1]))
    order = [4, 2, 0, 3, 1]
    shuffled = assemble(some.iloc[order].reset_index(drop=True), Coded(VIEW), np.array([0, 1]))
    pd.testing.assert_frame_equal(shuffled, all_at_once.iloc[order].reset_index(drop=True))
    one_user = assemble(candidates((0, 0), (0, 1)), Coded(VIEW), np.array([1]))
    pd.testing.assert_frame_equal(one_user, all_at_once.iloc[3:].reset_index(drop=True))


def test_every_number_of_the_tables_is_a_feature_and_no_text_is():
    found = assemble(candidates((0, 0)), Coded(VIEW), np.array([0]))
    for prefix, table in (("user", VIEW.users), ("item", VIEW.items), ("pair", VIEW.pairs)):
        for name in table.columns:
            assert (f"{prefix}_{name}" in found) == (table[name].dtype.kind in "iuf")
    assert (found.dtypes == np.float32).all()


def test_a_table_without_kinds_will_do():
    view = shop.snapshot(shop.events(ROWS), VIEW.as_of)
    view.items.drop(columns=["kind", "title"], inplace=True)
    found = assemble(candidates((0, 0)), Coded(view), np.array([0])).iloc[0]
    assert (found["pair_kind_events"], found["pair_title_likeness"]) == (0, 0)
