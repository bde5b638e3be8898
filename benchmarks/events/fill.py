"""Put a shop's events into a lake directly, as if every day had been landed: history for a benchmark, in minutes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.events.day import SCHEMA, Rows
from benchmarks.events.draws import Words, draw
from benchmarks.events.files import sound_rows
from benchmarks.events.shop import Shop
from nightshift.config.settings import Source
from nightshift.lake import EVENTS_COLUMNS, Lake, Staged, Table, ingest_counts_table, quarantine_table
from nightshift.lake.stages import open_stage
from nightshift.landing.figures import day_figures

events_table = Table("events", EVENTS_COLUMNS | dict.fromkeys(("title", "kind", "country"), "string"))
"""As `nightshift.lake.events_table` declares it under the configuration that `files.write_config` writes."""

RENAMED = {"user_id": "user", "item_id": "item", "event_type": "type", "basket_id": "basket"}
DAYS_A_COMMIT = 30
HEX = np.frombuffer(b"0123456789ABCDEF", np.uint8)


def fill_lake(
    shop: Shop,
    lake: Lake,
    source: Source,
    days: Sequence[dt.date],
    workers: int = 1,
    days_a_commit: int = DAYS_A_COMMIT,
) -> int:
    """Commit the events and counts of `days`, many run dates a transaction. Returns the rows.

    Nothing is refused and nothing comes twice in this history: quarantine stays empty, but it is there.
    """
    total = 0
    with ProcessPoolExecutor(max_workers=workers) as pool:
        for first in range(0, len(days), days_a_commit):
            part = list(days[first : first + days_a_commit])
            staged = open_stage(lake.path("events"), tuple(day.isoformat() for day in part))
            rows = list(pool.map(partial(write_partition, shop, lake.path("events") / staged.folder), part))
            found = counts(lake, source, staged, dict(zip(part, rows, strict=True)))
            lake.commit(staged, events_table)
            lake.replace("ingest_counts", part, found)
            total += sum(rows)
    if not lake.exists("quarantine"):
        lake.replace("quarantine", list(days), quarantine_table.arrow.empty_table())
    return total


def write_partition(shop: Shop, folder: Path, run_date: dt.date) -> int:
    """Write one run date's partition under `folder`. Returns its rows."""
    target = folder / f"run_date={run_date}" / "part-00000.snappy.parquet"
    target.parent.mkdir(parents=True)
    rows = 0
    schema = pa.schema([field for field in events_table.arrow if field.name != "run_date"])
    with pq.ParquetWriter(target, schema, compression="snappy") as parquet:
        for table in lake_rows(shop, run_date):
            parquet.write_table(table)
            rows += table.num_rows
    return rows


def lake_rows(shop: Shop, run_date: dt.date) -> Iterator[pa.Table]:
    """The events that `run_date` brings, in batches, with the columns of `events_table` and without `run_date`."""
    schema = pa.schema([field for field in events_table.arrow if field.name != "run_date"])
    for origin, rows in sound_rows(shop, run_date):
        if rows.table.num_rows:
            yield _as_events(rows, origin).cast(schema)


def _as_events(rows: Rows, origin: dt.date) -> pa.Table:
    table, count = rows.table, rows.table.num_rows
    weight = pc.if_else(pc.equal(table["type"], "return"), -1.0, 1.0)
    made = {
        "event_id": event_ids(rows.states),
        "weight": weight,
        "event_time": table["time"].cast(pa.timestamp("us", tz="UTC")),
        "event_date": pa.array(np.full(count, np.datetime64(origin))),
        "quantity": table["quantity"].cast(pa.float64()),
    }
    columns = {n: made[n] if n in made else table[RENAMED.get(n, n)] for n in events_table.columns}
    assert set(SCHEMA.names) - set(RENAMED.values()) - {"time"} <= set(columns)
    return pa.table(columns)


def event_ids(states: Words) -> pa.Array:
    """Ids of the shape that landing gives: two words of 64 bits in hexadecimal, with a dash between."""
    count = len(states)
    text = np.empty((count, 33), np.uint8)
    text[:, 16] = ord("-")
    for place, word in ((0, draw(states, 20)), (17, draw(states, 21))):
        text[:, place : place + 16] = _hexadecimal(word)
    offsets = pa.py_buffer(np.arange(0, 33 * (count + 1), 33, dtype=np.int32))
    return pa.StringArray.from_buffers(count, offsets, pa.py_buffer(text))


def _hexadecimal(words: Words) -> npt.NDArray[np.uint8]:
    """Sixteen digits a word, from the highest."""
    octets = words.astype(">u8").view(np.uint8).reshape(-1, 8)
    return np.stack([HEX[octets >> 4], HEX[octets & 15]], axis=2).reshape(-1, 16)


def counts(lake: Lake, source: Source, staged: Staged, rows: dict[dt.date, int]) -> pa.Table:
    """The staged days' rows of `ingest_counts`."""
    figures = day_figures(lake, staged, source)
    nothing = {"quarantined": 0, "duplicates": 0, "repeats_back": 0}
    lines = [{"run_date": day, "rows_in": n, "kept": n, **nothing, **figures[day]} for day, n in rows.items()]
    return pa.Table.from_pylist(lines, schema=ingest_counts_table.arrow)
