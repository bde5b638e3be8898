"""What a day's staged rows add up to: the identity of its events, and the figures that the gate holds against others.

Sums run over whole numbers, so that neither the order of rows nor their files can show.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from nightshift.config.settings import Source
from nightshift.lake import Lake, Staged
from nightshift.landing.columns import user_columns
from nightshift.landing.encoding import GARBLED
from nightshift.runs import day_end

PARTS = 10_000  # of a price's and a quantity's unit that are told apart in a mean
LARGEST = 1e12  # a larger price or quantity counts as this in a mean
EXAMPLES = 5  # values told of a reason
RUN_DATE = ds.partitioning(pa.schema([("run_date", pa.date32())]), flavor="hive")


def _parts(column: str) -> str:
    """A number without its sign, in whole parts; none where there is none, which `least` alone would pass over."""
    return f"CASE WHEN {column} IS NOT NULL THEN cast(round(least(abs({column}), {LARGEST}) * {PARTS}) AS bigint) END"


BY_DAY = f"""
SELECT run_date,
       count(*) AS kept,
       coalesce(sum(md5_number_lower(event_id)), 0) AS sum_of_ids,
       count(*) FILTER (event_date < run_date) AS late,
       sum({_parts("price")}) / {PARTS} / count(price) AS mean_price,
       sum({_parts("quantity")}) / {PARTS} / count(quantity) AS mean_quantity,
       sum(epoch_us(event_time) - midnight) FILTER (event_date = run_date) / 3600e6
           / count(*) FILTER (event_date = run_date) AS mean_hour
FROM rows JOIN (SELECT unnest($days) AS run_date, unnest($midnights) AS midnight) USING (run_date)
GROUP BY run_date
"""


def day_figures(lake: Lake, events: Staged, source: Source) -> dict[dt.date, dict[str, Any]]:
    """For each day of a stage of `events` what `ingest_counts_table` says of its kept events.

    `content` is the number of events, and the sum modulo 2**64 of the last eight bytes of their ids' MD5, each read as
    a number with its least byte first.
    """
    days = [dt.date.fromisoformat(day) for day in events.run_dates]
    midnights = [day_end(day - dt.timedelta(days=1), source.timezone) for day in days]
    values = {"days": days, "midnights": [int(midnight.timestamp()) * 1_000_000 for midnight in midnights]}
    found = {row.pop("run_date"): row for row in _ask(BY_DAY, lake.staged_files(events), values)}
    figures = {}
    for day in days:
        row = found.get(day, {"kept": 0, "sum_of_ids": 0, "late": 0})
        content = f"{row.pop('kept')}-{row.pop('sum_of_ids') % 2**64:016x}"
        figures[day] = {"mean_price": None, "mean_quantity": None, "mean_hour": None, **row, "content": content}
    return figures


def dates_of(lake: Lake, staged: Sequence[Staged]) -> dict[dt.date, Counter[dt.date]]:
    """For each run date the business days of its rows, as far as they have one: events and refused rows together."""
    found = {dt.date.fromisoformat(day): Counter[dt.date]() for stage in staged for day in stage.run_dates}
    query = "SELECT run_date, event_date, count(*) AS n FROM rows WHERE event_date IS NOT NULL GROUP BY ALL"
    for stage in staged:
        for row in _ask(query, lake.staged_files(stage)):
            found[row["run_date"]][row["event_date"]] += row["n"]
    return found


def refusals(lake: Lake, quarantine: Staged, source: Source) -> dict[str, dict[str, Any]]:
    """Refused rows by reason: how many, and the commonest of the values it is about with their numbers of rows.

    Values that say who acted are left out: they are in the table alone.
    """
    query = f"""
        WITH values AS (SELECT reason, value, count(*) AS n FROM rows GROUP BY ALL),
             ranked AS (SELECT *, row_number() OVER (PARTITION BY reason ORDER BY value IS NULL, n DESC, value) AS place
                        FROM values)
        SELECT reason, sum(n)::bigint AS n, list({{'value': left(value, 80), 'n': n}} ORDER BY place)
               FILTER (value IS NOT NULL AND place <= {EXAMPLES}) AS examples
        FROM ranked GROUP BY reason ORDER BY n DESC, reason"""
    found = {}
    for row in _ask(query, lake.staged_files(quarantine)):
        about = row["reason"].split(" ")[0]
        told = [] if about in ("user_id", "basket_id", *user_columns(source)) else row["examples"] or []
        found[row["reason"]] = {"rows": row["n"], "values": {example["value"]: example["n"] for example in told}}
    return found


def garbled_attributes(lake: Lake, events: Staged, source: Source) -> dict[str, int]:
    """Attributes that hold garbled text, and in how many kept events."""
    attributes = [*source.item_attributes, *source.user_attributes]
    files = lake.staged_files(events)
    if not files or not attributes:
        return {}
    counts = [
        f"""count(*) FILTER (regexp_matches("{name.replace('"', '""')}", $garbled)) AS a{at}"""
        for at, name in enumerate(attributes)
    ]
    found = _ask(f"SELECT {', '.join(counts)} FROM rows", files, {"garbled": GARBLED})[0].values()
    return {name: rows for name, rows in zip(attributes, found, strict=True) if rows}


def _ask(query: str, files: Sequence[Path], values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Rows of a query over staged files, which it calls `rows`, each with its folder's run date. Of no file, none."""
    if not files:
        return []
    rows = ds.dataset([str(file) for file in files], format="parquet", partitioning=RUN_DATE)
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        answer = connection.execute(query, values or {})
        names = [column[0] for column in answer.description]
        return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
