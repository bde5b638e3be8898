"""Batches of lists as a file: Parquet, CSV or JSON lines, by its suffix; there whole, or not at all."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from nightshift.publishing.storage import StoreError
from nightshift.runs.durable import replacing

if TYPE_CHECKING:
    import pyarrow as pa


def write(path: Path, batches: Iterable[pa.RecordBatch]) -> int:
    """Write the batches to a file whose suffix is one of `WRITERS`. Returns how many rows there are.

    Raises:
        StoreError: there are none.
    """
    batches = iter(batches)
    first = next(batches, None)
    if first is None:
        raise StoreError("the run has no user's list: there is nothing to write")
    rows = 0
    with replacing(path) as partial, WRITERS[path.suffix](partial, first.schema) as writer:
        for batch in itertools.chain([first], batches):
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _parquet(path: Path, schema: pa.Schema) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetWriter(path, schema, compression="zstd")


def _csv(path: Path, schema: pa.Schema) -> Any:
    from pyarrow import csv

    return csv.CSVWriter(path, schema)


class _JsonLines:
    def __init__(self, path: Path, _: pa.Schema) -> None:
        self._file = open(path, "wb")  # noqa: SIM115

    def write_batch(self, batch: pa.RecordBatch) -> None:
        self._file.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in batch.to_pylist())

    def __enter__(self) -> _JsonLines:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


WRITERS: dict[str, Callable[[Path, pa.Schema], Any]] = {".parquet": _parquet, ".csv": _csv, ".jsonl": _JsonLines}
