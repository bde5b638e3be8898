"""What there is to read of some days: their files, and of days whose file is gone what the lake has kept of it."""

from __future__ import annotations

import csv
import datetime as dt
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.config.settings import Source
from nightshift.lake import Lake, events_table, quarantine_table
from nightshift.landing.columns import require_columns, settle_columns
from nightshift.landing.files import Look, day_files, look_at
from nightshift.landing.source import rows_of_lines
from nightshift.runs import StepError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger("nightshift.landing")


@dataclass(frozen=True)
class Delivery:
    """What there is of `days`.

    Attributes:
        days: sorted, and all that are read; one that is in neither of the next two is a day without events.
        looks: at their files.
        gone: of days whose file is gone, what `ingest_counts` says.
        columns: what the files have besides, or lack, as `settle_columns` tells it.
    """

    days: list[dt.date]
    looks: list[Look]
    gone: dict[dt.date, dict[str, Any]]
    columns: dict[str, Any]

    @property
    def rows_in(self) -> dict[dt.date, int]:
        """The rows that each day's file has, or had."""
        found = {look.file.run_date: look.rows for look in self.looks}
        return dict.fromkeys(self.days, 0) | found | {day: int(was["rows_in"]) for day, was in self.gone.items()}

    @property
    def forgotten(self) -> int:
        """Rows of files that are gone, of which the lake knows only that they were repetitions."""
        return sum(int(was["duplicates"]) for was in self.gone.values())


def delivered(lake: Lake, source: Source, folder: Path, days: Sequence[dt.date]) -> Delivery:
    """Look at the files of `days`. A day that had rows, and whose file is gone, is as the lake has it.

    Raises:
        StepError: a day has no file, and must have one; or a file is not fit to be read.
    """
    files, absent = day_files(source, folder, days)
    gone = _known(lake, [file.run_date for file in absent])
    for file in absent:
        if file.run_date not in gone and source.when_missing == "stop":
            raise StepError(
                f"no file for {file.run_date}: {file.address}. Deliver it, or set source.when_missing: empty if days "
                "may have none."
            )
    if gone:
        log.warning(
            "ingest: the files of %s are gone: these days are as the lake has them. To take a day's events back, "
            "deliver a file without rows",
            ", ".join(map(str, sorted(gone))),
        )
    looks = [look_at(source, file) for file in files]
    return Delivery(sorted(days), looks, gone, settle_columns(source, looks))


def lines_of_gone_days(spark: SparkSession, lake: Lake, source: Source, gone: Sequence[dt.date]) -> Iterator[DataFrame]:
    """The quarantined lines of these days, as rows to be judged again.

    Raises:
        StepError: a line's header lacks a column that is read now.
    """
    from pyspark.sql import functions as F

    span = [("run_date", ">=", min(gone)), ("run_date", "<=", max(gone))]
    has_line = ("raw", "!=", "")  # an erased row has none
    headers = lake.arrow("quarantine", ["header"], [*span, has_line])["header"].unique().to_pylist()
    lines = lake.spark(spark, quarantine_table, span).where(
        F.col("run_date").isin(list(gone)) & F.col("raw").isNotNull()
    )
    lines = lines.withColumnsRenamed({"run_date": "_run_date", "source_file": "_file", "raw": "_raw"})
    for header in headers:
        if header is not None:
            names = next(csv.reader([header], delimiter=source.delimiter))
            require_columns(source, names, f"a file of {min(gone)} to {max(gone)}, which is gone,")
        of_header = lines.where(F.col("header").eqNullSafe(header)).select("_run_date", "_file", "_raw")
        yield rows_of_lines(source, of_header, header or "")


def erased_of_gone_days(spark: SparkSession, lake: Lake, gone: Sequence[dt.date]) -> DataFrame:
    """The rows of quarantine of these days whose people were erased: nothing is left of them to be judged again."""
    from pyspark.sql import functions as F

    span = [("run_date", ">=", min(gone)), ("run_date", "<=", max(gone))]
    return lake.spark(spark, quarantine_table, span).where(F.col("run_date").isin(list(gone)) & F.col("raw").isNull())


def events_of_gone_days(spark: SparkSession, lake: Lake, source: Source, gone: Sequence[dt.date]) -> DataFrame:
    """The events that the lake has of these days, with their run date."""
    from pyspark.sql import functions as F

    span = [("run_date", ">=", min(gone)), ("run_date", "<=", max(gone))]
    return lake.spark(spark, events_table(source), span).where(F.col("run_date").isin(list(gone)))


def _known(lake: Lake, days: Sequence[dt.date]) -> dict[dt.date, dict[str, Any]]:
    """What `ingest_counts` says of those of `days` that had rows."""
    if not days or not lake.exists("ingest_counts"):
        return {}
    where = [("run_date", ">=", min(days)), ("run_date", "<=", max(days)), ("rows_in", ">", 0)]
    rows = lake.arrow("ingest_counts", where=where).to_pylist()
    return {row["run_date"]: row for row in rows if row["run_date"] in days}
