"""What was shown, as files: one Parquet file for every few seconds of a process, whole or not there.

    exposures/pending/2011-11-30/20111130T080512123456-20111130T080522004711-<writer>-000007.parquet
    exposures/landed/2011-11-29/...          rows that the lake has; they go after `experiments.exposures.keep_days`

A file's name says from when to when its rows are. Folders are UTC days, by a file's first row.
"""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from nightshift.experiments.columns import column

if TYPE_CHECKING:
    from nightshift.experiments.assignment import Assignment

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
DROPPED = b"nightshift.dropped"
TIME = "%Y%m%dT%H%M%S%f"
NAME = re.compile(r"(\d{8}T\d{12})-(\d{8}T\d{12})-[0-9a-f]+-\d+\.parquet")

EXPERIMENTS = pa.list_(pa.struct([("experiment", pa.string()), ("variant", pa.string()), ("propensity", pa.float64())]))
SCHEMA = pa.schema(
    [
        ("exposure_id", pa.string()),
        ("shown_at", pa.timestamp("us", tz="UTC")),
        ("user_id", pa.string()),
        ("surface", pa.string()),
        ("channel", pa.string()),
        ("list_run", pa.string()),  # <run date>/<run id>
        ("experiments", EXPERIMENTS),
        ("holdouts", pa.list_(pa.string())),
        ("overridden", pa.bool_()),
        ("shown", pa.int32()),  # so many, from the first, of the list that the run has for the user, or popular ones
        ("answer", pa.binary()),  # else the items of the answer, as JSON
        ("request_id", pa.string()),
    ]
)


class Exposure(NamedTuple):
    """One list that was shown. `items`: how many of the run's own list for the user, else the answer's, as JSON."""

    user_id: str
    assignment: Assignment
    run: str
    items: int | bytes
    at: float  # seconds since 1970
    request_id: str | None = None
    channel: str | None = None  # that was answered from, where it is not the assignment's


@dataclass(frozen=True)
class File:
    """A file of exposures, and from when to when its rows are."""

    path: Path
    first: dt.datetime
    last: dt.datetime

    @property
    def dropped(self) -> int:
        """Exposures that its process could not keep, since the file before."""
        return int((pq.read_metadata(self.path).metadata or {}).get(DROPPED, 0))


def batch_of(rows: Sequence[tuple[Any, ...]], writer: str, first: int) -> pa.RecordBatch:
    """Rows, each as an `Exposure` has its fields, as columns.

    Args:
        writer: who wrote them, and `first`, the number of the first: together they make the exposures' ids.
    """
    users, assignments, runs, items, times, request_ids, channels = zip(*rows, strict=True)
    taking_part = {id(one): _taking_part(one) for one in set(assignments)}  # a few, that all rows share
    values = [
        [f"{writer}-{number}" for number in range(first, first + len(rows))],
        [round(at * 1e6) for at in times],
        users,
        [one.surface for one in assignments],
        [channel or one.channel for channel, one in zip(channels, assignments, strict=True)],
        runs,
        [taking_part[id(one)] for one in assignments],
        [one.holdouts for one in assignments],
        [one.overridden for one in assignments],
        [one if type(one) is int else None for one in items],
        [one if type(one) is bytes else None for one in items],
        request_ids,
    ]
    columns = [column(of, field.type) for of, field in zip(values, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _taking_part(assignment: Assignment) -> list[tuple[str, str, float | None]]:
    """Its experiments, with variant and propensity."""
    return [(name, variant, assignment.propensities.get(name)) for name, variant in assignment.variants.items()]


def write(pending: Path, batches: Sequence[pa.RecordBatch], writer: str, number: int, dropped: int) -> Path:
    """Write a file, whole or not at all; a power cut after this takes nothing of it."""
    table = pa.Table.from_batches(batches).replace_schema_metadata({DROPPED: str(dropped)})
    shown = [memoryview(batch["shown_at"].buffers()[1]).cast("q")[: len(batch)] for batch in batches]
    first, last = (EPOCH + dt.timedelta(microseconds=of(map(of, shown))) for of in (min, max))
    folder = pending / f"{first:%Y-%m-%d}"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{first:{TIME}}-{last:{TIME}}-{writer}-{number:06}.parquet"
    partial = target.with_name(f".{target.name}.partial")
    try:
        pq.write_table(table, partial, compression="lz4", write_statistics=False)
        _flush(partial)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)  # else what a full disk did not take would keep it full
    _flush(folder)
    return target


def _flush(path: Path) -> None:
    """Have a file's bytes, or a folder's names, on the disk before going on."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def files_in(folder: Path) -> list[File]:
    """The files below `pending` or `landed`, by time. What a killed process left half written is none."""
    found = []
    for path in folder.glob("*/*.parquet"):
        if name := NAME.fullmatch(path.name):
            first, last = (dt.datetime.strptime(time, TIME).replace(tzinfo=dt.UTC) for time in name.groups())
            found.append(File(path, first, last))
    return sorted(found, key=lambda file: (file.first, file.path.name))
