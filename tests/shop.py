"""A small shop whose truth is planted, and its features as a snapshot: what the models' tests stand on.

Lovers of lanterns (users l00 to l29) buy lanterns, lovers of mugs (m00 to m29) mugs; everybody now and then a ribbon.
Who buys LANTERN 00 buys LANTERN 01 with it. LANTERN 19 and MUG 19 sold early only: nobody may be offered them now.
"""

from __future__ import annotations

import datetime as dt
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nightshift.config import Settings, load
from nightshift.evaluation.labels import labels
from nightshift.features.snapshot import Snapshot
from nightshift.ranking.training import Trained, train_two_stage

FIRST = dt.date(2024, 1, 1)
RANKER_CUTOFF, TEST_CUTOFF, RUN_DATE = (FIRST + dt.timedelta(days=days) for days in (111, 125, 139))
GONE = ("LANTERN19", "MUG19")


def settings(**sections: dict[str, Any]) -> Settings:
    """Small and quick, one thread."""
    small: dict[str, dict[str, Any]] = {
        "two_tower": {"dimension": 16, "epochs": 20, "batch_baskets": 32, "title_buckets": 256, "context_items": 10},
        "graph_filter": {"dimension": 16},
        "ranker": {"trees": 60, "min_leaf": 20},
        "candidates": {"two_tower": 15, "graph_filter": 15, "cooccurrence": 10, "repeat": 20, "trending": 10},
        "evaluation": {"k": 10, "min_users": 10, "confidence": 0.5},  # of 60 users little can be told
        "lists": {"size": 10},
    }
    base = load(Path(__file__).parents[1] / "nightshift.yaml")
    values = base.model_dump() | {"threads": 1, "folder": base.folder}
    for name in {**small, **sections}:
        values[name] = values[name] | small.get(name, {}) | sections.get(name, {})
    return Settings.model_validate(values)


def interactions(seed: int = 7) -> pd.DataFrame:
    """140 days of purchases; a basket a user every ten days or so, half of it what the user always buys."""
    rng = np.random.default_rng(seed)
    rows = []
    for taste, initial in (("LANTERN", "l"), ("MUG", "m")):
        for number in range(30):
            favourites = rng.choice(19, size=4, replace=False)
            for visit, day in enumerate(range(int(rng.integers(0, 10)), 140, 10)):
                again, new = rng.choice(favourites, size=2, replace=False), rng.choice(19, size=2, replace=False)
                items = {f"{taste}{item:02d}" for item in (*again, *new)}
                if "LANTERN00" in items:
                    items.add("LANTERN01")
                if day < 40:
                    items.add(f"{taste}19")
                if rng.random() < 0.2:
                    items.add(f"RIBBON{rng.integers(0, 3):02d}")
                rows += [
                    (f"{initial}{number:02d}", item, day, f"{initial}{number:02d}-{visit}") for item in sorted(items)
                ]
    return events(rows)


@functools.cache
def snapshots() -> tuple[Snapshot, Snapshot, Snapshot]:
    """As of the three cut-offs. Shared: not to be changed."""
    known = interactions()
    return snapshot(known, RANKER_CUTOFF), snapshot(known, TEST_CUTOFF), snapshot(known, RUN_DATE)


@functools.cache
def trained() -> Trained:
    """The night's model. Shared: not to be changed."""
    return train(interactions())


def train(known: pd.DataFrame) -> Trained:
    """Train on these events, whatever they are."""
    views = [snapshot(known, day) for day in (RANKER_CUTOFF, TEST_CUTOFF, RUN_DATE)]
    return train_two_stage(views, known, labels(known, RANKER_CUTOFF, TEST_CUTOFF, views[0]), settings())


def events(rows: list[tuple[str, str, int, str]]) -> pd.DataFrame:
    """Positive events out of (user, item, day since `FIRST`, basket), as `load_interactions` gives them."""
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "day", "basket_id"])
    frame["event_date"] = [FIRST + dt.timedelta(days=int(day)) for day in frame.pop("day")]
    frame["event_time"] = pd.to_datetime(frame["event_date"], utc=True) + pd.Timedelta(hours=9)
    frame["run_date"] = frame["event_date"]
    return frame.sort_values(["event_time", "user_id", "item_id"], ignore_index=True)


