"""Small shops for the rules of the lists: items and what users have bought, without a model."""

from __future__ import annotations

from typing import Any

import pandas as pd

from nightshift.config.settings import Lists
from nightshift.features.snapshot import Snapshot
from tests import shop

ITEMS = 40
NAMES = [f"i{number:02d}" for number in range(ITEMS)]


def view(
    sellable: list[bool],
    kinds: list[int],
    titles: list[str] | None = None,
    age: int = 300,
    suppliers: list[str | None] | None = None,
    bought: list[tuple[str, str, int, float | None]] | None = None,
) -> Snapshot:
    """A snapshot of items, the last the most popular, and of pairs (user, item, days since, mean gap)."""
    items = pd.DataFrame({"item_id": NAMES[: len(kinds)], "sellable": sellable, "kind": [f"k{kind}" for kind in kinds]})
    items["title"] = titles or [f"word{number}" for number in range(len(items))]
    items["supplier"] = pd.Series(suppliers or [f"s{number}" for number in range(len(items))], dtype=object)
    items = items.assign(events_28d=range(len(items)), events_all=1, days_since_first=age)
    pairs = pd.DataFrame(bought or [], columns=["user_id", "item_id", "days_since_last", "mean_gap_days"])
    pairs = pairs.drop_duplicates(["user_id", "item_id"]).sort_values(["user_id", "item_id"], ignore_index=True)
    pairs = pairs.astype({"user_id": object, "item_id": object, "days_since_last": float, "mean_gap_days": float})
    users = pd.DataFrame({"user_id": sorted(pairs["user_id"].unique())}, dtype=object)
    nothing = pd.DataFrame({"user_id": [], "item_id": []}, dtype=object)
    return Snapshot(shop.RUN_DATE, users, items, pairs, nothing, nothing)


def scored(*users: list[str]) -> pd.DataFrame:
    """Candidates of the users u0, u1, ..., the best first."""
    rows = [
        (f"u{user}", rank, item, 10.0 - rank, "two_tower")
        for user, chosen in enumerate(users)
        for rank, item in enumerate(chosen, 1)
    ]
    return pd.DataFrame(rows, columns=["user_id", "rank", "item_id", "score", "source"])


def chosen(found: pd.DataFrame) -> list[list[str]]:
    return [list(items) for _, items in found.groupby("user_id", sort=False)["item_id"]]


def lists(*rules: dict[str, Any], size: int = 3) -> Lists:
    """Settings with these rules and no others."""
    return Lists.model_validate({"size": size, "rules": rules})
