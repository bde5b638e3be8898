"""Files of the lake in DuckDB's words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def quoted(text: str | Path) -> str:
    """A text, or a path, as an SQL literal."""
    return "'" + str(text).replace("'", "''") + "'"


def parquet(files: Sequence[str | Path], by_folder: bool = True) -> str:
    """The rows of Parquet files, as a table in SQL.

    Args:
        by_folder: with the columns that the folders name: `run_date=2011-11-30`.
    """
    listed = ", ".join(map(quoted, files))
    return f"read_parquet([{listed}], hive_partitioning = {str(by_folder).lower()})"
