"""Three customers' lists, beside what they bought before: the figures' sanity check by eye."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from nightshift.lake import Lake
from nightshift.runs import Night

BOUGHT = 6
WHO = ((0.95, "buys often"), (0.5, "in the middle"), (0.0, "hardly known yet"))  # by rank among all users' baskets


@dataclass(frozen=True)
class Customer:
    """One user as the page shows them.

    Attributes:
        facts: what is known, in words, like `12 baskets`.
        bought: title, baskets and last day of the items bought last, the latest first.
        entries: rank, title, score, source and reason of the list.
    """

    user_id: str
    who: str
    facts: list[str]
    bought: list[dict[str, Any]]
    entries: list[dict[str, Any]]


def three(night: Night) -> list[Customer]:
    """The same three users for the same night: one who buys often, one in the middle, one hardly known.

    They are taken by their rank among all users by baskets, not picked by hand. What a table that is not there would
    have told is left out.
    """
    folder = night.folder / "lists"
    if not (folder / "lists.parquet").is_file():
        return []
    lake = Lake(night.home / "lake")
    users = _users(lake, night, folder)
    if users.empty:
        return []
    chosen = {str(users.iloc[int(place * (len(users) - 1))]["user_id"]): who for place, who in WHO}
    lists = pd.read_parquet(folder / "lists.parquet", filters=[("user_id", "in", list(chosen))])
    titles = _titles(folder)
    events = _events(lake, night, list(chosen))
    known = users.set_index("user_id")
    return [
        Customer(
            user,
            who,
            _facts(known.loc[user], night),
            _bought(events[events["user_id"] == user]),
            _entries(lists[lists["user_id"] == user], titles),
        )
        for user, who in chosen.items()
    ]


def _users(lake: Lake, night: Night, folder: Path) -> pd.DataFrame:
    """Users with a list, those with the fewest baskets first."""
    listed = pd.read_parquet(folder / "lists.parquet", columns=["user_id"]).drop_duplicates()
    day = night.run_date.isoformat()
    if day in lake.run_dates("user_features"):
        columns = ["user_id", "baskets_all", "days_since_last", *night.settings.source.user_attributes]
        features = lake.pandas("user_features", columns, [("run_date", "=", day)])
        listed = listed.merge(features, on="user_id").sort_values(["baskets_all", "user_id"])
    return listed.reset_index(drop=True)


def _facts(user: pd.Series, night: Night) -> list[str]:
    facts = []
    if pd.notna(user.get("baskets_all")):
        facts.append(_count(user["baskets_all"], "basket"))
    if pd.notna(user.get("days_since_last")):
        days = user["days_since_last"]
        facts.append(f"last {_count(days, 'day')} ago" if days else "last that day")
    attributes = (user.get(name) for name in night.settings.source.user_attributes)
    return [*facts, *(str(value) for value in attributes if pd.notna(value))]


def _titles(folder: Path) -> dict[str, str]:
    if not (folder / "items.parquet").is_file():
        return {}
    items = pd.read_parquet(folder / "items.parquet")
    return dict(zip(items["item_id"], items["title"], strict=True)) if "title" in items else {}


def _events(lake: Lake, night: Night, users: list[str]) -> pd.DataFrame:
    """What these users bought up to the run date."""
    wanted = ["user_id", "item_id", "title", "event_date", "basket_id"]
    if not lake.exists("events"):
        return pd.DataFrame(columns=wanted)
    there = {field.name for field in lake.open("events").schema().fields}
    past = [("run_date", "<=", night.run_date), ("event_date", "<=", night.run_date)]
    where = [("user_id", "in", users), ("weight", ">", 0), *past]
    return lake.pandas("events", [column for column in wanted if column in there], where)


def _bought(events: pd.DataFrame) -> list[dict[str, Any]]:
    if events.empty:
        return []
    events = events.assign(title=events["title"].fillna(events["item_id"]) if "title" in events else events["item_id"])
    items = events.groupby("item_id").agg(
        title=("title", "max"), baskets=("basket_id", "nunique"), last=("event_date", "max")
    )
    latest = items.reset_index().sort_values(["last", "baskets", "item_id"], ascending=[False, False, True])
    rows: list[dict[str, Any]] = latest.head(BOUGHT)[["title", "baskets", "last"]].to_dict("records")
    return rows


def _entries(entries: pd.DataFrame, titles: dict[str, str]) -> list[dict[str, Any]]:
    columns = [name for name in ("rank", "item_id", "score", "source", "reason") if name in entries]
    rows = entries.sort_values("rank")[columns].to_dict("records")
    return [{**row, "title": titles.get(row["item_id"]) or row["item_id"]} for row in rows]


def _count(value: float, noun: str) -> str:
    return f"{value:.0f} {noun}{'' if value == 1 else 's'}"
