"""Remove people from what landing keeps: events, refused lines, and the counts that must still add up.

An erased event becomes a row of quarantine that says `erased`, and nothing else of it, as it does when a later night
reads its file again: so rows in are still what was kept, refused or repeated, and nothing is dropped silently.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nightshift.config.settings import Source
from nightshift.erasure.people import People
from nightshift.erasure.tables import commit, live_files, stage_without, write_staged
from nightshift.lake import Lake, Staged
from nightshift.lake.reading import run_date_of
from nightshift.lake.stages import open_stage
from nightshift.landing.figures import day_figures
from nightshift.landing.source import rows_of_lines
from nightshift.landing.suppression import ERASED

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

QUARANTINE, EVENTS, COUNTS = "quarantine", "events", "ingest_counts"


def refused_lines(spark: SparkSession, lake: Lake, source: Source, people: People) -> set[str]:
    """The raw lines in quarantine that are of these people, by the source's own expression for a user."""
    from pyspark.sql import functions as F

    if not lake.exists(QUARANTINE):
        return set()
    kept = lake.pandas(QUARANTINE, ["run_date", "raw", "header", "source_file"]).dropna(subset=["raw"])
    kept = kept.drop_duplicates(["raw", "header"]).fillna({"header": "", "source_file": ""})
    found: set[str] = set()
    for header, lines in kept.groupby("header"):
        named = lines.rename(columns={"run_date": "_run_date", "source_file": "_file", "raw": "_raw"})
        frame = spark.createDataFrame(
            named[["_run_date", "_file", "_raw"]], "_run_date date, _file string, _raw string"
        )
        user = F.expr(source.columns.user).cast("string")
        rows = rows_of_lines(source, frame, str(header)).where(user.isin(*sorted(people.ids)))
        found.update(row["_raw"] for row in rows.select("_raw").collect())
    return found


def erase_landed(lake: Lake, source: Source, people: People, refused: set[str]) -> dict[str, int]:
    """Rewrite the three tables. Killed anywhere and run again, it ends in the same.

    Args:
        refused: as `refused_lines` gives them.

    Returns:
        Table -> rows that were of these people.
    """
    if not lake.exists(EVENTS):
        return {}
    staged, gone = stage_without(lake, EVENTS, people)
    if staged:
        (lake.path(EVENTS) / staged.folder).mkdir(exist_ok=True)
        _correct_counts(lake, source, staged, gone)
    blanked = _erase_quarantine(lake, people, refused, set(gone))
    if staged:
        commit(lake, staged)  # last: until then a second try finds the same
    return {EVENTS: sum(gone.values()), QUARANTINE: blanked}


def _correct_counts(lake: Lake, source: Source, staged: Staged, gone: Counter[dt.date]) -> None:
    """Say of each day what it has kept without these people; what is not kept any more counts as refused."""
    figures = day_figures(lake, staged, source)
    schema = lake.arrow(COUNTS).schema
    rows = [row for row in lake.arrow(COUNTS).to_pylist() if row["run_date"] in gone]
    kept = {dt.date.fromisoformat(day): count for day, count in lake.staged_counts(staged).items()}
    for row in rows:
        day = row["run_date"]
        row |= {name: value for name, value in figures[day].items() if name in row}
        row |= {"kept": kept[day], "quarantined": row["rows_in"] - row["duplicates"] - kept[day]}
    lake.replace(COUNTS, sorted(gone), pa.Table.from_pylist(rows, schema=schema))


def _erase_quarantine(lake: Lake, people: People, refused: set[str], days: set[dt.date]) -> int:
    """Blank the refused lines of these people, and bring the erased rows of `days` to their number."""
    if not lake.exists(QUARANTINE):
        return 0
    cleaned, blanked, rows = {}, 0, Counter[str]()
    live = live_files(lake, QUARANTINE)
    for file in live:
        before = pq.read_table(file, partitioning=None)
        after, found = _blanked(before, people, refused)
        rows[run_date_of(file)] += before.num_rows
        blanked += found
        if found:
            cleaned[file] = after
    missing = {day: count for day in days if (count := _erased_rows_missing(lake, day, rows[day.isoformat()])) > 0}
    dates = sorted({run_date_of(file) for file in cleaned} | {day.isoformat() for day in missing})
    if not dates:
        return blanked
    staged = open_stage(lake.path(QUARANTINE), tuple(dates))
    schema = pa.schema(f.with_nullable(True) for f in lake.arrow(QUARANTINE).schema if f.name != "run_date")
    for number, file in enumerate(live):
        if run_date_of(file) in dates:
            table = cleaned[file] if file in cleaned else pq.read_table(file, partitioning=None)
            write_staged(lake, staged, run_date_of(file), number, table)
    for number, (day, count) in enumerate(sorted(missing.items()), len(live)):
        table = pa.Table.from_pylist([{"reason": ERASED}] * count, schema=schema)
        write_staged(lake, staged, day.isoformat(), number, table)
    commit(lake, staged)
    return blanked


def _erased_rows_missing(lake: Lake, day: dt.date, rows: int) -> int:
    """How many rows of quarantine the counts of a day say there are, and are not."""
    counts = lake.arrow(COUNTS, ["quarantined"], [("run_date", "=", day.isoformat())])
    return int(sum(counts["quarantined"].to_pylist())) - rows


def _blanked(table: pa.Table, people: People, refused: set[str]) -> tuple[pa.Table, int]:
    """A file of quarantine whose rows of these people keep nothing but that there was one, and how many those are.

    Besides the lines that are known to be theirs, any in which they stand as a word: rather one too many.
    """
    texts = [name for name in ("raw", "value", "header") if name in table.column_names]
    columns = [table[name].to_pylist() for name in texts]
    held = [
        (values[0] in refused) or any(value and people.occur_in(value) for value in values)
        for values in zip(*columns, strict=True)
    ]
    if not any(held):
        return table, 0
    for number, field in enumerate(table.schema):
        stands = pa.scalar(ERASED if field.name == "reason" else None, field.type)
        table = table.set_column(
            number, field.with_nullable(True), pc.if_else(pa.array(held), stands, table[field.name])
        )
    return table, sum(held)
