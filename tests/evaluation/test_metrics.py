import math

import pandas as pd
import pytest

from nightshift.evaluation.metrics import METRICS, by_user, mean


def lists(**items: list[str]) -> pd.DataFrame:
    rows = [(user, rank, item) for user, chosen in items.items() for rank, item in enumerate(chosen, 1)]
    return pd.DataFrame(rows, columns=["user_id", "rank", "item_id"])


def labels(**items: str) -> pd.DataFrame:
    return pd.DataFrame([(u, i) for u, chosen in items.items() for i in chosen], columns=["user_id", "item_id"])


def test_metrics_by_hand():
    found = by_user(lists(u=list("axbyz")), labels(u="abc"), k=4).iloc[0]
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert found["ndcg"] == pytest.approx((1 + 1 / math.log2(4)) / ideal)
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["map"] == pytest.approx((1 / 1 + 2 / 3) / 3)
    assert (found["mrr"], found["hit_rate"]) == (1, 1)


def test_the_first_hit_at_place_three_has_a_reciprocal_rank_of_a_third():
    assert by_user(lists(u=list("xyab")), labels(u="ab"), k=4)["mrr"][0] == pytest.approx(1 / 3)


def test_what_lies_behind_k_does_not_count():
    assert by_user(lists(u=list("xya")), labels(u="a"), k=2)[list(METRICS)].to_numpy().sum() == 0


def test_a_full_list_of_hits_is_perfect_however_many_more_there_were():
    assert (by_user(lists(u=list("ab")), labels(u="abcdef"), k=2)[list(METRICS)] == 1).all(axis=None)


def test_a_user_without_a_list_scores_nothing_and_a_list_without_labels_does_not_count():
    values = by_user(lists(u=["a"], w=["a"]), labels(u="a", v="a"), k=1)
    assert values["user_id"].tolist() == ["u", "v"]
    assert values["recall"].tolist() == [1, 0]


def test_an_item_of_another_users_list_is_no_hit():
    assert by_user(lists(u=["b"], v=["a"]), labels(u="a", v="b"), k=1)["recall"].tolist() == [0, 0]


def test_over_no_user_there_is_no_mean():
    nobody = mean(by_user(lists(), labels(), 5))
    assert {nobody[name] for name in METRICS} == {None}
    assert nobody["users"] == 0
