"""A company's daily files of a shop: what happened, what comes late, what comes twice, and what is broken."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import yaml

from benchmarks.events.day import LATEST, SCHEMA, Day, Rows
from benchmarks.events.draws import uniform
from benchmarks.events.shop import FAVOURITES, Shop

COMES_AGAIN = 0.1  # of the rows that came late, share that the next day's file has too
BROKEN_ROW = LATEST + 1  # a kind of extra lines
BROKEN: dict[str, tuple[str, Any]] = {  # name: the column, and what stands in it
    "user is missing": ("user", None),
    "item is missing": ("item", None),
    "time is missing": ("time", None),
    "price is not positive": ("price", 0.0),
    "type is unknown": ("type", "viewed?"),
}


@dataclass
class Delivery:
    """What a day's file holds, counted as it is made. Rows = kept + repeated + broken; late ones are kept."""

    run_date: dt.date
    rows: int = 0
    kept: int = 0
    late: int = 0
    repeated: int = 0
    broken: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "run_date": self.run_date.isoformat(), "broken": dict(sorted(self.broken.items()))}


def sound_rows(shop: Shop, run_date: dt.date) -> Iterator[tuple[dt.date, Rows]]:
    """The events that the file of `run_date` brings for the first time, each batch with the day that they are of."""
    for rows in Day(shop, run_date).rows():
        yield run_date, rows
    for days in range(1, LATEST + 1):
        origin = run_date - dt.timedelta(days=days)
        if origin >= shop.first_day:
            yield origin, Day(shop, origin).late(days)


def file_rows(shop: Shop, run_date: dt.date) -> tuple[Delivery, Iterator[pa.Table]]:
    """The file's rows in batches; what they are is counted while they are taken."""
    delivery = Delivery(run_date)
    return delivery, _batches(shop, run_date, delivery)


def _batches(shop: Shop, run_date: dt.date, delivery: Delivery) -> Iterator[pa.Table]:
    def counted(table: pa.Table, kind: str) -> pa.Table:
        delivery.rows += table.num_rows
        setattr(delivery, kind, getattr(delivery, kind) + table.num_rows)
        return table

    for origin, rows in sound_rows(shop, run_date):
        delivery.late += rows.table.num_rows if origin < run_date else 0
        yield counted(rows.table, "kept")
        if origin == run_date:
            again = uniform(rows.states, 9) < shop.flaws.repeated
            yield counted(rows.table.filter(pa.array(again)), "repeated")
    for days in range(1, LATEST + 1):
        origin = run_date - dt.timedelta(days=days + 1)
        if origin >= shop.first_day and shop.flaws.repeated > 0:
            late = Day(shop, origin).late(days).table
            yield counted(late.slice(0, round(late.num_rows * COMES_AGAIN)), "repeated")
    yield _broken_rows(shop, run_date, delivery)


def _broken_rows(shop: Shop, run_date: dt.date, delivery: Delivery) -> pa.Table:
    count = round(shop.baskets(run_date) * shop.lines_a_basket * shop.flaws.broken)
    table = Day(shop, run_date).extra(count, BROKEN_ROW).table
    turn = np.arange(count) % len(BROKEN)
    for number, (name, (column, wrong)) in enumerate(BROKEN.items()):
        kind = SCHEMA.field(column).type
        mended = pc.if_else(pa.array(turn == number), pa.scalar(wrong, kind), table[column])
        table = table.set_column(SCHEMA.get_field_index(column), column, mended)
        delivery.broken[name] += int((turn == number).sum())
    delivery.rows += count
    return table


def write_day(shop: Shop, run_date: dt.date, folder: Path, file_format: str) -> Delivery:
    """Write the file of one day: `<run date>.parquet` or `<run date>.csv.gz`. The same bytes every time."""
    delivery, batches = file_rows(shop, run_date)
    target = folder / f"{run_date}.{'parquet' if file_format == 'parquet' else 'csv.gz'}"
    partial = target.with_suffix(".partial")
    if file_format == "parquet":
        with pq.ParquetWriter(partial, SCHEMA, compression="snappy") as parquet:
            for batch in batches:
                if batch.num_rows:
                    parquet.write_table(batch)
    else:
        with gzip.GzipFile(partial, "wb", compresslevel=1, mtime=0) as packed:
            packed.write((",".join(SCHEMA.names) + "\n").encode())
            for batch in batches:
                packed.write(_csv(batch))
    partial.replace(target)
    return delivery


def _csv(batch: pa.Table) -> bytes:
    text = io.BytesIO()
    pacsv.write_csv(batch, text, pacsv.WriteOptions(include_header=False, quoting_style="needed"))
    return text.getvalue()


def write_config(shop: Shop, folder: Path, file_format: str, **sections: Any) -> Path:
    """Write the `nightshift.yaml` of this company; `sections` are added to it."""
    text_types = {"quantity": "int", "price": "double", "time": "timestamp"}
    settings = {
        "name": "generated-shop",
        "seed": shop.seed,
        "source": {
            "address": "{run_date}." + ("parquet" if file_format == "parquet" else "csv.gz"),
            "format": file_format,
            "timezone": "UTC",
            "first_day": shop.first_day,
            "types": text_types if file_format == "csv" else {},
            "columns": {name: name for name in ("user", "item", "time", "quantity", "price", "basket")},
            "event_types": [
                {"name": "return", "when": "type = 'return'", "weight": -1},
                {"name": "purchase", "when": "type = 'purchase'", "weight": 1},
            ],
            "contract": {"user is known": "user <> ''", "price is positive": "price > 0"},
            "item_attributes": {"title": "title", "kind": "kind"},
            "user_attributes": {"country": "country"},
        },
        **sections,
    }
    file = folder / "nightshift.yaml"
    file.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return file


def write_truth(shop: Shop, folder: Path, deliveries: list[Delivery]) -> Path:
    """Write `planted.json`: with it the whole truth can be told again, users and items one by one included."""
    parameters = asdict(shop)
    truth = {
        "shop": parameters,
        "again": "benchmarks.events.Shop(**shop).group_of_user(users, day), .group_of_shelf, .favourite_shelf(...)",
        "taste": {
            "lines of a favourite": shop.favourites,
            "lines of the user's group": shop.taste,
            "lines of what is popular": round(1 - shop.taste - shop.favourites, 6),
            "favourites of a user": FAVOURITES,
        },
        "complements": "shelf 2n is bought with shelf 2n + 1; an item's number is its shelf * 64 + its generation",
        "groups of shelves": np.bincount(shop.group_of_shelf, minlength=shop.groups).tolist(),
        "days": [delivery.as_dict() for delivery in deliveries],
    }
    file = folder / "planted.json"
    file.write_text(json.dumps(truth, indent=1, default=str) + "\n", encoding="utf-8")
    return file
