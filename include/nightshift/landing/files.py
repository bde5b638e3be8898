"""A look at a day's file before Spark reads it: whole, of its format, with rows, and with the columns that are read.

What is wrong is said here, of the file and with what to do, and not from deep inside the engine.
"""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import gzip
import io
import json
import lzma
import os
import posixpath
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from nightshift.config.settings import Source
from nightshift.runs import StepError

BYTE_ORDER_MARK = "\ufeff"  # some programs begin a file with it
MARK = BYTE_ORDER_MARK.encode()
SPARK_READS = (None, "gzip", "bz2", "zstd")  # compressions of text
SAMPLE = 1000  # lines of JSON whose keys are taken for the file's columns


@dataclass(frozen=True)
class DayFile:
    """The file of one run date."""

    run_date: dt.date
    address: str


@dataclass(frozen=True)
class Look:
    """What a look at a file shows.

    Attributes:
        rows: not empty, and not the header.
        columns: of JSON lines the keys of the first 1,000.
        header: of a CSV file, its first line.
        types: of a Parquet file, the columns' types, as Arrow names them.
    """

    file: DayFile
    rows: int
    columns: tuple[str, ...]
    header: str = ""
    types: tuple[str, ...] = ()


def day_files(source: Source, folder: Path, days: Iterable[dt.date]) -> tuple[list[DayFile], list[DayFile]]:
    """The files of `days`, in their order: those that are there, and those that are not.

    Args:
        source: says where a day's file lies; an address that is not a URL is relative to `folder`.
    """
    found: list[DayFile] = []
    absent: list[DayFile] = []
    for day in days:
        address = source.address.format(run_date=day)
        address = _as_spark_names_it(address if "://" in address else str(folder / address))
        filesystem, path = fsspec.core.url_to_fs(address)
        (found if filesystem.exists(path) else absent).append(DayFile(day, address))
    return found, absent


def _as_spark_names_it(address: str) -> str:
    """Without `.` and `..`, which Hadoop takes out by the letters alone: here locally as the system follows them."""
    scheme, sep, path = address.rpartition("://")
    if {".", ".."} & {*path.split("/")}:
        path = os.path.realpath(path) if scheme in ("", "file") else posixpath.normpath(path)
    return scheme + sep + path


def look_at(source: Source, file: DayFile) -> Look:
    """Read a file once, without the engine.

    Raises:
        StepError: it is empty, broken off or of another format, or has no row where every day must have some.
    """
    look = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}[source.format](source, file)
    if look.rows == 0 and source.when_missing == "stop":
        raise StepError(
            f"{file.address} has no rows: deliver the day's events, or set source.when_missing: empty if a day may "
            "have none"
        )
    return look


def _csv(source: Source, file: DayFile) -> Look:
    rows, first = 0, b""
    with _lines(file) as lines:
        for line in lines:
            if not first:
                first = line
            elif line != first:
                rows += 1
    if not first:
        raise StepError(
            f"{file.address} is empty, it has no header: an upload that broke off looks so. Deliver it again; for a "
            "day without events deliver the header alone, or no file, with source.when_missing: empty"
        )
    header = _header_text(file, first)
    return Look(file, rows, tuple(next(csv.reader([header], delimiter=source.delimiter))), header)


def _header_text(file: DayFile, line: bytes) -> str:
    try:
        header = line.decode("utf-8")
    except UnicodeDecodeError:
        raise StepError(
            f"{file.address}: its header {line[:60]!r} is not UTF-8: write the file as UTF-8 and deliver it again"
        ) from None
    if "\r" in header:
        raise StepError(f"{file.address}: its lines end with \\r alone: write them with \\n or \\r\\n")
    return header


def _jsonl(source: Source, file: DayFile) -> Look:
    rows, keys = 0, dict[str, None]()
    with _lines(file) as lines:
        for line in lines:
            rows += 1
            if rows <= SAMPLE:
                keys |= dict.fromkeys(_keys(line))
    return Look(file, rows, tuple(keys))


def _keys(line: bytes) -> Iterable[str]:
    """The keys of a line of JSON; of one that is no object, none: it will be quarantined."""
    with contextlib.suppress(ValueError):
        found: Any = json.loads(line)
        if isinstance(found, dict):
            return list(found)
    return []


def _parquet(source: Source, file: DayFile) -> Look:
    with fsspec.open(file.address, "rb") as opened:
        try:
            metadata = pq.read_metadata(opened)
            schema = metadata.schema.to_arrow_schema()
        except (pa.ArrowInvalid, OSError) as error:
            raise StepError(
                f"{file.address} is no whole Parquet file ({str(error).splitlines()[0]}): an upload that broke off "
                "looks so. Deliver it again"
            ) from None
    return Look(file, metadata.num_rows, tuple(schema.names), types=tuple(str(kind) for kind in schema.types))


@contextlib.contextmanager
def _lines(file: DayFile) -> Iterator[Iterator[bytes]]:
    """The lines of a text file that are not empty, without what ends them. A lone \\r ends no line.

    Raises:
        StepError: what it is compressed by cannot be undone, or cannot be undone by Spark.
    """
    kind = fsspec.utils.infer_compression(file.address)
    if kind not in SPARK_READS:
        raise StepError(f"{file.address}: Spark reads no {kind}: deliver it as .gz, .bz2, .zst or uncompressed")
    try:
        with fsspec.open(file.address, "rb", compression=kind) as opened:
            yield filter(None, map(_bare, io.BufferedReader(opened)))
    except EOFError:
        raise StepError(
            f"{file.address} breaks off inside its {kind} stream: an upload that broke off looks so. Deliver it again"
        ) from None
    except (gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise StepError(f"{file.address} is no sound {kind} file ({error}): deliver it again") from None


def _bare(line: bytes) -> bytes:
    """As `source.text_lines` has it in Spark."""
    line = line.rstrip(b"\n").rstrip(b"\r")
    while line.startswith(MARK):
        line = line[len(MARK) :]
    return line
