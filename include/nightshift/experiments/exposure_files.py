"""What was shown, as files: one Parquet file for every few seconds of a process, whole or not there.

    exposures/pending/2011-11-30/20111130T080512123456-20111130T080522004711-<writer>-000007.parquet
    exposures/landed/2011-11-29/...          rows that the lake has; they go after `experiments.exposures.keep_days`

A file's name says from when to when its rows are. Folders are UTC days, by a file's first row.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from nightshift.experiments.columns import column

if TYPE_CHECKING:
    from nightshift.experiments.assignment import Assignment

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
DROPPED = b"nightshift.dropped"
ROW_GROUP = 25  # batches, of a few hundred rows each
GIVE_WAY_SECONDS = 0.005  # after each
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


ALIKE = ["surface", "channel", "list_run"]  # columns whose values are few
Shared = tuple[Any, ...]  # the first three fields of an exposure, which many have alike


class Exposure(NamedTuple):
    """One list that was shown. `items`: how many of the run's own list for the user, else the answer's, as JSON."""

    assignment: Assignment
    run: str
    channel: str | None  # that was answered from, where it is not the assignment's
    user_id: str
    items: int | bytes
    at: float  # seconds since 1970
    request_id: str | None = None


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
    """Rows, each as an `Exposure` has its fields, as columns; those of one assignment and run stand together.

    Args:
        writer: who wrote them, and `first`, the number of the first: together they make the exposures' ids.
    """
    groups: dict[Shared, list[tuple[Any, ...]]] = {}
    for row in rows:
        groups.setdefault(row[:3], []).append(row)
    _, _, _, users, items, times, request_ids = zip(*chain.from_iterable(groups.values()), strict=True)
    own: dict[str, list[Any] | tuple[Any, ...]] = {
        "exposure_id": [f"{writer}-{number}" for number in range(first, first + len(rows))],
        "shown_at": [round(at * 1e6) for at in times],
        "user_id": users,
        "shown": [one if type(one) is int else None for one in items],
        "answer": [one if type(one) is bytes else None for one in items],
        "request_id": request_ids,
    }
    columns = {name: column(values, SCHEMA.field(name).type) for name, values in own.items()}
    parts = [repeated(shared, len(of)) for shared, of in groups.items()]
    columns |= {name: pa.concat_arrays([part[name] for part in parts]) for name in parts[0]}
    return pa.RecordBatch.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def repeated(shared: Shared, count: int) -> dict[str, pa.Array]:
    """The columns that say the same of so many exposures, by their names."""
    return {name: values[:count] for name, values in _repeated(shared, 1 << (count - 1).bit_length()).items()}


@lru_cache(maxsize=512)
def _repeated(shared: Shared, count: int) -> dict[str, pa.Array]:
    assignment, run, channel = shared
    said = {
        "surface": assignment.surface,
        "channel": channel or assignment.channel,
        "list_run": run,
        "experiments": [(name, of, assignment.propensities.get(name)) for name, of in assignment.variants.items()],
        "holdouts": assignment.holdouts,
        "overridden": assignment.overridden,
    }
    return {name: column([value] * count, SCHEMA.field(name).type) for name, value in said.items()}


def write(pending: Path, batches: Sequence[pa.RecordBatch], writer: str, number: int, dropped: int) -> Path:
    """Write a file, whole or not at all; a power cut after this takes nothing of it.

    It gives way after every few batches: whoever answers requests on the same core waits a millisecond, not a hundred.
    """
    shown = [memoryview(batch["shown_at"].buffers()[1]).cast("q")[: len(batch)] for batch in batches]
    first, last = (EPOCH + dt.timedelta(microseconds=of(map(of, shown))) for of in (min, max))
    folder = pending / f"{first:%Y-%m-%d}"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{first:{TIME}}-{last:{TIME}}-{writer}-{number:06}.parquet"
    partial = target.with_name(f".{target.name}.partial")
    schema = SCHEMA.with_metadata({DROPPED: str(dropped)})
    try:
        with pq.ParquetWriter(
            partial, schema, compression="lz4", write_statistics=False, use_dictionary=ALIKE
        ) as parquet:
            for begin in range(0, len(batches), ROW_GROUP):
                rows = pa.Table.from_batches(batches[begin : begin + ROW_GROUP])
                parquet.write_table(rows.replace_schema_metadata(schema.metadata))
                time.sleep(GIVE_WAY_SECONDS)
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
