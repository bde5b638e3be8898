"""Read the run date's file, judge each row by the contract, and stage events and quarantine for the audit.

    python -m jobs.ingest --run-date 2011-11-30

The first night of an empty lake reads all days before it in one go. A day that holds an event which a later run date
has already, or lost one which a later may have repeated, is read together with that later day, so that the order in
which days are ingested makes no difference. What is done with files that are not as before: docs/contracts.md.
Nothing is visible in the lake until `jobs.validate_events` has passed it.
"""

from __future__ import annotations

import datetime as dt
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import TYPE_CHECKING, Any

from jobs import command
from nightshift import landing
from nightshift.features.definitions import feature_tables
from nightshift.lake import Lake, Staged, engine, events_table, quarantine_table
from nightshift.runs import Night, StepError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger("nightshift.ingest")


def ingest(night: Night) -> dict[str, Any]:
    source = night.settings.source
    if night.run_date < source.first_day:
        raise StepError(f"run date {night.run_date} is before source.first_day {source.first_day}")
    feature_tables(night.settings)  # an attribute that has a feature's name is refused before anything lands
    lake = Lake(night.home / "lake")
    days = days_to_read(lake, night)
    if len(days) > 1:
        log.info("ingest: %s to %s are not in the lake yet: loading %d days in one go", days[0], days[-1], len(days))
    delivery = landing.delivered(lake, source, night.settings.folder, days)
    with engine.session(night.settings.engine, night.home, source.timezone) as spark:
        return ingest_delivery(spark, lake, night, delivery)


def ingest_delivery(spark: SparkSession, lake: Lake, night: Night, delivery: landing.Delivery) -> dict[str, Any]:
    """Stage what was delivered, together with the later days that it changes. Returns what the step tells."""
    source = night.settings.source
    while True:
        staged, counts = stage_days(spark, lake, night, delivery)
        later = landing.later_days_that_share(lake, staged["events"], delivery.days)
        if not later:
            break
        log.info("ingest: reading %s again too: they share events with these days", ", ".join(map(str, later)))
        delivery = landing.delivered(lake, source, night.settings.folder, sorted({*delivery.days, *later}))
    refused = landing.refusals(lake, staged["quarantine"], source)
    landing.tell_refusals(refused, delivery.days[0], delivery.days[-1])
    landing.tell_garbled(garbled := landing.garbled_attributes(lake, staged["events"], source))
    total = {key: sum(count[key] for count in counts) for key in ("rows_in", "kept", "quarantined", "duplicates")}
    log.info(
        "ingest: %(rows_in)d rows = %(kept)d kept + %(quarantined)d quarantined + %(duplicates)d duplicates", total
    )
    return {
        **total,
        **delivery.columns,
        "refused": refused,
        "garbled_attributes": garbled,
        "days": len(delivery.days),
        "staged": {k: v.as_dict() for k, v in staged.items()},
        "counts": counts,
    }


def days_to_read(lake: Lake, night: Night) -> list[dt.date]:
    """The run date, and the days before it that the lake never saw."""
    seen = lake.run_dates("ingest_counts")
    before = landing.business_days(night.settings.source.first_day, night.run_date)
    return [day for day in before if day == night.run_date or day.isoformat() not in seen]


def stage_days(
    spark: SparkSession, lake: Lake, night: Night, delivery: landing.Delivery
) -> tuple[dict[str, Staged], list[dict[str, Any]]]:
    """Stage the rows of a delivery as events and quarantine, and count them, each count from another place.

    Raises:
        StepError: the counts do not add up.
        GateError: a file is another day's.
    """
    from pyspark.sql import Observation
    from pyspark.sql import functions as F

    source, days = night.settings.source, delivery.days
    good, bad = Observation("good"), Observation("bad")
    sound, refused = judged_rows(spark, lake, night, delivery)
    events = landing.once_a_day(sound.observe(good, F.count("*").alias("rows")))
    refused = refused.observe(bad, F.count("*").alias("rows"))
    with ThreadPoolExecutor(max_workers=2) as pool:
        waiting = pool.submit(lake.stage, refused, quarantine_table, days)
        staged = {"events": lake.stage(events, events_table(source), days), "quarantine": waiting.result()}
    landing.refuse_another_days_file(source, delivery.looks, landing.dates_of(lake, list(staged.values())))
    back = landing.drop_repeated(lake, staged["events"], days)
    counts = counts_of(lake, night, delivery, staged, back)
    good_rows, bad_rows = (observed.get.get("rows", 0) for observed in (good, bad))  # no figure without a file
    reconcile(counts, seen=good_rows + bad_rows, repeated=good_rows - sum(count["kept"] for count in counts),
              forgotten=delivery.forgotten)  # fmt: skip
    return staged, counts