def snapshot(known: pd.DataFrame, as_of: dt.date = RUN_DATE, **changed: pd.DataFrame) -> Snapshot:
    """The features of the events known by the end of `as_of`, as `build_features` defines them, with pandas."""
    known = known[known["run_date"] <= as_of].copy()
    known["age"] = (pd.Timestamp(as_of) - pd.to_datetime(known["event_date"])).dt.days
    pairs = _features(known, ["user_id", "item_id"])
    pairs = pairs.rename(columns={"events_all": "events", "baskets_all": "baskets"}).drop(columns=["mean_price"])
    pairs = pairs.drop(columns=[name for name in pairs if name.endswith("d") and name.startswith("events_")])
    gap = (pairs["days_since_first"] - pairs["days_since_last"]) / (pairs["baskets"] - 1).where(pairs["baskets"] > 1)
    pairs = pairs.assign(mean_gap_days=gap, quantity=pairs["events"] * 1.0, affinity=pairs["events"] * 1.0)
    tables = {
        "users": _with_pairs(_features(known, ["user_id"]), pairs, "user_id", "items_all", "repeat_share"),
        "items": _with_pairs(_features(known, ["item_id"]), pairs, "item_id", "users_all", "repeat_rate"),
        "pairs": pairs,
        "sequences": _sequences(known),
        "cooccurrence": _cooccurrence(known),
    }
    users, items = tables["users"], tables["items"]
    users["country"] = np.where(users["user_id"].str[-1] < "5", "France", "Spain")
    items["trend"] = items["events_7d"] / 7 / ((items["events_28d"] + 1) / 28)
    items["title"] = items["item_id"].str.replace(r"(\D+)(\d+)", r"\1 NO \2", regex=True)
    items["kind"] = items["item_id"].str[:-1]  # ten items a kind
    items["sellable"] = items["days_since_last"] <= 60
    return Snapshot(as_of, **(tables | changed))


def _features(known: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    grouped = known.groupby(keys)
    found = grouped.agg(
        events_all=("age", "size"),
        baskets_all=("basket_id", "nunique"),
        days_since_last=("age", "min"),
        days_since_first=("age", "max"),
    )
    for days in (7, 28, 90):
        found[f"events_{days}d"] = known[known["age"] < days].groupby(keys).size()
    return found.fillna(0).astype("int64").assign(mean_price=2.5).reset_index()


def _with_pairs(table: pd.DataFrame, pairs: pd.DataFrame, key: str, count: str, repeated: str) -> pd.DataFrame:
    grouped = pairs.assign(again=pairs["baskets"] >= 2).groupby(key)
    return table.assign(
        **{count: table[key].map(grouped.size()), repeated: table[key].map(grouped["again"].mean())}
    ).sort_values(key, ignore_index=True)


def _sequences(known: pd.DataFrame) -> pd.DataFrame:
    daily = known.groupby(["user_id", "age", "item_id"], as_index=False)["event_time"].max()
    daily = daily.sort_values(["user_id", "age", "event_time", "item_id"], ascending=[True, True, False, True])
    lists = daily.groupby("user_id").agg(items=("item_id", list), days_ago=("age", list))
    return lists.map(lambda values: np.array(values[:50])).reset_index()


def _cooccurrence(known: pd.DataFrame) -> pd.DataFrame:
    lines = known[["basket_id", "item_id"]].drop_duplicates()
    both = lines.merge(lines, on="basket_id", suffixes=("", "_b"))
    counts = both.groupby(["item_id", "item_id_b"], as_index=False).size()
    size = lines.groupby("item_id").size()
    counts = counts[(counts["item_id"] != counts["item_id_b"]) & (counts["size"] >= 2)]
    cosine = counts["size"] / np.sqrt(counts["item_id"].map(size) * counts["item_id_b"].map(size))
    table = counts.assign(score=cosine).rename(columns={"item_id_b": "neighbour_id", "size": "baskets"})
    return table.sort_values(["item_id", "score", "neighbour_id"], ascending=[True, False, True], ignore_index=True)
