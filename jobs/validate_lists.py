"""Audit the lists before anyone can read them.

    python -m jobs.validate_lists --run-date 2011-11-30

Every known user has one, ranks run 1 to k, no item twice, only what may be sold, finite scores, the hard rules kept,
and coverage and overlap with the lists published before within bounds. The lists for unknown users, of segments and of
similar items are held to the same; a history tells of known users and items, and of nothing after the night. What fails
is not promoted and not published, and neither is a file that has changed since.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from jobs import command
from nightshift.config.settings import CURRENT
from nightshift.contracts import check
from nightshift.contracts.figures import Rows, connection
from nightshift.features.snapshot import view_features
from nightshift.lake import Lake
from nightshift.lake.duck import parquet, quoted
from nightshift.publishing.lists import hashes
from nightshift.publishing.read import published_before
from nightshift.ranking.list_audit import audit_file, audited, hold
from nightshift.ranking.list_summary import summarise
from nightshift.runs import Night

GATE = "validate_lists"
IN_MEMORY = ("popular", "segments", "similar")  # that do not grow with the users


def validate_lists(night: Night) -> dict[str, Any]:
    work = night.fresh_folder("audit")
    try:
        return audit(night, work)
    finally:
        shutil.rmtree(work)


def audit(night: Night, work: Path) -> dict[str, Any]:
    """Hold the lists against the bounds; what does not fit into memory goes through `work`.

    Raises:
        GateError: they do not keep them.
    """
    bounds, folder = night.settings.lists, night.folder / "lists"
    sha256 = hashes(folder)  # before they are read: what changes after this is not published
    popular, segments, similar = (pd.read_parquet(folder / f"{name}.parquet") for name in IN_MEMORY)
    with connection(work / "spill", night.settings.validation.memory, night.settings.threads) as db:
        view_features(db, Lake(night.home / "lake"), night.run_date, night.read_json("build_features")["tables"])
        hold(db, bounds)
        summary = summarise(db, bounds.size, view_lists(db, night, work))
        audit_file(db, bounds, work / "lists.parquet")
        db.execute(f"copy (select user_id from users) to {quoted(work / 'users.parquet')} (format parquet)")
        items, of_nobody = db.sql("from items").df(), db.sql("from pairs limit 0").df()
    sellable = set(items.loc[items["sellable"], "item_id"]) - bounds.banned
    known = similar["item_id"].isin(items["item_id"])
    of_segments = segments.assign(user_id=segments["attribute"] + ":" + segments["value"])
    rows: dict[str, Rows] = {
        "lists": [work / "lists.parquet"],
        "popular": audited(popular.assign(user_id=""), items, of_nobody, bounds),
        "segments": audited(of_segments, items, of_nobody, bounds),
        "histories": [folder / "histories.parquet"],
        "similar": similar.assign(sellable=similar["similar_id"].isin(sellable), known=known),
        "lists_summary": pd.DataFrame([summary]).astype({"overlap": float}),  # NaN: there is nothing to compare with
    }
    low, high = bounds.overlap
    checks = check(
        night,
        GATE if night.channel == CURRENT else f"{GATE}.{night.channel}",
        rows,
        beside={"known_users": [work / "users.parquet"], "known_items": items[["item_id"]]},
        size=bounds.size,
        similar=bounds.similar,
        histories=bounds.histories,
        run_date=night.run_date,
        min_coverage=bounds.min_coverage,
        min_overlap=low,
        max_overlap=high,
    )
    return {**summary, "sha256": sha256, **checks.summary()}


def view_lists(db: duckdb.DuckDBPyConnection, night: Night, cache: Path) -> bool:
    """Put the night's lists under the name `lists`, and those published before under `before`: whether there are any.

    A challenger's are compared with none: they may be quite other lists.
    """
    file = quoted(night.folder / "lists" / "lists.parquet")
    typed = "user_id: user_id::varchar, item_id: item_id::varchar, entry: file_row_number"
    rows = f"read_parquet({file}, file_row_number = true)"
    db.execute(f"create view lists as select * exclude (user_id, item_id, file_row_number), {typed} from {rows}")
    before = published_before(night, cache) if night.channel == CURRENT else None
    if before:
        db.execute(f"create view before as from {parquet(before, by_folder=False)}")
    return before is not None


if __name__ == "__main__":
    command.run(validate_lists, __doc__)
