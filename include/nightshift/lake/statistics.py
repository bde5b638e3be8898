"""What the log says of a file: rows, nulls, lowest and highest value of each column, from the Parquet footer.

Readers skip files by these figures (Delta protocol, "Per-file Statistics"), so a bound that is not known to hold is
left out, and one that must be shortened is widened.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

LONGEST = 32  # characters of a text that a bound keeps, as in delta-spark
HIGHEST = "\U0010ffff"  # sorts after every other character, in UTF-8 too
MILLISECOND = dt.timedelta(milliseconds=1)


def statistics(metadata: pq.FileMetaData) -> str:
    """The `stats` of a file's add action, as JSON text."""
    stats: dict[str, Any] = {"numRecords": metadata.num_rows, "minValues": {}, "maxValues": {}, "nullCount": {}}
    plain = {field.name for field in metadata.schema.to_arrow_schema() if not pa.types.is_nested(field.type)}
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    for number in range(metadata.num_columns):
        name = metadata.schema.column(number).path
        if name not in plain:
            continue
        chunks = [group.column(number).statistics for group in groups]
        if all(chunk is not None and chunk.has_null_count for chunk in chunks):
            stats["nullCount"][name] = sum(chunk.null_count for chunk in chunks)
        low, high = _bounds(chunks)
        if low is not None and high is not None:
            stats["minValues"][name], stats["maxValues"][name] = low, high
    return json.dumps(stats, ensure_ascii=False, allow_nan=False)


def _bounds(chunks: Iterable[Any]) -> tuple[Any, Any]:
    """The lowest and highest value over the row groups in the log's form; None where one of them does not say."""
    lows, highs = [], []
    for chunk in chunks:
        if chunk is None or not (chunk.has_min_max or (chunk.has_null_count and chunk.num_values == 0)):
            return None, None
        if chunk.has_min_max:
            lows.append(chunk.min)
            highs.append(chunk.max)
    return (_low(min(lows)), _high(max(highs))) if lows else (None, None)


def _low(value: Any) -> Any:
    if isinstance(value, str):
        return value[:LONGEST]
    if isinstance(value, dt.datetime):
        return _instant(value)
    return _figure(value)


def _high(value: Any) -> Any:
    if isinstance(value, str):
        if len(value) <= LONGEST:
            return value
        return None if value[LONGEST] == HIGHEST else value[:LONGEST] + HIGHEST
    if isinstance(value, dt.datetime):
        whole = value.microsecond % 1000 == 0
        return _instant(value if whole else value + MILLISECOND)  # the text is cut to the millisecond below
    return _figure(value)


def _instant(value: dt.datetime) -> str:
    return value.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _figure(value: Any) -> Any:
    """A number or a day; None for what has no order in the log (boolean, bytes) or no form in JSON (infinity, NaN)."""
    if isinstance(value, bool | bytes):
        return None
    if isinstance(value, dt.date):
        return value.isoformat()
    return value if isinstance(value, int) or math.isfinite(value) else None
