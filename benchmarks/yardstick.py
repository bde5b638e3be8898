"""The same features by DuckDB from all events, as a process of its own: `python -m benchmarks.yardstick`.

Its arguments are a JSON object on standard input; features.py calls it. Results are left as Parquet files in a folder.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path
from typing import Any

import duckdb

from nightshift.config import Settings, load
from nightshift.lake import Lake

TABLES = ("user_features", "item_features", "pairs", "sequences", "cooccurrence")


def compute(lake: Lake, as_of: dt.date, settings: Settings, out: Path, cores: int, memory: str) -> None:
    """Write each of `TABLES` into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as database:
        database.execute(f"set threads = {cores}; set memory_limit = '{memory}'; set temp_directory = '{out}/spill'")
        database.execute("set preserve_insertion_order = false; set integer_division = false; set timezone = 'UTC'")
        files = lake.open("events").file_uris([("run_date", "<=", as_of.isoformat())])
        database.execute(
            "create view events as from read_parquet(?, hive_partitioning = true)".replace("?", str(files))
        )
        for statement in sql(as_of, settings).split(";"):
            if statement.strip():
                database.execute(statement)
        for table in TABLES:
            database.execute(f"copy {table} to '{out}/{table}.parquet'")


def sql(as_of: dt.date, settings: Settings) -> str:
    """features.sql for one day and these settings."""
    features = settings.features
    windows = sorted(set(features.windows_days))
    values: dict[str, Any] = {
        "$as_of": f"date '{as_of}'",
        "$first_day": f"date '{settings.source.first_day}'",
        "$window": features.cooccurrence_days,
        "$half_life": features.half_life_days,
        "$largest_basket": features.largest_basket,
        "$neighbours": features.neighbours,
        "$length": features.sequence_length,
        "$user_windows": "".join(
            f"coalesce(sum(events) filter (where age < {days}), 0)::bigint as events_{days}d, " for days in windows
        ),
        "$item_windows": "".join(f"count_if(age < {days}) as events_{days}d, " for days in windows),
    }
    text = (Path(__file__).parent / "features.sql").read_text(encoding="utf-8")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    for name, value in values.items():
        text = text.replace(name, str(value))
    return text


if __name__ == "__main__":
    given = json.load(sys.stdin)
    compute(
        Lake(Path(given["lake"])),
        dt.date.fromisoformat(given["as_of"]),
        load(given["config"]),
        Path(given["out"]),
        given["cores"],
        given["memory"],
    )
