"""Every declared feature, worked out by hand on a small history."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd
import pytest

from nightshift.config.settings import Engine
from nightshift.features.definitions import Feature, all_features
from nightshift.lake import Lake, engine
from tests.features.history import CUTOFFS, SETTINGS, Event, advance, bring, tables_as_of

FIRST, MIDDLE, LAST = CUTOFFS

HISTORY = [
    Event("ann", "A", 1, "b1", price=2.0, quantity=3, title="Old name", country="FR"),
    Event("ann", "B", 1, "b1", price=4.0, country="FR"),
    Event("ann", "A", 15, "b2", price=3.0, quantity=2, title="New name"),
    Event("ann", "A", 15, "b2", price=3.0, quantity=1, title="New name", hour=10),
    Event("ann", "A", 29, "b3", price=None, title=""),  # no title and no price that day: the last one stands
    Event("ann", "C", 29, "b3", price=9.0, title=None),
    Event("ann", "D", 20, "b4", price=1.0),
    Event("ann", "D", 21, "c4", price=1.0, weight=-1.0),  # taken back: the pair vanishes
    Event("bob", "A", 30, "b5", price=5.0, title="New name", hour=8, country="DE"),
    Event("bob", "B", 5, "b6", price=4.0, known=25),  # late
]

USERS: dict[str, dict[str, Any]] = {
    "ann": {
        "events_1d": 0, "events_7d": 2, "events_28d": 5, "events_90d": 7, "events_all": 7,  # the 1st is 29 days ago
        "days_since_last": 1, "days_since_first": 29,
        "baskets_all": 4, "mean_price": (2 + 4 + 3 + 3 + 9 + 1) / 6, "mean_basket_items": 7 / 4,
        "items_all": 3, "repeat_share": 1 / 3,  # A of A, B and C
        "country": "GB",
    },
    "bob": {
        "events_1d": 1, "events_7d": 1, "events_28d": 2, "events_90d": 2, "events_all": 2,
        "days_since_last": 0, "days_since_first": 25,
        "baskets_all": 2, "mean_price": 4.5, "mean_basket_items": 1.0,
        "items_all": 2, "repeat_share": 0.0,
        "country": "DE",
    },
}  # fmt: skip

ITEMS: dict[str, dict[str, Any]] = {
    "A": {
        "events_1d": 1, "events_7d": 2, "events_28d": 4, "events_90d": 5, "events_all": 5,
        "days_since_last": 0, "days_since_first": 29,
        "mean_price": (2 + 3 + 3 + 5) / 4, "trend": (2 / 7) / (5 / 28),
        "users_all": 2, "repeat_rate": 1 / 2,
        "title": "New name", "sellable": True,
    },
    "C": {
        "events_1d": 0, "events_7d": 1, "events_28d": 1, "events_90d": 1, "events_all": 1,
        "days_since_last": 1, "days_since_first": 1,
        "mean_price": 9.0, "trend": (1 / 7) / (2 / 28),
        "users_all": 1, "repeat_rate": 0.0,
        "title": None, "sellable": True,
    },
    "D": {  # bought and taken back: known, and nobody's
        "events_1d": 0, "events_7d": 0, "events_28d": 1, "events_90d": 1, "events_all": 1,
        "days_since_last": 10, "days_since_first": 10,
        "mean_price": 1.0, "trend": 0.0,
        "users_all": 0, "repeat_rate": 0.0,
        "title": "Thing", "sellable": True,
    },
}  # fmt: skip

PAIRS: dict[tuple[str, str], dict[str, Any]] = {
    ("ann", "A"): {
        "events": 4, "baskets": 3, "quantity": 7.0, "days_since_last": 1, "days_since_first": 29,
        "mean_gap_days": 14.0, "affinity": 4.0,
    },
    ("ann", "B"): {
        "events": 1, "baskets": 1, "quantity": 1.0, "days_since_last": 29, "days_since_first": 29,
        "mean_gap_days": None, "affinity": 1.0,
    },
}  # fmt: skip


Tables = dict[dt.date, dict[str, pd.DataFrame]]


@pytest.fixture(scope="module")
def tables(warm_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """The feature tables as of each cut-off, all built at once from the events."""
    lake = Lake(tmp_path_factory.mktemp("features"))
    bring(lake, HISTORY)
    with engine.session(warm_engine, lake.root) as spark:
        advance(spark, lake, *CUTOFFS)
    return {day: tables_as_of(lake, day) for day in CUTOFFS}


def row(tables: Tables, table: str, as_of: dt.date = LAST, **key: str) -> dict[str, Any]:
    frame = tables[as_of][table]
    for column, value in key.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1, (table, key, len(frame))
    found: dict[str, Any] = frame.iloc[0].to_dict()
    return {name: None if pd.isna(value) else value for name, value in found.items()}


def test_every_declared_feature_is_worked_out_by_hand() -> None:
    attributes = {"user": {"country"}, "item": {"title", "sellable"}, "user_item": set()}
    for expected, entity in ((USERS, "user"), (ITEMS, "item"), (PAIRS, "user_item")):
        declared = [feature for feature in all_features(SETTINGS).values() if feature.entity == entity]
        names = {feature.name for feature in declared}
        assert len(names) == len(declared)
        assert all(feature.description and feature.owner for feature in declared)
        for planted in expected.values():
            assert set(planted) == names | attributes[entity], f"{entity}: plant what it should be, here"


@pytest.mark.parametrize("user", USERS)
def test_user_features(tables: Tables, user: str) -> None:
    found = row(tables, "users", user_id=user)
    assert {name: found[name] for name in USERS[user]} == pytest.approx(USERS[user])


@pytest.mark.parametrize("item", ITEMS)
def test_item_features(tables: Tables, item: str) -> None:
    found = row(tables, "items", item_id=item)
    assert {name: found[name] for name in ITEMS[item]} == pytest.approx(ITEMS[item])


@pytest.mark.parametrize(("user", "item"), PAIRS)
def test_user_item_features(tables: Tables, user: str, item: str) -> None:
    found = row(tables, "pairs", user_id=user, item_id=item)
    assert {name: found[name] for name in PAIRS[user, item]} == pytest.approx(PAIRS[user, item])


def test_a_pair_that_was_taken_back_vanishes_once_that_is_known(tables: Tables) -> None:
    def bought(day: dt.date) -> bool:
        pairs = tables[day]["pairs"]
        return bool(((pairs["user_id"] == "ann") & (pairs["item_id"] == "D")).any())

    assert [bought(day) for day in CUTOFFS] == [False, True, False], "bought on the 20th, taken back on the 21st"


def test_as_of_an_earlier_day_only_what_was_known_then_counts(tables: Tables) -> None:
    early = row(tables, "users", FIRST, user_id="ann")
    assert (early["events_all"], early["days_since_last"], early["country"]) == (2, 9, "FR")
    assert row(tables, "items", FIRST, item_id="A")["title"] == "Old name"
    assert row(tables, "items", MIDDLE, item_id="A")["title"] == "New name"
    known = [day for day in CUTOFFS if "bob" in set(tables[day]["users"]["user_id"])]
    assert known == [LAST], "his first event was delivered late"


def test_a_title_that_is_missing_or_empty_falls_back_to_the_last_one(tables: Tables) -> None:
    assert row(tables, "items", LAST, item_id="A")["title"] == "New name"
    assert row(tables, "items", LAST, item_id="C")["title"] is None, "there never was one"


def test_sequences_are_most_recent_first_once_a_day_and_no_longer_than_set(tables: Tables) -> None:
    def sequence(day: dt.date, user: str) -> tuple[list[str], list[int]]:
        found = tables[day]["sequences"].set_index("user_id").loc[user]
        return list(found["items"]), list(found["days_ago"])

    assert sequence(LAST, "ann") == (["A", "C", "D", "A"], [1, 1, 10, 15])
    assert sequence(LAST, "bob") == (["A", "B"], [0, 25])
    assert sequence(MIDDLE, "ann") == (["D", "A", "A", "B"], [0, 5, 19, 19])


@pytest.mark.parametrize(
    ("aggregation", "of", "window", "message"),
    [
        ("expression", "spendings / 2", None, "'spendings' is no measure: there are events"),
        ("sum", "wishes", 7, "'wishes_sum_7d' is no measure"),
        ("expression", "last_day_7d", None, "only sums over events have windows"),
        ("expression", "pairs_7d", None, "only sums over events have windows"),
    ],
)
def test_a_definition_that_cannot_be_computed_is_refused_by_name(
    aggregation: Any, of: str, window: int | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Feature("x", "user", "double", aggregation, "a feature", of, window)


def test_a_window_on_pairs_is_refused() -> None:
    with pytest.raises(ValueError, match="a pair is kept as of the day it was last touched, so without windows"):
        Feature("events_7d", "user_item", "bigint", "count", "events of late", window=7)