def judged_rows(
    spark: SparkSession, lake: Lake, night: Night, delivery: landing.Delivery
) -> tuple[DataFrame, DataFrame]:
    """Events and refused rows, with their run dates. Of a day whose file is gone, its quarantine is judged again."""
    source, gone = night.settings.source, sorted(delivery.gone)
    landing.check_types(spark, source)
    rows = [landing.read_rows(spark, source, delivery.looks)] if delivery.looks else []
    if gone and lake.exists("quarantine"):
        rows += landing.lines_of_gone_days(spark, lake, source, gone)
    erased = landing.load_suppression(night.home)
    judged = [landing.judge(some, source, erased) for some in rows]
    sound = [landing.sound_rows(some) for some in judged] or [nothing(spark, events_table(source).columns)]
    refused = [landing.refused_rows(some) for some in judged] or [nothing(spark, quarantine_table.columns)]
    if gone and lake.exists("quarantine"):
        refused.append(landing.erased_of_gone_days(spark, lake, gone))
    if gone and lake.exists("events"):
        sound.append(landing.events_of_gone_days(spark, lake, source, gone))
    return reduce(_with, sound), reduce(_with, refused)


def counts_of(
    lake: Lake, night: Night, delivery: landing.Delivery, staged: dict[str, Staged], back: dict[dt.date, int]
) -> list[dict[str, Any]]:
    """The rows of `ingest_counts`, by day, from the files and from what is staged."""
    kept, quarantined = lake.staged_counts(staged["events"]), lake.staged_counts(staged["quarantine"])
    figures = landing.day_figures(lake, staged["events"], night.settings.source)
    return [
        {
            "run_date": day.isoformat(),
            "rows_in": rows_in,
            "kept": kept[day.isoformat()],
            "quarantined": quarantined[day.isoformat()],
            "duplicates": rows_in - kept[day.isoformat()] - quarantined[day.isoformat()],
            "repeats_back": max(back.get(day, 0), delivery.gone.get(day, {}).get("repeats_back", 0)),
            **figures[day],
        }
        for day, rows_in in delivery.rows_in.items()
    ]


def reconcile(counts: list[dict[str, Any]], seen: int, repeated: int, forgotten: int = 0) -> None:
    """Hold the files' own counts and the staged files' against what the engine saw.

    Args:
        seen: rows that the engine judged, or had judged before.
        repeated: of these, sound rows that were not staged because the event is known.
        forgotten: repetitions in files that are gone: the engine cannot see them again.

    Raises:
        StepError: a row was lost, or one was made.
    """
    rows_in = sum(count["rows_in"] for count in counts)
    duplicates = sum(count["duplicates"] for count in counts)
    worst = min(counts, key=lambda count: count["duplicates"])
    if seen + forgotten != rows_in or duplicates != repeated + forgotten or worst["duplicates"] < 0:
        raise StepError(
            f"rows are lost or doubled, nothing is committed: the files have {rows_in}, {seen} were judged, "
            f"{repeated} were found to be repeated and {duplicates} are not accounted for; lowest day: {worst}"
        )


def nothing(spark: SparkSession, columns: dict[str, str]) -> DataFrame:
    """No rows, of a table's columns and a run date."""
    return spark.createDataFrame(
        [], ", ".join(f"`{name}` {kind}" for name, kind in (columns | {"run_date": "date"}).items())
    )


def _with(one: DataFrame, other: DataFrame) -> DataFrame:
    return one.unionByName(other)


if __name__ == "__main__":
    command.run(ingest, __doc__)
