"""Audit what `jobs.ingest` staged, and commit it if it passes.

    python -m jobs.validate_events --run-date 2011-11-30

All that was staged is held to the contract; the run date's own figures also to what they were on the days before it
(docs/validation.md). A gate that fails stops the night: nothing is committed, and the line printed names the
expectation, the figure, the allowed range and what to do. Data Docs are under reports/data_docs in NIGHTSHIFT_HOME.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from jobs import command
from nightshift.contracts import Rows, check
from nightshift.features.lineage import load_lineage
from nightshift.lake import Lake, Staged, events_table, ingest_counts_table, quarantine_table
from nightshift.runs import Night

log = logging.getLogger("nightshift.contracts")

HISTORY_DAYS = 120  # that bounds may be learned from


def validate_events(night: Night) -> dict[str, Any]:
    lake = Lake(night.home / "lake")
    events = events_table(night.settings.source)
    ingested = night.read_json("ingest")
    staged = {name: Staged.of(value) for name, value in ingested["staged"].items()}
    counts = pd.DataFrame(ingested["counts"])
    counts["run_date"] = [dt.date.fromisoformat(day) for day in counts["run_date"]]
    types = [kind.name for kind in night.settings.source.event_types]
    before = {"ingest_counts": counts_before(lake, night.run_date, counts)}
    rows = audited(night, lake.staged_files(staged["events"]), counts)
    checks = check(night, "validate_events", rows, history=before, event_types=types)

    versions = {
        "quarantine": lake.commit(staged["quarantine"], quarantine_table),
        "events": lake.commit(staged["events"], events),
        "ingest_counts": replace_counts(lake, counts),
    }
    return {**checks.summary(), "tables": versions, "stale_nights": stale_nights(night, lake)}


def stale_nights(night: Night, lake: Lake) -> list[str]:
    """The nights whose features knew other rows than there are now, told with what to do about them."""
    stale = [day.isoformat() for day in load_lineage(lake, night.settings).stale()]
    if stale:
        again = f"make backfill FROM={stale[0]} TO={stale[-1]}"
        log.warning("validate_events: %d nights knew other rows and are stale now: %s", len(stale), ", ".join(stale))
        log.warning("validate_events: the next night builds upon none of them; to publish theirs again: %s", again)
    return stale


def audited(night: Night, files: Sequence[Path], counts: pd.DataFrame) -> dict[str, Rows]:
    """What is audited, by suite: all that was read, and the run date by itself.

    A day without rows was closed: there is nothing to judge of it, and nothing is lost.
    """
    days = shares(counts)
    rows: dict[str, Rows] = {"ingest_counts": days, "events": files} if len(days) else {}
    today = days[days["run_date"] == night.run_date]
    if len(today):
        of_today = [file for file in files if file.parent.name == f"run_date={night.run_date}"]
        rows |= {"day_counts": today, "day_events": of_today}
    return rows


def shares(counts: pd.DataFrame) -> pd.DataFrame:
    """The figures of the days that had rows, with what became of these as shares. What is not known is NaN."""
    kinds = {name: float for name, kind in ingest_counts_table.columns.items() if kind in ("bigint", "double")}
    open_days = counts[counts["rows_in"] > 0].reindex(columns=["run_date", *kinds]).astype(kinds)
    return open_days.assign(
        quarantined_share=open_days["quarantined"] / open_days["rows_in"],
        duplicates_share=open_days["duplicates"] / open_days["rows_in"],
        late_share=open_days["late"] / open_days["kept"].where(open_days["kept"] > 0),
    )


def counts_before(lake: Lake, run_date: dt.date, staged: pd.DataFrame) -> pd.DataFrame:
    """The figures of the days before `run_date`: the lake's, but those read tonight as they are now."""
    known = [staged]
    if lake.exists(ingest_counts_table.name):
        since = run_date - dt.timedelta(days=HISTORY_DAYS)
        where = [("run_date", ">=", since.isoformat()), ("run_date", "<", run_date.isoformat())]
        known.append(lake.pandas(ingest_counts_table.name, where=where))
    days = shares(pd.concat(known).drop_duplicates("run_date"))
    return days[days["run_date"] < run_date]


def replace_counts(lake: Lake, counts: pd.DataFrame) -> int:
    rows = pa.Table.from_pandas(counts, schema=ingest_counts_table.arrow, preserve_index=False)
    return lake.replace(ingest_counts_table.name, list(counts["run_date"]), rows)


if __name__ == "__main__":
    command.run(validate_events, __doc__)
