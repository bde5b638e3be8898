"""Audit the lists before anyone can read them.

    python -m jobs.validate_lists --run-date 2011-11-30

Every known user has one, ranks run 1 to k, no item twice, only what may be sold, finite scores, the hard rules kept,
and coverage and overlap with the lists published before within bounds. The lists for unknown users, of segments and of
similar items are held to the same; a history tells of known users and items, and of nothing after the night. What fails
is not promoted and not published, and neither is a file that has changed since.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from jobs import command
from nightshift.config.settings import CURRENT
from nightshift.contracts import check
from nightshift.contracts.figures import Rows
from nightshift.features.snapshot import load_snapshot
from nightshift.lake import Lake
from nightshift.publishing.lists import hashes
from nightshift.publishing.read import published_before
from nightshift.ranking.list_audit import audited, held_back
from nightshift.runs import Night

GATE = "validate_lists"
WHOLE = ("lists", "popular", "segments", "similar")  # that fit into memory; histories are looked at where they lie


def validate_lists(night: Night) -> dict[str, Any]:
    bounds = night.settings.lists
    folder = night.folder / "lists"
    sha256 = hashes(folder)  # before they are read: what changes after this is not published
    lists, popular, segments, similar = (pd.read_parquet(folder / f"{name}.parquet") for name in WHOLE)
    versions = night.read_json("build_features")["tables"]
    snapshot = load_snapshot(Lake(night.home / "lake"), night.run_date, versions)
    strangers = replace(snapshot, pairs=snapshot.pairs.iloc[:0])
    sellable = set(snapshot.items.loc[snapshot.items["sellable"], "item_id"]) - bounds.banned
    known = similar["item_id"].isin(snapshot.items["item_id"])
    before = published_before(night) if night.channel == CURRENT else None  # a challenger's may be quite other lists
    held = held_back(snapshot, bounds)
    summary = summarise(lists, set(snapshot.users["user_id"]), sellable, bounds.size, before, held)
    rows: dict[str, Rows] = {
        "lists": audited(lists, snapshot, bounds),
        "popular": audited(popular.assign(user_id=""), strangers, bounds),
        "segments": audited(
            segments.assign(user_id=segments["attribute"] + ":" + segments["value"]), strangers, bounds
        ),
        "histories": [folder / "histories.parquet"],
        "similar": similar.assign(sellable=similar["similar_id"].isin(sellable), known=known),
        "lists_summary": pd.DataFrame([summary]).astype({"overlap": float}),  # NaN: there is nothing to compare with
    }
    low, high = bounds.overlap
    checks = check(
        night,
        GATE if night.channel == CURRENT else f"{GATE}.{night.channel}",
        rows,
        beside={"known_users": snapshot.users[["user_id"]], "known_items": snapshot.items[["item_id"]]},
        size=bounds.size,
        similar=bounds.similar,
        histories=bounds.histories,
        run_date=night.run_date,
        min_coverage=bounds.min_coverage,
        min_overlap=low,
        max_overlap=high,
    )
    return {**summary, "sha256": sha256, **checks.summary()}


def summarise(
    lists: pd.DataFrame,
    users: set[str],
    sellable: set[str],
    size: int,
    before: pd.DataFrame | None,
    held: pd.Series | None = None,
) -> dict[str, Any]:
    """The figures over all lists that the gate bounds.

    Args:
        before: user_id and item_id of the lists published before; None on a first night, whose overlap is not known,
            and so not bounded. Lists that no user of then has any more have an overlap of 0.
        held: by user_id, how many of the sellable items the user is not to be offered; None: none.
    """
    by_user = lists.groupby("user_id")["rank"].agg(["count", "max", "min"])
    held = pd.Series(dtype=np.int64) if held is None else held
    enough = (len(sellable) - held.reindex(by_user.index, fill_value=0)).clip(upper=size)
    sated = set(held.index[held >= len(sellable)])
    overlap: float | None = None
    compared = 0
    if before is not None:
        both = lists[["user_id", "item_id"]].merge(before[["user_id", "item_id"]], on=["user_id", "item_id"])
        common = sorted(set(by_user.index) & set(before["user_id"]))
        shared = both.groupby("user_id").size().reindex(common, fill_value=0)
        compared = len(common)
        overlap = float((shared / by_user.loc[common, "count"]).mean()) if common else 0.0
    return {
        "users": len(by_user),
        "users_without_list": len(users - set(by_user.index) - sated),
        "short_lists": int((by_user["count"] < enough).sum()),
        "lists_with_gaps": int(((by_user["max"] != by_user["count"]) | (by_user["min"] != 1)).sum()),
        "coverage": len(set(lists["item_id"]) & sellable) / max(len(sellable), 1),
        "overlap": overlap,
        "users_compared": compared,
    }


if __name__ == "__main__":
    command.run(validate_lists, __doc__)
