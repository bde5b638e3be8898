"""The figures over all lists, and what they leave out."""

from __future__ import annotations

from typing import Any

import duckdb
import pandas as pd

from nightshift.ranking.list_summary import summarise


def lists_of(**items: str) -> pd.DataFrame:
    """`ann="AB"`: two items for ann, A first."""
    rows = [(user, rank, item) for user, listed in items.items() for rank, item in enumerate(listed, 1)]
    return pd.DataFrame(rows, columns=["user_id", "rank", "item_id"])


def summary(
    lists: pd.DataFrame, users: set[str], sellable: str, size: int, before: pd.DataFrame | None = None, **held: str
) -> dict[str, Any]:
    """Of a shop that sells the items `sellable`; `ann="AB"`: A and B are not to be offered to ann."""
    with duckdb.connect() as db:
        db.register("lists", lists)
        db.register("users", pd.DataFrame({"user_id": sorted(users)}))
        db.register("allowed", pd.DataFrame({"item_id": list(sellable)}))
        db.register("held", lists_of(**held).astype({"user_id": object, "item_id": object}))
        if before is not None:
            db.register("before", before)
        return summarise(db, size, before is not None)


def test_the_figures_are_over_all_lists() -> None:
    before = lists_of(ann="AX", bob="YZ", gone="AB")
    told = summary(lists_of(ann="AB", bob="BC", eve="A"), {"ann", "bob", "cat"}, "ABCD", 2, before)
    assert told == {
        "users": 3,
        "users_without_list": 1,
        "short_lists": 1,
        "lists_with_gaps": 0,
        "coverage": 0.75,
        "overlap": 0.25,  # ann's A of two, nothing of bob's; the others have one list only
        "users_compared": 2,
    }


def test_a_list_without_its_first_place_or_with_a_place_twice_has_a_gap() -> None:
    lists = lists_of(ann="AB", bob="AB", cat="AB", dan="AB").assign(rank=[1, 2, 2, 3, 1, 3, None, None])
    assert summary(lists, {"ann"}, "ABCD", 2)["lists_with_gaps"] == 3


def test_a_shop_that_sells_less_than_a_list_holds_has_short_lists_only() -> None:
    assert summary(lists_of(ann="A"), {"ann"}, "A", 20)["short_lists"] == 0


def test_who_has_all_that_can_be_sold_needs_no_list() -> None:
    held = {"ann": "AB", "bob": "AX", "cat": "B"}  # X is not sold
    told = summary(lists_of(bob="A"), {"ann", "bob", "cat"}, "AB", 20, **held)
    assert (told["users_without_list"], told["short_lists"]) == (1, 0)  # cat could have one


def test_what_may_not_be_listed_covers_nothing_and_entries_of_nobody_are_no_list() -> None:
    told = summary(lists_of(ann="AX", bob="A").assign(user_id=["ann", "ann", None]), {"ann"}, "AB", 2)
    assert (told["users"], told["coverage"], told["short_lists"], told["overlap"]) == (1, 0.5, 0, None)
