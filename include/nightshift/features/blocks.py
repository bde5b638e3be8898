"""The features in blocks of users, for what goes through all users and must not hold them all.

The users' rows are split once, in one pass that spills to disk, into files by block. A block is a snapshot like any
other, of its users alone; items, what is bought together, and how soon an item is bought again are whole in each.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from nightshift.features.snapshot import (
    Snapshot,
    Versions,
    chain_of,
    partition_rows,
    tables_of_items,
    tables_of_users,
    view_pairs,
)
from nightshift.lake import Lake
from nightshift.lake.duck import parquet, quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

OF_USERS = ("user_features", "user_item_features", "user_sequences")
GAPS = "gaps.parquet"
MEMORY = "1GB"  # of the pass that splits


@dataclass(frozen=True)
class Blocks:
    """Users in the order of their ids, `size` of them a block.

    Attributes:
        count: of blocks; at least one.
        folder: where the split rows lie; None where there is one block, which is read as it is.
    """

    lake: Lake
    chain: tuple[dt.date, ...]
    versions: Versions
    count: int
    folder: Path | None

    def __len__(self) -> int:
        return self.count

    def block(self, number: int) -> Snapshot:
        """The features of a block's users, and of all items.

        Raises:
            IndexError: there is no such block.
        """
        if not 0 <= number < self.count:
            raise IndexError(f"block {number} of {self.count}")
        of_users = tables_of_users(self.chain, lambda table, days: self._rows(table, days, number))
        return Snapshot(self.chain[0], **of_users, **self._of_items)

    @cached_property
    def _of_items(self) -> dict[str, Any]:
        """What is the same in all blocks: read once, and so is what others make of it made once."""
        tables: dict[str, Any] = tables_of_items(self.chain, lambda table, days: self._rows(table, days, 0))
        return {**tables, "gaps": pd.read_parquet(self.folder / GAPS) if self.folder else None, "shared": {}}

    @contextmanager
    def _rows(self, table: str, days: Sequence[dt.date], number: int) -> Iterator[DuckDBPyConnection]:
        if self.folder is None or table not in OF_USERS:
            with partition_rows(self.lake, table, days, self.versions) as rows:
                yield rows
            return
        import duckdb

        files = sorted((self.folder / table / f"block={number}").glob("*.parquet"))
        with duckdb.connect() as database:
            if files:
                database.execute(f"create view rows as from {parquet(files, by_folder=False)}")
            else:
                database.register("rows", self.lake.schema(table, self.versions.get(table)).empty_table())
            yield database


def split(lake: Lake, as_of: dt.date, versions: Versions, size: int, folder: Path) -> Blocks:
    """Split the features as of a day into blocks of `size` users, under `folder`, which is empty or not there.

    Raises:
        StepError: there is no state of that day.
    """
    chain = chain_of(lake, as_of, versions)
    with partition_rows(lake, "user_features", [as_of], versions) as rows:
        [(users,)] = rows.sql("select count(*) from rows").fetchall()
    count = max(-(-users // size), 1)
    if count == 1:
        return Blocks(lake, chain, versions, 1, None)
    (folder / "spill").mkdir(parents=True)
    numbers = folder / "numbers.parquet"
    for table in OF_USERS:
        with partition_rows(lake, table, [as_of] if table == "user_features" else chain, versions) as rows:
            _bound(rows, folder)
            if not numbers.exists():
                numbered = f"(row_number() over (order by user_id) - 1) // {size} as block"
                rows.execute(f"copy (select user_id, {numbered} from rows) to {quoted(numbers)}")
            of_block = f"select rows.*, block from rows join {parquet([numbers], by_folder=False)} using (user_id)"
            rows.execute(f"copy ({of_block}) to {quoted(folder / table)} (format parquet, partition_by (block))")
    with partition_rows(lake, "user_item_features", chain, versions) as rows:
        _bound(rows, folder)
        view_pairs(rows, chain)
        gaps = "select item_id, median(mean_gap_days) as gap_days from pairs where mean_gap_days is not null group by 1"
        rows.execute(f"copy ({gaps}) to {quoted(folder / GAPS)}")
    return Blocks(lake, chain, versions, count, folder)


def _bound(rows: DuckDBPyConnection, folder: Path) -> None:
    """Keep a pass within its memory; what is more lies on disk meanwhile."""
    rows.execute(f"set memory_limit = '{MEMORY}'; set temp_directory = {quoted(folder / 'spill')}")
    rows.execute("set preserve_insertion_order = false")
