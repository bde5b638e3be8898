"""The events user by user, however many there are: DuckDB sorts them, on disk where memory does not hold them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from nightshift.features.snapshot import INTERACTIONS, in_order
from nightshift.lake import Lake
from nightshift.lake.duck import parquet

ROWS = 100_000  # of a frame, about; more where a user has more


@dataclass(frozen=True)
class Histories:
    """The same events as `load_interactions` gives, in frames of whole users, in order of user id.

    Attributes:
        version: of the table of events; None: the newest.
        scratch: a folder to sort in, which appears when it is needed and is empty afterwards.
        memory: for sorting, as DuckDB writes it: 1GB.
        threads: 0: all cores.
    """

    lake: Lake
    version: int | None
    scratch: Path
    memory: str = "1GB"
    threads: int = 0

    def __call__(self, until: dt.date) -> Iterator[pd.DataFrame]:
        """The positive events known by the end of `until`."""
        files = self.lake.files("events", [("run_date", "<=", until)], self.version)
        if not files:
            return
        query = f"select {', '.join(INTERACTIONS)} from {parquet(files)} where weight > 0 order by user_id"
        self.scratch.mkdir(parents=True, exist_ok=True)
        config: dict[str, Any] = {
            "memory_limit": self.memory,
            "temp_directory": str(self.scratch),
            "preserve_insertion_order": False,
        }
        if self.threads:
            config["threads"] = self.threads
        with duckdb.connect(config=config) as database:
            yield from _whole_users(database.sql(query).to_arrow_reader(max(ROWS // 4, 1)))


def _whole_users(batches: pa.RecordBatchReader) -> Iterator[pd.DataFrame]:
    waiting = batches.schema.empty_table()
    for batch in batches:
        waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch])])
        if len(waiting) >= ROWS:
            begun = pc.index(waiting["user_id"], waiting["user_id"][-1]).as_py()  # the last user may not be whole yet
            if begun:
                yield in_order(waiting.slice(0, begun).to_pandas())
                waiting = waiting.slice(begun).combine_chunks()
    if len(waiting):
        yield in_order(waiting.to_pandas())
