"""A user's row: the first exposure decides, and only what followed it, within the horizon, counts."""

from __future__ import annotations

import datetime as dt
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from nightshift.config.settings import Experiment
from nightshift.experiments.observed import Observed, observe
from nightshift.lake import EVENTS_COLUMNS, Table, exposures_table
from tests.experiments.declared import experiment

FIRST, LAST = dt.date(2011, 11, 1), dt.date(2011, 11, 20)
MINE = Experiment.model_validate(experiment("mine", horizon_days=7, before_days=28))


def at(day: float) -> dt.datetime:
    """So many days after the beginning of November."""
    return dt.datetime(2011, 11, 1, tzinfo=dt.UTC) + dt.timedelta(days=day)


def shown(user: str, day: float, variant: str | None = "control", *items: str, **values: Any) -> dict[str, Any]:
    part = [{"experiment": "other", "variant": "x", "propensity": 0.1}]
    part += [{"experiment": "mine", "variant": variant, "propensity": 0.5}] if variant else []
    return {
        "exposure_id": f"{user}-{day}",
        "shown_at": at(day),
        "user_id": user,
        "channel": "current",
        "experiments": part,
        "overridden": False,
        "items": [{"item_id": item, "position": place} for place, item in enumerate(items, 1)],
        "run_date": at(day).date(),
        **values,
    }


def event(user: str, day: float, item: str = "A", price: float | None = 2.0, **values: Any) -> dict[str, Any]:
    known = {"event_id": f"{user}-{day}-{item}", "event_type": "purchase", "weight": 1.0, "quantity": 1.0}
    known |= {"user_id": user, "item_id": item, "event_time": at(day), "price": price, "run_date": at(day).date()}
    return known | {"basket_id": f"{user}-{day:.0f}", "event_date": at(day).date()} | values


def observed(exposures: list[dict], events: list[dict], mine: Experiment = MINE) -> Observed:
    with duckdb.connect() as database:
        database.register("shown", pa.Table.from_pylist(exposures, schema=exposures_table.arrow))
        database.register("bought", pa.Table.from_pylist(events, schema=Table("events", EVENTS_COLUMNS).arrow))
        return observe(database, "shown", "bought", mine, FIRST, LAST)


def figures(exposures: list[dict], events: list[dict], mine: Experiment = MINE) -> dict[str, Any]:
    """Of the only user."""
    (row,) = observed(exposures, events, mine).users.to_dict("records")
    return row


def test_only_what_follows_the_first_exposure_within_the_horizon_counts() -> None:
    bought = [event("u", day, price=10**n) for n, day in enumerate((1.9, 2.0, 8.9, 9.0, 15.0))]
    row = figures([shown("u", 2), shown("u", 5)], bought)
    assert (row["first"], row["done"]) == (at(2), at(9))
    assert (row["conversion"], row["value"], row["baskets"]) == (1, 10 + 100, 2)
    assert (row["conversion_before"], row["value_before"]) == (1, 1)


def test_what_was_long_before_is_not_looked_at() -> None:
    row = figures([shown("u", 2)], [event("u", 2 - 28, price=3), event("u", 2 - 28.01, price=50)])
    assert (row["value_before"], row["conversion"]) == (3, 0)


def test_a_user_without_events_is_a_user() -> None:
    row = figures([shown("u", 2, "treatment")], [event("somebody else", 3)])
    assert (row["variant"], row["propensity"], row["conversion"], row["lists"]) == ("treatment", 0.5, 0, 1)


def test_what_is_taken_back_is_taken_off_and_is_no_conversion() -> None:
    back = event("u", 3, price=2.0, weight=-1.0, quantity=-3.0, event_type="cancellation")
    row = figures([shown("u", 2)], [back])
    assert (row["conversion"], row["value"], row["baskets"]) == (0, -6, 0)
    assert figures([shown("u", 2)], [event("u", 3, price=None, quantity=2.0)])["value"] == 2, "no price counts as 1"


def test_only_events_of_the_declared_types_count() -> None:
    purchases = MINE.model_copy(update={"event_types": ["purchase", "it's"]})
    rows = [event("u", 3, price=4.0), event("u", 3.1, event_type="view", weight=0.1)]
    assert figures([shown("u", 2)], rows, purchases)["value"] == 4
    assert figures([shown("u", 2)], rows)["value"] == pytest.approx(4.2)


def test_an_item_counts_as_bought_from_a_list_once_and_after_it_was_shown() -> None:
    lists = [shown("u", 2, "control", "A", "B"), shown("u", 3, "control", "A", "C"), shown("u", 20, "control", "D")]
    lists[0]["items"] = lists[0]["items"][:2]
    bought = [event("u", 2.5, "A"), event("u", 4, "A"), event("u", 2.5, "C"), event("u", 4, "D"), event("u", 1, "B")]
    row = figures(lists, bought)
    assert (row["lists"], row["bought"]) == (2, 1)
    unknown = shown("u", 2) | {"items": None}
    assert figures([unknown], bought)["bought"] == 0, "its items cannot be told any more"


def test_exposures_that_do_not_count() -> None:
    exposures = [
        shown("overridden", 2, "treatment", overridden=True),
        shown("of another experiment", 2, None),
        shown("before", -1),
        shown("after", 20),
        shown("u", 2),
    ]
    assert len(observed(exposures, []).users) == 1


def test_users_with_several_variants_are_counted_and_left_out() -> None:
    found = observed([shown("u", 2), shown("u", 3, "treatment"), shown("v", 3, "treatment"), shown("v", 4)], [])
    assert (len(found.users), found.several) == (0, 2)
