"""What lists are like, by hand and on the planted shop."""

import math

import pandas as pd
import pytest

from nightshift.evaluation.character import CHARACTER, character
from nightshift.models.baselines import Popularity
from nightshift.models.coded import Coded
from tests import shop

KNOWN = [("u", "CUP1", 1, "1"), ("u", "CUP2", 1, "1"), ("v", "CUP1", 2, "2"), ("w", "JAR1", 3, "3")]


@pytest.fixture(scope="module")
def coded() -> Coded:
    return Coded(shop.snapshot(shop.events(KNOWN), shop.FIRST + pd.Timedelta(days=9).to_pytimedelta()))


def lists(**items: list[str]) -> pd.DataFrame:
    rows = [(user, rank, item) for user, chosen in items.items() for rank, item in enumerate(chosen, 1)]
    return pd.DataFrame(rows, columns=["user_id", "rank", "item_id"])


def test_by_hand(coded: Coded):
    found = character(lists(u=["CUP1", "CUP2"], v=["CUP1", "JAR1"], w=["CUP1", "JAR1"]), coded, k=2)
    assert set(found) == set(CHARACTER)
    assert found["coverage"] == 1.0
    own = {"CUP1": 2 / 3, "CUP2": 1 / 3, "JAR1": 1 / 3}
    shown = ["CUP1", "CUP2", "CUP1", "JAR1", "CUP1", "JAR1"]
    assert found["novelty"] == pytest.approx(-sum(math.log2(own[item]) for item in shown) / 6)
    assert found["personalisation"] == pytest.approx(1 - (1 / 2 + 1 / 2 + 2 / 2) / 3)
    assert found["popularity_lift"] == pytest.approx(1.5 / ((1.5 + 2 + 1) / 3) - 1)


def test_lists_that_are_short_are_as_personal_as_what_they_hold(coded: Coded):
    same = lists(**{f"u{n}": ["CUP1", "CUP2", "JAR1"] for n in range(50)})
    assert character(same, coded, k=20)["personalisation"] == pytest.approx(0)
    of_some_lengths = lists(u=["CUP1", "CUP2", "JAR1"], v=["JAR1", "CUP1"], w=["CUP2"], x=["CUP2"], y=["JAR1"])
    shared = {"uv": 1, "uw": 1, "ux": 1, "uy": 1, "vw": 0, "vx": 0, "vy": 1, "wx": 1, "wy": 0, "xy": 0}
    found = character(of_some_lengths, coded, k=20)["personalisation"]
    assert found == pytest.approx(1 - sum(shared.values()) / len(shared))


def test_words_in_common_make_a_list_less_diverse(coded: Coded):
    """Titles are CUP NO 1, CUP NO 2, JAR NO 1; a word counts log(4 / (1 + titles that have it)): NO says nothing."""
    two, one = math.log(4 / 3), math.log(4 / 2)
    cup1, cup2 = math.hypot(two, two), math.hypot(two, one)
    assert character(lists(u=["CUP1", "CUP2"]), coded, k=2)["diversity"] == pytest.approx(1 - two**2 / (cup1 * cup2))
    assert character(lists(u=["CUP2", "JAR1"]), coded, k=2)["diversity"] == pytest.approx(1)


def test_what_lies_behind_k_does_not_count(coded: Coded):
    assert character(lists(u=["CUP1", "JAR1"]), coded, k=1)["coverage"] == pytest.approx(1 / 3)


def test_without_lists_there_is_nothing_to_tell(coded: Coded):
    found = character(lists(), coded, k=2)
    assert found.pop("coverage") == 0.0
    assert set(found.values()) == {None}


def test_the_same_list_for_all_is_not_personal_and_what_everybody_has_already_is_calibrated():
    view = shop.snapshots()[1]
    users = view.users["user_id"].tolist()
    theirs = view.pairs.assign(rank=view.pairs.groupby("user_id").cumcount() + 1)[["user_id", "rank", "item_id"]]
    k = int(theirs["rank"].max())
    same, own = (character(lists, Coded(view), k) for lists in (Popularity().recommend(view, users, k), theirs))
    assert same["personalisation"] == pytest.approx(0)
    assert own["personalisation"] > 0.5
    assert own["miscalibration"] == own["popularity_lift"] == pytest.approx(0)
    assert same["miscalibration"] > 0.01
    assert abs(same["popularity_lift"]) > 0.01
