import pandas as pd
import pytest

from nightshift.evaluation.slices import HISTORY, OTHERS, by_slice, slices
from tests import shop


def values(users: list[str], figures: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"user_id": users, "ndcg": figures})


def test_users_are_sliced_by_their_history_and_their_attributes():
    view = shop.snapshots()[1]
    users = view.users["user_id"].tolist()
    found = slices(view, users)
    assert len(found) == len(users)
    assert set(found["history"]) <= set(HISTORY)
    assert dict(zip(users, found["country"], strict=True))["l03"] == "France"


def test_rare_values_are_one_slice_and_so_are_users_without_one():
    view = shop.snapshots()[1]
    users = view.users.assign(country=[f"C{min(n // 8, 6)}" for n in range(len(view.users))])
    users.loc[0, "country"] = None
    found = slices(shop.snapshot(shop.interactions(), view.as_of, users=users), users["user_id"].tolist())
    assert set(found["country"]) == {"C1", "C2", "C3", "C4", "C6", OTHERS} or len(set(found["country"])) == 6
    assert found["country"][0] == OTHERS


def test_each_slice_has_its_mean_and_the_largest_comes_first():
    sliced = pd.DataFrame({"history": [HISTORY[1], HISTORY[0], HISTORY[1]], "country": ["a", OTHERS, "a"]})
    rows = by_slice(values(list("uvw"), [0.2, 0.9, 0.4]), sliced, "ndcg", seed=1)
    assert [(row["by"], row["slice"], row["users"]) for row in rows] == [
        ("history", HISTORY[0], 1),
        ("history", HISTORY[1], 2),
        ("country", "a", 2),
        ("country", OTHERS, 1),
    ]
    assert rows[2]["mean"] == pytest.approx(0.3)
    assert 0.2 <= rows[2]["low"] <= rows[2]["high"] <= 0.4
    assert rows[0]["low"] is None  # one user tells nothing of others
