"""Read the run date's file, judge each row by the contract, and stage events and quarantine for the audit.

    python -m jobs.ingest --run-date 2011-11-30

The first night of an empty lake reads all days before it in one go. A day that holds an event which a later run date
has already is read together with that later day, so that the order in which days are ingested makes no difference.
Nothing is visible in the lake until `jobs.validate_events` has passed it.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any

from jobs import command
from nightshift.lake import Lake, Staged, events_table, ingest_counts_table, quarantine_table
from nightshift.lake import engine
from nightshift.landing import KEPT, QUARANTINED, REPEATED, day_files, judge, read_rows
from nightshift.landing.events import business_days
from nightshift.runs import Night, StepError

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
            later = later_days_that_repeat(lake, staged["events"], days)
            if not later:
                break
            log.info("ingest: reading %s again too: they repeat events of these days", ", ".join(map(str, later)))
            days = sorted({*days, *later})
    total = {key: sum(count[key] for count in counts) for key in ("rows_in", "kept", "quarantined", "duplicates")}
    log.info("ingest: %(rows_in)d rows = %(kept)d kept + %(quarantined)d quarantined + %(duplicates)d duplicates", total)
    return {**total, "days": len(days), "staged": {k: v.as_dict() for k, v in staged.items()}, "counts": counts}


def days_to_read(lake: Lake, night: Night) -> list[dt.date]:
    """The run date, and the days before it that the lake never saw."""
    seen = lake.run_dates("ingest_counts")
    before = business_days(night.settings.source.first_day, night.run_date)
    return [day for day in before if day == night.run_date or day.isoformat() not in seen]


def stage_days(spark, lake: Lake, night: Night, days: list[dt.date]) -> tuple[dict[str, Staged], list[dict[str, Any]]]:  # type: ignore[no-untyped-def]
    """Stage the rows of `days` as events and quarantine, and count them, each count from its own place.

    Raises:
        StepError: the counts do not add up.
    """
    from pyspark.sql import functions as F

    source = night.settings.source
    files = day_files(source, night.settings.folder, days)
    table = events_table(source)
    if not files:
        nothing = ", ".join(f"cast(null as {kind}) as `{name}`" for name, kind in table.columns.items())
        judged = spark.sql(
            f"select {nothing}, cast(null as date) as run_date, '' as outcome, '' as reason, '' as raw, '' as source_file"
        ).where("false")
        rows_in = {}
    else:
        rows = read_rows(spark, source, files)
        rows_in = {row["_run_date"]: row["count"] for row in rows.groupBy("_run_date").count().collect()}
        if None in rows_in:
            raise StepError(f"{rows_in[None]} rows are of no file that was asked for: {files[0].address}, ...")
        judged = known_elsewhere(spark, lake, judge(rows, source), table, days)
    judged = judged.persist()
    staged = {
        "events": lake.stage(judged.where(F.col("outcome") == KEPT), table, days),
        "quarantine": lake.stage(judged.where(F.col("outcome") == QUARANTINED), quarantine_table, days),
    }
    repeated = judged.where(F.col("outcome") == REPEATED).groupBy("run_date").count().collect()
    judged.unpersist()
    duplicates = {row["run_date"]: row["count"] for row in repeated}
    kept, quarantined = lake.staged_counts(staged["events"]), lake.staged_counts(staged["quarantine"])
    counts = [
        {
            "run_date": day.isoformat(),
            "rows_in": rows_in.get(day, 0),
            "kept": kept[day.isoformat()],
            "quarantined": quarantined[day.isoformat()],
            "duplicates": duplicates.get(day, 0),
        }
        for day in days
    ]
    for count in counts:
        if count["rows_in"] != count["kept"] + count["quarantined"] + count["duplicates"]:
            raise StepError(f"rows are lost or doubled, nothing is committed: {count}")
    return staged, counts


def known_elsewhere(spark, lake: Lake, judged, table, days: list[dt.date]):  # type: ignore[no-untyped-def]
    """Call a kept row a duplicate if an earlier run date that is not read now has its event."""
    from pyspark.sql import functions as F

    earlier = [day for day in lake.run_dates("events") if day < days[-1].isoformat()]
    if not set(earlier) - {day.isoformat() for day in days}:
        return judged
    dates = [row[0] for row in judged.select("event_date").where("outcome = 'kept'").distinct().collect()]
    known = (
        lake.spark(spark, table, [("run_date", "<", days[-1])])
        .where(~F.col("run_date").isin(days) & F.col("event_date").isin(dates))
        .groupBy("event_id")
        .agg(F.min("run_date").alias("known_on"))
    )
    joined = judged.join(F.broadcast(known), "event_id", "left")
    is_known = (F.col("outcome") == KEPT) & (F.col("known_on") < F.col("run_date"))
    return joined.withColumn("outcome", F.when(is_known, REPEATED).otherwise(F.col("outcome"))).drop("known_on")


def later_days_that_repeat(lake: Lake, staged: Staged, days: list[dt.date]) -> list[dt.date]:
    """Run dates after those of `days`, committed before, that hold an event which `days` hold now."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    later = [day for day in lake.run_dates("events") if day > days[0].isoformat()]
    later = sorted(set(later) - {day.isoformat() for day in days})
    if not later:
        return []
    staged_ids = [pq.read_table(file, columns=["event_id"])["event_id"] for file in lake.staged_files(staged)]
    ids = {value for column in staged_ids for value in column.to_pylist()}
    found = lake.arrow("events", ["event_id", "run_date"], [("run_date", ">=", later[0])])
    mask = pc.is_in(found["event_id"], value_set=__import__("pyarrow").array(sorted(ids)))
    return sorted(set(found.filter(mask)["run_date"].to_pylist()) - set(days))


if __name__ == "__main__":
    command.run(ingest, __doc__)
