"""A time is the instant it names; one that names no zone is of the company's own. docs/contracts.md, Times."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightshift.config.settings import Engine
from tests.landing.shop import SOURCE, Shop, june

TRUE = dt.datetime(2011, 6, 1, 22, 25, 18, tzinfo=dt.UTC)  # past midnight in Berlin
WALL = TRUE.replace(tzinfo=None) + dt.timedelta(hours=2)  # and what a clock there shows
BERLIN = {"timezone": "Europe/Berlin", "columns": {**SOURCE["columns"], "time": "at"}}  # type: ignore[dict-item]
INT96 = pa.timestamp("ns", tz="UTC")  # written in the old way
ROW = {"order": "1", "buyer": "ann", "sku": "A", "name": "Thing", "units": 1, "cost": 2.5, "land": "DE"}


def landed(shop: Shop) -> list[Any]:
    """The time and the business day of each event, and the refusals."""
    shop.land(2)
    frame = shop.lake.pandas("events")
    return [*frame[["event_time", "event_date"]].itertuples(index=False, name=None), *shop.quarantined()]


@pytest.mark.parametrize(
    ("at", "kind", "time"),
    [
        ("2011-06-01T18:25:18-04:00", "timestamp", "at"),
        ("2011-06-01T18:25:18-04:00", "string", "at"),
        ("2011-06-01T22:25:18Z", "timestamp", "at"),
        ("2011-06-02T00:25:18", "timestamp", "at"),
        ("2011-06-02 00:25:18", "string", "at"),
        ("02.06.2011 00:25:18", "string", "to_timestamp(at, 'dd.MM.yyyy HH:mm:ss')"),
        ("02.06.2011 00:25:18", "string", "to_timestamp_ntz(at, 'dd.MM.yyyy HH:mm:ss')"),
        ("01.06.2011 18:25:18 -0400", "string", "to_timestamp(at, 'dd.MM.yyyy HH:mm:ss Z')"),
        ("2011-06-01 22:25:18", "string", "to_timestamp(concat(at, 'Z'))"),
        ("2011-06-01 18:25:18", "string", "to_timestamp(concat(at, ' America/New_York'))"),
        (int(TRUE.timestamp()), "bigint", "timestamp_seconds(at)"),
        (int(TRUE.timestamp()) * 1000, "bigint", "timestamp_millis(at)"),
    ],
)
def test_a_time_in_text_or_a_number_is_the_instant_that_it_names(
    tmp_path: Path, warm_engine: Engine, at: object, kind: str, time: str
) -> None:
    source = {**BERLIN, "format": "jsonl", "types": {**SOURCE["types"], "at": kind}}  # type: ignore[dict-item]
    shop = Shop(tmp_path, warm_engine, {**source, "columns": {**BERLIN["columns"], "time": time}})  # type: ignore[dict-item]
    shop.deliver(2, [json.dumps({**ROW, "at": at})], header=None)
    assert landed(shop) == [(TRUE, june(2))]


@pytest.mark.parametrize(
    ("value", "kind", "time", "declared"),
    [
        (TRUE, pa.timestamp("us", tz="UTC"), "at", {}),
        (TRUE, pa.timestamp("us", tz="UTC"), "at", {"at": "timestamp"}),
        (TRUE, pa.timestamp("ns", tz="America/New_York"), "at", {}),
        (TRUE, INT96, "at", {}),
        (WALL, pa.timestamp("us"), "at", {}),
        (WALL, pa.timestamp("us"), "at", {"at": "timestamp"}),
        (WALL, pa.timestamp("ns"), "at", {}),
        (WALL, pa.timestamp("ns"), "at", {"at": "timestamp"}),
        (TRUE.replace(tzinfo=None), pa.timestamp("us"), "to_timestamp(concat(cast(at as string), 'Z'))", {}),
        (WALL, pa.timestamp("us", tz="UTC"), "to_utc_timestamp(at, 'Europe/Berlin')", {}),
    ],
)
def test_a_time_in_parquet_is_an_instant_or_without_a_zone_as_its_type_says(
    tmp_path: Path, warm_engine: Engine, value: dt.datetime, kind: pa.DataType, time: str, declared: dict[str, str]
) -> None:
    columns = {**SOURCE["columns"], "time": time}  # type: ignore[dict-item]
    shop = Shop(tmp_path, warm_engine, {**BERLIN, "format": "parquet", "types": declared, "columns": columns})
    table = pa.table({name: [cell] for name, cell in ROW.items()} | {"at": pa.array([value], kind)})
    pq.write_table(table, shop.deliver(2, []), use_deprecated_int96_timestamps=kind is INT96)
    assert landed(shop) == [(TRUE, june(2))]


def test_a_nanosecond_time_in_an_hour_that_comes_twice_or_not_at_all_is_read_as_any_other(
    tmp_path: Path, warm_engine: Engine
) -> None:
    """On 31 October 2010 Berlin had 02:30 twice, and on 27 March 2011 not at all."""
    shop = Shop(tmp_path, warm_engine, {**BERLIN, "format": "parquet", "types": {}, "first_day": "2011-03-27"})
    times = [dt.datetime(2011, 3, 27, 2, 30), dt.datetime(2010, 10, 31, 2, 30)]
    rows = pa.table({name: [cell, cell] for name, cell in ROW.items()} | {"at": pa.array(times, pa.timestamp("ns"))})
    pq.write_table(rows, shop.deliver(2, []))
    shop.land(2)
    found = sorted(shop.lake.pandas("events")["event_time"])
    assert found == [dt.datetime(2010, 10, 31, 0, 30, tzinfo=dt.UTC), dt.datetime(2011, 3, 27, 1, 30, tzinfo=dt.UTC)]


def test_the_day_ends_at_the_companys_midnight_and_a_refusal_tells_the_time_with_its_zone(
    tmp_path: Path, warm_engine: Engine
) -> None:
    shop = Shop(tmp_path, warm_engine, {**BERLIN, "format": "jsonl"})
    times = ["2011-06-02T21:59:59Z", "2011-06-02T22:00:00Z"]
    shop.deliver(2, [json.dumps({**ROW, "at": at}) for at in times], header=None)
    told = shop.ingest(2)
    assert (told["kept"], told["quarantined"]) == (1, 1)
    assert told["refused"]["time is after its run date"]["values"] == {"2011-06-03 00:00:00+02:00": 1}
