"""Every feature, declared once. Training, batch inference and reports know a feature by its name here.

An expression is a Spark SQL aggregate over the rows that were known as of a day. Rows are positive events (of a type
with weight above 0) or, where `over` says pairs, the user-item rows built from them. They have the column `age`: days
before the end of `as_of`, 0 on the day itself. Sums run over integers: the order of rows cannot show.
To add a feature, add an entry, and a test in tests/features/test_definitions.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nightshift.config import Settings
from nightshift.lake import Table


@dataclass(frozen=True)
class Feature:
    """One column of a feature table.

    Attributes:
        default: what stands for it where there is no row: a new user, an item never bought by this user.
    """

    name: str
    type: Literal["bigint", "double"]
    expression: str
    description: str
    default: float | None = 0
    over: Literal["events", "pairs"] = "events"


def _sum(column: str) -> str:
    """Exact to four decimals, over integers: Spark's own decimal sums are an order of magnitude slower."""
    return f"sum(cast(round({column} * 10000) as bigint)) / 10000"


def _mean(column: str) -> str:
    return f"{_sum(column)} / count({column})"


def _counts(windows: Sequence[int], whose: str) -> list[Feature]:
    return [
        Feature(f"events_{days}d", "bigint", f"count_if(age < {days})", f"{whose} events in the last {days} days")
        for days in windows
    ] + [Feature("events_all", "bigint", "count(*)", f"{whose} events so far")]


SPAN = [
    Feature("days_since_last", "bigint", "min(age)", "days since the last event", default=None),
    Feature("days_since_first", "bigint", "max(age)", "days since the first event", default=None),
]


def user_features(settings: Settings) -> list[Feature]:
    repeats = "count_if(baskets >= 2) / count(*)"
    return [
        *_counts(settings.features.windows_days, "a user's"),
        *SPAN,
        Feature("baskets_all", "bigint", "count(distinct basket_id)", "baskets so far"),
        Feature("mean_price", "double", _mean("price"), "mean price of a unit over the user's events", default=None),
        Feature("mean_basket_items", "double", "count(*) / count(distinct basket_id)", "mean events a basket"),
        Feature("items_all", "bigint", "count(*)", "different items so far", over="pairs"),
        Feature(
            "repeat_share", "double", repeats, "share of the user's items bought in two baskets or more", over="pairs"
        ),
    ]


def item_features(settings: Settings) -> list[Feature]:
    repeats = "count_if(baskets >= 2) / count(*)"
    trend = "(count_if(age < 7) / 7) / ((count_if(age < 28) + 1) / 28)"
    return [
        *_counts(settings.features.windows_days, "an item's"),
        *SPAN,
        Feature("mean_price", "double", _mean("price"), "mean price of a unit over the item's events", default=None),
        Feature("trend", "double", trend, "events a day in the last week over those in the last four"),
        Feature("users_all", "bigint", "count(*)", "different users so far", over="pairs"),
        Feature("repeat_rate", "double", repeats, "share of the item's users with two baskets or more", over="pairs"),
    ]


USER_ITEM = [
    Feature("events", "bigint", "count(*)", "events of the user on the item"),
    Feature("baskets", "bigint", "count(distinct basket_id)", "baskets of the user with the item"),
    Feature("quantity", "double", _sum("quantity"), "units bought"),
    *SPAN,
    Feature(
        "mean_gap_days",
        "double",
        "(max(age) - min(age)) / nullif(count(distinct basket_id) - 1, 0)",
        "mean days between the user's baskets with the item; none after one basket",
        default=None,
    ),
]
"""User and item together; `affinity`, the sum of all events' weights, cancellations included, comes beside them."""


def feature_tables(settings: Settings) -> dict[str, Table]:
    """The feature tables' schemas, by name."""
    source = settings.source

    def columns(keys: dict[str, str], features: Sequence[Feature], rest: dict[str, str]) -> dict[str, str]:
        return {**keys, "as_of": "date", **{feature.name: feature.type for feature in features}, **rest}

    text = {
        "user": dict.fromkeys(source.user_attributes, "string"),
        "item": dict.fromkeys(source.item_attributes, "string"),
    }
    user, item = {"user_id": "string"}, {"item_id": "string"}
    tables = [
        Table("user_features", columns(user, user_features(settings), text["user"])),
        Table("item_features", columns(item, item_features(settings), {**text["item"], "sellable": "boolean"})),
        Table("user_item_features", columns(user | item, USER_ITEM, {"affinity": "double"})),
        Table("user_sequences", {**user, "as_of": "date", "items": "array<string>", "days_ago": "array<int>"}),
        Table(
            "cooccurrence",
            {**item, "neighbour_id": "string", "as_of": "date", "baskets": "bigint", "score": "double"},
        ),
    ]
    return {table.name: table for table in tables}
