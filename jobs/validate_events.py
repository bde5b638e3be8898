"""Audit what `jobs.ingest` staged, and commit it if it passes.

    python -m jobs.validate_events --run-date 2011-11-30

A gate that fails stops the night: nothing is committed, and the line printed names the expectation, the figure and the
allowed range. Data Docs are under reports/data_docs in NIGHTSHIFT_HOME.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd
import pyarrow as pa

from jobs import command
from nightshift.contracts import check
from nightshift.lake import Lake, Staged, events_table, ingest_counts_table, quarantine_table
from nightshift.runs import Night


def validate_events(night: Night) -> dict[str, Any]:
    lake = Lake(night.home / "lake")
    events = events_table(night.settings.source)
    ingested = night.read_json("ingest")
    staged = {name: Staged.of(value) for name, value in ingested["staged"].items()}
    counts = pd.DataFrame(ingested["counts"])
    frames = {}
    if counts["rows_in"].sum() > 0:  # else the business was closed: there is nothing to judge, and nothing is lost
        frames = {"ingest_counts": shares(counts), "events": lake.staged_rows(staged["events"], events)}
    types = [kind.name for kind in night.settings.source.event_types]
    checks = check(night, "validate_events", frames, event_types=types)

    counts["run_date"] = [dt.date.fromisoformat(day) for day in counts["run_date"]]
    versions = {
        "quarantine": lake.commit(staged["quarantine"], quarantine_table),
        "events": lake.commit(staged["events"], events),
        "ingest_counts": replace_counts(lake, counts),
    }
    return {"expectations": len(checks), "warnings": sum(not c.success for c in checks), "tables": versions}


def shares(counts: pd.DataFrame) -> pd.DataFrame:
    """The counts of the days that had rows, with what became of them as shares."""
    open_days = counts[counts["rows_in"] > 0]
    return open_days.assign(
        quarantined_share=open_days["quarantined"] / open_days["rows_in"],
        duplicates_share=open_days["duplicates"] / open_days["rows_in"],
    )


def replace_counts(lake: Lake, counts: pd.DataFrame) -> int:
    rows = pa.Table.from_pandas(counts, schema=ingest_counts_table.arrow, preserve_index=False)
    return lake.replace(ingest_counts_table.name, list(counts["run_date"]), rows)


if __name__ == "__main__":
    command.run(validate_events, __doc__)
