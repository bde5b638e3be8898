"""Remove people from what landing keeps: events, refused lines, and the counts that must still add up.

An erased event becomes a row of quarantine that says `erased`, and nothing else of it, as it does when a later night
reads its file again: so rows in are still what was kept, refused or repeated, and nothing is dropped silently.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nightshift.config import Settings
from nightshift.config.settings import Source
from nightshift.erasure.people import People
from nightshift.erasure.tables import commit, declared, live_files, stage_without, write_staged
from nightshift.erasure.texts import counted_text
from nightshift.features.lineage import forget, load_lineage
from nightshift.lake import Lake, Staged, quarantine_table
from nightshift.lake.reading import run_date_of
from nightshift.lake.stages import open_stage
from nightshift.landing.figures import day_figures
from nightshift.landing.source import rows_of_lines
from nightshift.landing.suppression import ERASED

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

QUARANTINE, EVENTS, COUNTS = "quarantine", "events", "ingest_counts"
LINE = ("raw", "value", "header")  # columns of quarantine that may name somebody


def refused_lines(spark: SparkSession, lake: Lake, source: Source, people: People) -> set[str]:
    """The raw lines in quarantine that are of these people, by the source's own expression for a user."""
    from pyspark.sql import functions as F

    if not lake.exists(QUARANTINE):
        return set()
    kept = lake.spark(spark, quarantine_table).where("raw IS NOT NULL")
    kept = kept.withColumnsRenamed({"run_date": "_run_date", "source_file": "_file", "raw": "_raw"})
    found: set[str] = set()
    for header in [row["header"] for row in kept.select("header").distinct().collect()]:
        lines = kept.where(F.col("header").eqNullSafe(header)).select("_run_date", "_file", "_raw")
        user = F.expr(source.columns.user).cast("string")
        rows = rows_of_lines(source, lines, header or "").where(user.isin(*sorted(people.ids)))
        found.update(row["_raw"] for row in rows.select("_raw").distinct().collect())
    return found


def erase_landed(lake: Lake, settings: Settings, people: People, refused: set[str]) -> dict[str, int]:
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
        _correct_counts(lake, settings.source, staged, gone)
    blanked = _erase_quarantine(lake, people, refused, set(gone))
    if staged:
        _forget_states(lake, settings, min(gone))
        commit(lake, staged)  # last: until then a second try finds the same
    return {EVENTS: sum(gone.values()), QUARANTINE: blanked}


def _forget_states(lake: Lake, settings: Settings, since: dt.date) -> None:
    """Have features built again that were built after a killed erasure had corrected the counts, and with the person.

    By the counts they stand; those of before do not. Before the events' commit: once that is done, a second try after
    a kill would not know of which days they are.
    """
    lineage = load_lineage(lake, settings)
    forget(lake, [day for day in lineage.states if day >= since and lineage.stands(day)])


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
    held: dict[Path, list[bool]] = {}
    rows = Counter[str]()
    live = live_files(lake, QUARANTINE)
    for file in live:
        rows[run_date_of(file)] += pq.read_metadata(file).num_rows
        if any(theirs := lines_of(pq.read_table(file, columns=list(LINE), partitioning=None), people, refused)):
            held[file] = theirs
    missing = {day: count for day in days if (count := _erased_rows_missing(lake, day, rows[day.isoformat()])) > 0}
    dates = sorted({run_date_of(file) for file in held} | {day.isoformat() for day in missing})
    if not dates:
        return 0
    table = declared(lake, QUARANTINE)
    staged = open_stage(lake.path(QUARANTINE), tuple(dates))
    for number, file in enumerate(live):
        if run_date_of(file) in dates:
            kept = pq.read_table(file, partitioning=None)
            kept = _blanked(kept, held[file]) if file in held else kept
            write_staged(lake, staged, table, run_date_of(file), number, kept)
    for number, (day, count) in enumerate(sorted(missing.items()), len(live)):
        erased = pa.table({"reason": pa.array([ERASED] * count, pa.string())})
        write_staged(lake, staged, table, day.isoformat(), number, erased)
    commit(lake, staged)
    return sum(map(sum, held.values()))


def _erased_rows_missing(lake: Lake, day: dt.date, rows: int) -> int:
    """How many rows of quarantine the counts of a day say there are, and are not."""
    counts = lake.arrow(COUNTS, ["quarantined"], [("run_date", "=", day.isoformat())])
    return int(sum(counts["quarantined"].to_pylist())) - rows


def lines_of(table: pa.Table, people: People, refused: set[str]) -> list[bool]:
    """For each row of quarantine whether it is of these people: its line is known to be, or names them."""
    columns = [table[name].to_pylist() for name in LINE]
    return [
        values[0] in refused or any(value and counted_text(value, people).found for value in values)
        for values in zip(*columns, strict=True)
    ]


def _blanked(table: pa.Table, held: list[bool]) -> pa.Table:
    """A file of quarantine that of these rows keeps nothing but that there was one."""
    for number, field in enumerate(table.schema):
        stands = pa.scalar(ERASED if field.name == "reason" else None, field.type)
        table = table.set_column(
            number, field.with_nullable(True), pc.if_else(pa.array(held), stands, table[field.name])
        )
    return table
