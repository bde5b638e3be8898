"""Read the run date's file, judge each row by the contract, and stage events and quarantine for the audit.

    python -m jobs.ingest --run-date 2011-11-30

The first night of an empty lake reads all days before it in one go. A day that holds an event which a later run date
has already, or lost one which a later may have repeated, is read together with that later day, so that the order in
which days are ingested makes no difference.
Nothing is visible in the lake until `jobs.validate_events` has passed it.
"""

from __future__ import annotations

import datetime as dt
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs import command
from nightshift.lake import Lake, Staged, Table, engine, events_table, quarantine_table
from nightshift.landing import business_days, count_rows, day_files, first_of_each, judge, read_rows
from nightshift.runs import Night, StepError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger("nightshift.ingest")


def ingest(night: Night) -> dict[str, Any]:
    source = night.settings.source
    if night.run_date < source.first_day:
        raise StepError(f"run date {night.run_date} is before source.first_day {source.first_day}")
    lake = Lake(night.home / "lake")
    days = days_to_read(lake, night)
    if len(days) > 1:
        log.info("ingest: %s to %s are not in the lake yet: loading %d days in one go", days[0], days[-1], len(days))
    with engine.session(night.settings.engine, night.home) as spark:
        while True:
            staged, counts = stage_days(spark, lake, night, days)
            later = later_days_that_share(lake, staged["events"], days)
            if not later:
                break
            log.info("ingest: reading %s again too: they share events with these days", ", ".join(map(str, later)))
            days = sorted({*days, *later})
    total = {key: sum(count[key] for count in counts) for key in ("rows_in", "kept", "quarantined", "duplicates")}
    log.info(
        "ingest: %(rows_in)d rows = %(kept)d kept + %(quarantined)d quarantined + %(duplicates)d duplicates", total
    )
    return {**total, "days": len(days), "staged": {k: v.as_dict() for k, v in staged.items()}, "counts": counts}


def days_to_read(lake: Lake, night: Night) -> list[dt.date]:
    """The run date, and the days before it that the lake never saw."""
    seen = lake.run_dates("ingest_counts")
    before = business_days(night.settings.source.first_day, night.run_date)
    return [day for day in before if day == night.run_date or day.isoformat() not in seen]


def stage_days(
    spark: SparkSession, lake: Lake, night: Night, days: list[dt.date]
) -> tuple[dict[str, Staged], list[dict[str, Any]]]:
    """Stage the rows of `days` as events and quarantine, and count them, each count from another place.

    Raises:
        StepError: the counts do not add up.
    """
    from pyspark.sql import Observation
    from pyspark.sql import functions as F

    source = night.settings.source
    table = events_table(source)
    files = day_files(source, night.settings.folder, days)
    good, bad = Observation("good"), Observation("bad")
    judged = judge(read_rows(spark, source, files), source) if files else nothing_to_judge(spark, table)
    sound = judged.where("reason is null").select(*table.columns, "run_date").observe(good, F.count("*").alias("rows"))
    refused = judged.where("reason is not null").observe(bad, F.count("*").alias("rows"))
    events = not_known_before(spark, lake, first_of_each(sound), table, days)
    with ThreadPoolExecutor(max_workers=2) as pool:
        waiting = pool.submit(lake.stage, refused, quarantine_table, days)
        staged = {"events": lake.stage(events, table, days), "quarantine": waiting.result()}
    kept, quarantined = lake.staged_counts(staged["events"]), lake.staged_counts(staged["quarantine"])
    rows_in = {file.run_date: count_rows(source, file) for file in files}
    counts = [
        {
            "run_date": day.isoformat(),
            "rows_in": rows_in.get(day, 0),
            "kept": kept[day.isoformat()],
            "quarantined": quarantined[day.isoformat()],
            "duplicates": rows_in.get(day, 0) - kept[day.isoformat()] - quarantined[day.isoformat()],
        }
        for day in days
    ]
    good_rows, bad_rows = (observed.get.get("rows", 0) for observed in (good, bad))  # no figure without a file
    reconcile(counts, seen=good_rows + bad_rows, repeated=good_rows - sum(kept.values()))
    return staged, counts


def reconcile(counts: list[dict[str, Any]], seen: int, repeated: int) -> None:
    """Hold the files' own counts and the staged files' against what the engine saw.

    Args:
        seen: rows that the engine judged.
        repeated: of these, sound rows that were not staged because the event is known.

    Raises:
        StepError: a row was lost, or one was made.
    """
    rows_in = sum(count["rows_in"] for count in counts)
    duplicates = sum(count["duplicates"] for count in counts)
    worst = min(counts, key=lambda count: count["duplicates"])
    if seen != rows_in or duplicates != repeated or worst["duplicates"] < 0:
        raise StepError(
            f"rows are lost or doubled, nothing is committed: the files have {rows_in}, {seen} were judged, "
            f"{repeated} were found to be repeated and {duplicates} are not accounted for; lowest day: {worst}"
        )


def nothing_to_judge(spark: SparkSession, table: Table) -> DataFrame:
    columns = {**table.columns, "run_date": "date", "reason": "string", "raw": "string", "source_file": "string"}
    return spark.createDataFrame([], ", ".join(f"`{name}` {kind}" for name, kind in columns.items()))


def not_known_before(
    spark: SparkSession, lake: Lake, events: DataFrame, table: Table, days: list[dt.date]
) -> DataFrame:
    """Without the events that an earlier run date, not read now, has already."""
    from pyspark.sql import functions as F

    read_now = {day.isoformat() for day in days}
    if not any(day < max(read_now) for day in lake.run_dates("events") - read_now):
        return events
    earlier = lake.spark(spark, table, [("run_date", "<", days[-1])]).where(~F.col("run_date").isin(days))
    delivered = earlier.groupBy("event_id").agg(F.min("run_date").alias("delivered"))
    known = F.coalesce(F.col("delivered") < F.col("run_date"), F.lit(False))
    return events.join(delivered, "event_id", "left").where(~known).drop("delivered")


def later_days_that_share(lake: Lake, staged: Staged, days: list[dt.date]) -> list[dt.date]:
    """Run dates after the first of `days`, committed before, whose events depend on what `days` hold now.

    They hold an event that `days` hold now; or `days` held one that a corrected file has no more, and which they may
    have repeated: what they repeated is not in the lake, only that they did.
    """
    committed = lake.run_dates("events") | lake.run_dates("ingest_counts")
    later = sorted({dt.date.fromisoformat(day) for day in committed if day > days[0].isoformat()} - set(days))
    if not later or not (lake.exists("events") and lake.exists("ingest_counts")):
        return []
    files = [pq.read_table(file, columns=["event_id"], partitioning=None) for file in lake.staged_files(staged)]
    now = pa.chunked_array([chunk for file in files for chunk in file["event_id"].chunks], pa.string())
    known = lake.arrow("events", ["event_id", "run_date"], [("run_date", ">=", days[0].isoformat())])
    here = pc.is_in(known["run_date"], value_set=pa.array(days, pa.date32()))
    again = pc.is_in(known["event_id"], value_set=now)
    share = set(known.filter(pc.and_(again, pc.invert(here)))["run_date"].to_pylist())
    if pc.any(pc.and_(here, pc.invert(again))).as_py():  # an event has gone
        counts = lake.arrow("ingest_counts", ["run_date"], [("duplicates", ">", 0)])
        share |= set(counts["run_date"].to_pylist())
    return [day for day in later if day in share]


if __name__ == "__main__":
    command.run(ingest, __doc__)
