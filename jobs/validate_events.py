"""Audit what `jobs.ingest` staged, and commit it if it passes.

    python -m jobs.validate_events --run-date 2011-11-30

All that was staged is held to the contract; the run date's own figures also to what they were on the days before it,
and so are those of every day that an audit before refused (docs/validation.md). A gate that fails stops the night:
nothing is committed, and the line printed names the expectation, the figure, the allowed range and what to do. Data
Docs are under reports/data_docs in NIGHTSHIFT_HOME.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from jobs import command
from nightshift.contracts import Checks, Rows, check
from nightshift.contracts.results import last_verdicts
from nightshift.features.lineage import load_lineage
from nightshift.lake import Lake, Staged, events_table, ingest_counts_table, quarantine_table
from nightshift.runs import GateError, Night

log = logging.getLogger("nightshift.contracts")

GATE = "validate_events"
HISTORY_DAYS = 120  # that bounds may be learned from


def validate_events(night: Night) -> dict[str, Any]:
    lake = Lake(night.home / "lake")
    events = events_table(night.settings.source)
    ingested = night.read_json("ingest")
    staged = {name: Staged.of(value) for name, value in ingested["staged"].items()}
    counts = pd.DataFrame(ingested["counts"])
    counts["run_date"] = [dt.date.fromisoformat(day) for day in counts["run_date"]]
    again = refused_before(lake, night.run_date, counts["run_date"])
    checks = audit(night, lake, lake.staged_files(staged["events"]), counts, again)

    versions = {
        "quarantine": lake.commit(staged["quarantine"], quarantine_table),
        "events": lake.commit(staged["events"], events),
        "ingest_counts": replace_counts(lake, counts),
    }
    judged_again = [day.isoformat() for day in again]
    told = {**checks.summary(), "tables": versions, "judged_again": judged_again}
    return {**told, "stale_nights": stale_nights(night, lake)}


def refused_before(lake: Lake, run_date: dt.date, days: Iterable[dt.date]) -> list[dt.date]:
    """The other days read tonight that were judged before and not committed, or were refused when they came again."""
    committed = lake.run_dates(ingest_counts_table.name)
    verdicts = last_verdicts(lake, GATE, [day for day in days if day != run_date])
    return [day for day, passed in sorted(verdicts.items()) if not passed or day.isoformat() not in committed]


def audit(
    night: Night, lake: Lake, files: Sequence[Path], counts: pd.DataFrame, again: Sequence[dt.date] = ()
) -> Checks:
    """Hold all that was read to the contract, and the run date and the days `again`, each, to the days before it.

    A day keeps its own verdict, so that what was accepted of it is asked once. What is refused is no history of the
    days after it.

    Raises:
        GateError: of every day that does not pass; the message names those that are not the run date.
    """
    kinds = [kind.name for kind in night.settings.source.event_types]
    found, stopped = Checks(), dict[dt.date, GateError]()
    for day in sorted({*again, night.run_date}):
        known = counts[~counts["run_date"].isin(list(stopped))]
        history = {"ingest_counts": counts_before(lake, day, known)}
        rows = of_day(day, files, counts) if day != night.run_date else audited(night, files, counts)
        try:
            found = check(replace(night, run_date=day), GATE, rows, history=history, event_types=kinds)
        except GateError as error:
            stopped[day] = error
    if stopped:
        raise GateError("; ".join(_told(day, error, night.run_date) for day, error in stopped.items()))
    return found


def _told(day: dt.date, error: GateError, run_date: dt.date) -> str:
    return str(error) if day == run_date else f"{day}, which was not committed before, is read again: {error}"


def stale_nights(night: Night, lake: Lake) -> list[str]:
    """The days whose features knew other rows or definitions than there are now, told with what to do about them."""
    stale = [day.isoformat() for day in load_lineage(lake, night.settings).stale()]
    if stale:
        told = f"{len(stale)} days' features knew other rows or definitions and are stale now"
        log.warning("validate_events: %s: %s; the next night builds upon none of them", told, ", ".join(stale))
    published = [day for day in stale if (night.home / "nights" / day / "publish.json").exists()]
    if published:
        told = f"make backfill FROM={published[0]} TO={published[-1]}"
        log.warning("validate_events: published of these: %s; to publish them again: %s", ", ".join(published), told)
    return stale


def audited(night: Night, files: Sequence[Path], counts: pd.DataFrame) -> dict[str, Rows]:
    """What is audited, by suite: all that was read, and the run date by itself."""
    days = shares(counts)
    rows: dict[str, Rows] = {"ingest_counts": days, "events": files} if len(days) else {}
    return rows | of_day(night.run_date, files, counts)


def of_day(day: dt.date, files: Sequence[Path], counts: pd.DataFrame) -> dict[str, Rows]:
    """What is audited of one day by itself, by suite.

    A day without rows was closed: there is nothing to judge of it, and nothing is lost.
    """
    days = shares(counts)
    alone = days[days["run_date"] == day]
    if alone.empty:
        return {}
    return {"day_counts": alone, "day_events": [file for file in files if file.parent.name == f"run_date={day}"]}


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
