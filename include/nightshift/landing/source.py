"""The source's daily files as rows: the raw line, where it came from, and the source's own columns."""

from __future__ import annotations

import csv
import datetime as dt
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import fsspec

from nightshift.config.settings import Source
from nightshift.config.sql import columns_of
from nightshift.runs import StepError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

UNREADABLE = "_unreadable"  # a column: the line, where it cannot be taken apart
BYTE_ORDER_MARK = "\ufeff"  # some programs begin a file with it
ORIGIN = ("_run_date", "_file", "_raw")  # columns beside the source's own


@dataclass(frozen=True)
class DayFile:
    """The file of one run date."""

    run_date: dt.date
    address: str


def day_files(source: Source, folder: Path, days: Iterable[dt.date]) -> list[DayFile]:
    """The files of `days`, in their order. A day without a file is left out where the source says it may be.

    Args:
        source: says where a day's file lies; an address that is not a URL is relative to `folder`.

    Raises:
        StepError: a day has no file, and must have one.
    """
    found = []
    for day in days:
        address = source.address.format(run_date=day)
        if "://" not in address:
            address = str(folder / address)
        filesystem, path = fsspec.core.url_to_fs(address)
        if filesystem.exists(path):
            found.append(DayFile(day, address))
        elif source.when_missing == "stop":
            raise StepError(
                f"no file for {day}: {address}. Deliver it, or set source.when_missing: empty if days may have none."
            )
    return found


def needed_columns(source: Source) -> list[str]:
    """The source's columns that the configuration reads, sorted."""
    expressions = [value for value in source.columns.model_dump().values() if value is not None]
    expressions += [kind.when for kind in source.event_types]
    expressions += [*source.contract.values(), *source.item_attributes.values(), *source.user_attributes.values()]
    return sorted(set().union(*map(columns_of, expressions)))


def read_rows(spark: SparkSession, source: Source, files: Sequence[DayFile]) -> DataFrame:
    """All rows of `files`: the source's columns, and `_run_date`, `_file`, `_raw`, `_unreadable`.

    Raises:
        StepError: a file lacks a column that the configuration reads.
    """
    from pyspark.sql import functions as F

    parse = {"csv": _csv_rows, "jsonl": _jsonl_rows, "parquet": _parquet_rows}[source.format]
    rows = parse(spark, source, files)
    spellings = [(file.run_date, name) for file in files for name in _spellings(file.address)]
    days = spark.createDataFrame(spellings, "_run_date date, _file string")
    return rows.join(F.broadcast(days), "_file", "left")


def _csv_rows(spark: SparkSession, source: Source, files: Sequence[DayFile]) -> DataFrame:
    """One read for all files that share a header line. A record is a line, as in Spark's own reader by default."""
    from pyspark.sql import functions as F

    frames = []
    headed = sorted((_header(file.address), file.address) for file in files)
    for header, group in itertools.groupby(headed, key=lambda pair: pair[0]):
        addresses = [address for _, address in group]
        names = next(csv.reader([header], delimiter=source.delimiter)) if header else []
        _require_columns(source, names, addresses[0])
        options = {"sep": source.delimiter, "columnNameOfCorruptRecord": UNREADABLE, "mode": "PERMISSIVE"}
        lines = spark.read.text(addresses).select(
            F.regexp_replace("value", f"^{BYTE_ORDER_MARK}", "").alias("value"),
            F.col("_metadata.file_path").alias("_file"),
        )
        lines = lines.where((F.col("value") != "") & (F.col("value") != header))
        row = F.from_csv("value", F.lit(_ddl(source, names)), options)
        lines = lines.select("_file", F.col("value").alias("_raw"), row.alias("row"))
        frames.append(lines.select("_file", "_raw", "row.*"))
    return reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), frames)


def _jsonl_rows(spark: SparkSession, source: Source, files: Sequence[DayFile]) -> DataFrame:
    from pyspark.sql import functions as F

    lines = spark.read.text([file.address for file in files]).where(F.col("value") != "")
    schema = _ddl(source, needed_columns(source))
    row = F.from_json("value", F.lit(schema), {"columnNameOfCorruptRecord": UNREADABLE, "mode": "PERMISSIVE"})
    lines = lines.select(F.col("_metadata.file_path").alias("_file"), F.col("value").alias("_raw"), row.alias("row"))
    return lines.select("_file", "_raw", "row.*")


def _parquet_rows(spark: SparkSession, source: Source, files: Sequence[DayFile]) -> DataFrame:
    """A Parquet row has no line: its columns as JSON stand for it."""
    from pyspark.sql import functions as F

    frame = spark.read.option("mergeSchema", "true").parquet(*[file.address for file in files])
    _require_columns(source, frame.columns, files[0].address)
    raw = F.to_json(F.struct("*"), {"ignoreNullFields": "false"}).alias("_raw")
    readable = F.lit(None).cast("string").alias(UNREADABLE)
    return frame.select(F.col("_metadata.file_path").alias("_file"), raw, "*", readable)


def _ddl(source: Source, names: Sequence[str]) -> str:
    """The columns of a text format with their types; a line that does not fit them lands whole in `_unreadable`."""
    return ", ".join(f"`{name}` {source.types.get(name, 'string')}" for name in [*names, UNREADABLE])


def _header(address: str) -> str:
    """The first line of a file; empty where the file is."""
    with fsspec.open(address, "rt", compression="infer", encoding="utf-8-sig") as file:
        return str(file.readline()).rstrip("\r\n")


def _require_columns(source: Source, names: Sequence[str], address: str) -> None:
    missing = [name for name in needed_columns(source) if name not in names]
    if missing:
        raise StepError(
            f"{address} lacks the column {missing[0]!r} (it has {', '.join(names) or 'no header'}): "
            "correct the file, or the expressions under source: in the configuration"
        )


def _spellings(address: str) -> list[str]:
    """The names that Spark may report for a file: it writes file:/x or file:///x, and s3a:// for s3://."""
    scheme, _, path = address.rpartition("://")
    if scheme in ("", "file"):
        starts, path = ["file:", "file://"], str(Path(path).absolute())
    else:
        starts = sorted({f"{s}://" for s in (scheme, scheme.replace("s3", "s3a"), scheme.replace("s3a", "s3"))})
    legal = "/-_.!~*'()@:$&+,;="  # in a path of Java's URI, which leaves letters beyond ASCII as they are besides
    written = {path, quote(path, safe=legal), "".join(c if ord(c) > 127 else quote(c, safe=legal) for c in path)}
    return [start + name for start in starts for name in sorted(written)]


def count_rows(source: Source, file: DayFile) -> int:
    """The rows of a file, counted without the engine that reads them: not empty, and not the header."""
    if source.format == "parquet":
        import pyarrow.parquet as pq

        with fsspec.open(file.address, "rb") as parquet:
            return int(pq.read_metadata(parquet).num_rows)
    with fsspec.open(file.address, "rb", compression="infer") as text:
        lines = [line for line in text.read().replace(b"\r\n", b"\n").split(b"\n") if line]
    header = lines[0] if source.format == "csv" and lines else None
    return sum(line != header for line in lines)
