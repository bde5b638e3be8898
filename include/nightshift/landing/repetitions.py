"""Events that more than one day's file brought: kept where they came first, however long the history is.

An event's id is a fingerprint of all it has, its business day included, and no file holds events after its own day. So
only a *late* row, of an earlier day than its file's, can repeat what an earlier file has brought; and a later file can
have repeated an event only by a late row of its own.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nightshift.lake import Lake, Staged
from nightshift.lake.reading import run_date_of
from nightshift.runs.durable import replacing

ROWS = pa.schema([("event_id", pa.string()), ("event_date", pa.date32()), ("run_date", pa.date32())])
IDENTITY = ["event_id", "event_date"]
LOOKUPS = 8  # in the lake, at most, however far apart the days of the late rows lie

Files = list[tuple[dt.date, Path]]


def drop_repeated(lake: Lake, staged: Staged, days: Sequence[dt.date]) -> dict[dt.date, int]:
    """Take out of a stage what an earlier day's file has brought: one of these days', or one that the lake holds.

    Args:
        staged: of the table `events`, each event once a day.
        days: all that are read now, sorted: what the lake holds of them does not count.

    Returns:
        The days that lost rows, and how many days before them the oldest of these events happened.
    """
    files = _files(lake, staged)
    late = _concat(_rows(file, day, pc.field("event_date") < pa.scalar(day)) for day, file in files)
    if not late.num_rows:
        return {}
    known = _concat([*_staged_of(files, late), *_committed_of(lake, late, days)])
    first = known.group_by("event_id").aggregate([("run_date", "min")])
    met = late.join(first, "event_id", join_type="inner")
    repeated = met.filter(pc.less(met["run_date_min"], met["run_date"]))
    back: dict[dt.date, int] = {}
    for day, file in files:
        rows = repeated.filter(pc.equal(repeated["run_date"], pa.scalar(day)))
        if rows.num_rows:
            back[day] = (day - pc.min(rows["event_date"]).as_py()).days
            _take_out(file, rows["event_id"])
    return back


def later_days_that_share(lake: Lake, staged: Staged, days: Sequence[dt.date]) -> list[dt.date]:
    """Run dates after the first of `days`, committed before, whose events depend on what `days` hold now.

    They hold an event that `days` hold now; or `days` held one that a corrected file has no more, and which they may
    have repeated: what they repeated is not in the lake, only from how far back.
    """
    if not (lake.exists("events") and lake.exists("ingest_counts")):
        return []
    counts = lake.arrow("ingest_counts", ["run_date", "repeats_back"], [("run_date", ">", days[0])]).to_pylist()
    later = {row["run_date"]: dt.timedelta(days=row["repeats_back"]) for row in counts if row["run_date"] not in days}
    if not later:
        return []
    files = _files(lake, staged)
    theirs = lake.arrow("events", ROWS.names, [("run_date", ">", days[0]), ("event_date", "<=", days[-1])])
    late = pc.less(theirs["event_date"], theirs["run_date"])
    theirs = theirs.filter(pc.and_(late, pc.is_in(theirs["run_date"], pa.array(later, pa.date32()))))
    share: set[dt.date] = set()
    for _, file in files if theirs.num_rows else []:
        ids = pq.read_table(file, columns=["event_id"], partitioning=None)["event_id"]
        share |= set(theirs.filter(pc.is_in(theirs["event_id"], ids.combine_chunks()))["run_date"].to_pylist())
    if any(later.values()):
        gone = _days_of_gone_events(lake, files, days)
        share |= {day for day, back in later.items() if any(day - back <= of < day for of in gone)}
    return sorted(share)


def _days_of_gone_events(lake: Lake, files: Files, days: Sequence[dt.date]) -> set[dt.date]:
    """The business days of events that the lake holds of `days`, and that are not staged now."""
    now = _concat(_rows(file, day) for day, file in files)["event_id"].combine_chunks()
    gone: set[dt.date] = set()
    for day in days:
        before = lake.arrow("events", IDENTITY, [("run_date", "=", day)])
        lost = before.filter(pc.invert(pc.is_in(before["event_id"], now)))
        gone |= set(lost["event_date"].unique().to_pylist())
    return gone


def _staged_of(files: Files, late: pa.Table) -> Iterable[pa.Table]:
    """Staged rows that late rows may repeat, and the late rows themselves."""
    low, high = pc.min(late["event_date"]), pc.max(late["event_date"])
    between = (pc.field("event_date") >= low) & (pc.field("event_date") <= high)
    for day, file in files:
        if day >= low.as_py():
            yield _met(_rows(file, day, between), late)


def _committed_of(lake: Lake, late: pa.Table, days: Sequence[dt.date]) -> Iterable[pa.Table]:
    """Rows of the lake that late rows may repeat, of other days than these."""
    if not lake.exists("events"):
        return
    for first, last in _spans(late["event_date"].unique().to_pylist()):
        where = [("run_date", ">=", first), ("run_date", "<", days[-1])]
        where += [("event_date", ">=", first), ("event_date", "<=", last)]
        rows = lake.arrow("events", ROWS.names, where)
        rows = rows.filter(pc.invert(pc.is_in(rows["run_date"], pa.array(days, pa.date32()))))
        yield _met(rows, late).cast(ROWS)


def _spans(dates: Iterable[dt.date]) -> list[tuple[dt.date, dt.date]]:
    """Days as few spans, both ends included, parted where the widest gaps are: one stray day must not make all of
    history one span."""
    ordered = sorted(set(dates))
    gaps = sorted(range(1, len(ordered)), key=lambda at: ordered[at] - ordered[at - 1], reverse=True)
    breaks = sorted(gaps[: LOOKUPS - 1])
    return [(ordered[a], ordered[b - 1]) for a, b in zip([0, *breaks], [*breaks, len(ordered)], strict=True)]


def _met(rows: pa.Table, late: pa.Table) -> pa.Table:
    return rows.filter(pc.is_in(rows["event_id"], late["event_id"].combine_chunks()))


def _files(lake: Lake, staged: Staged) -> Files:
    """A stage's files, each with the one run date that its rows are of."""
    return [(dt.date.fromisoformat(run_date_of(file)), file) for file in lake.staged_files(staged)]


def _rows(file: Path, day: dt.date, where: pc.Expression | None = None) -> pa.Table:
    rows = pq.read_table(file, columns=IDENTITY, partitioning=None, filters=where)
    return rows.append_column("run_date", pa.array([day] * rows.num_rows, pa.date32())).cast(ROWS)


def _concat(tables: Iterable[pa.Table]) -> pa.Table:
    return pa.concat_tables([ROWS.empty_table(), *tables])


def _take_out(file: Path, ids: pa.ChunkedArray) -> None:
    """Write a staged file anew without these events; without any event it goes."""
    kept, gone = 0, ids.combine_chunks()
    with replacing(file) as partial, pq.ParquetFile(file) as old, pq.ParquetWriter(partial, old.schema_arrow) as new:
        for batch in old.iter_batches():
            rest = batch.filter(pc.invert(pc.is_in(batch["event_id"], gone)))
            new.write_batch(rest)
            kept += rest.num_rows
    if not kept:
        file.unlink()
