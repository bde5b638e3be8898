"""Parquet files, a part at a time: whether people are in one, and its rows in the form that a table has now."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nightshift.erasure.columns import is_of_items, occurrences, telling
from nightshift.erasure.people import People
from nightshift.erasure.texts import Count

ROWS = 100_000  # that are looked at together


def is_readable(file: Path) -> bool:
    """Whether a file is whole; a killed writer leaves it without its end."""
    try:
        pq.read_metadata(file)
    except (pa.ArrowInvalid, OSError):
        return False
    return True


def count_in(file: Path, people: People) -> Count:
    """How often they are in the columns that could hold them; only these are read.

    Raises:
        pyarrow.ArrowInvalid, OSError: it cannot be read.
    """
    count = Count()
    with pq.ParquetFile(file) as opened:
        schema = opened.schema_arrow
        names = telling(schema)
        for batch in opened.iter_batches(ROWS, columns=names) if names else ():
            count += occurrences(pa.Table.from_batches([batch]), people, is_of_items(schema))
    return count


def parquet_files(folder: Path) -> list[Path]:
    """All Parquet files below a folder, those that a killed writer left unfinished included (`x.parquet#1`)."""
    return sorted(file for file in folder.rglob("*.parquet*") if file.is_file() and not file.name.endswith(".crc"))


def conformed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows of an older file under a schema: what they lack is NULL, what it does not have is left out.

    Raises:
        pyarrow.ArrowInvalid: a value cannot be of its column's new type.
    """
    columns = []
    for field in schema:
        if field.name not in rows.column_names:
            columns.append(pa.nulls(rows.num_rows, field.type))
        elif rows.schema.field(field.name).type == field.type:
            columns.append(rows[field.name])
        elif pa.types.is_nested(field.type):
            columns.append(pa.array(rows[field.name].to_pylist(), field.type))  # a part that is missing is NULL
        else:
            columns.append(rows[field.name].cast(field.type))
    return pa.table(columns, schema=schema)
