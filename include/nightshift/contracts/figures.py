"""What the expectations of a suite ask of the rows, measured by DuckDB in one aggregate query.

The rows stay where they are, in Parquet files or a pandas frame: memory is bounded by a setting, and what does not fit
is spilled to the night's folder. Uniqueness takes a query of its own, which groups the rows by their key.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pandas as pd

from nightshift.contracts.expectations import Suite
from nightshift.contracts.questions import CannotMeasureError, Question, literal, name, question
from nightshift.lake.duck import parquet

Rows: TypeAlias = pd.DataFrame | Sequence[Path]

DIGITS = 12  # of a mean that is kept: the order of rows shows in those after them

Figures = dict[str, Any]  # GX's metric -> value


@contextmanager
def connection(scratch: Path, memory: str, threads: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB within bounds; what it spills lies in `scratch` and is gone afterwards.

    Args:
        memory: as DuckDB writes it: 1GB.
        threads: 0: all cores.
    """
    config: dict[str, Any] = {"memory_limit": memory, "temp_directory": str(scratch), "preserve_insertion_order": False}
    if threads:
        config["threads"] = threads
    scratch.parent.mkdir(parents=True, exist_ok=True)  # DuckDB makes the last folder only, and only when it spills
    with duckdb.connect(config=config) as con:
        try:
            yield con
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def put_beside(con: duckdb.DuckDBPyConnection, name: str, rows: Rows) -> None:
    """Put rows under a name, for the suites' columns to look into."""
    if isinstance(rows, pd.DataFrame):
        con.register(name, rows)
    else:
        con.execute(f"CREATE TEMP VIEW {name} AS FROM {parquet(rows)}")


def measure(
    con: duckdb.DuckDBPyConnection, suite: Suite, rows: Rows, parameters: Mapping[str, Any]
) -> list[Figures | str]:
    """The figures of every expectation of the suite, in its order, or why they could not be had.

    Args:
        rows: a frame, or the Parquet files that hold them; no file is no row.
        parameters: for `$name` in the suite's columns.
    """
    try:
        kinds = None if _no_files(rows) else _view(con, suite, rows, parameters)
    except (duckdb.Error, CannotMeasureError, OSError) as error:
        return [_first_line(error)] * len(suite.expectations)
    questions = [question(expectation, kinds or {}) for expectation in suite.expectations]
    if kinds is None:
        return [q if isinstance(q, str) else _figures_of_nothing(q) for q in questions]
    asked = {n: q for n, q in enumerate(questions) if isinstance(q, Question)}
    found = _ask_together(con, asked)
    return [found.get(n, q if isinstance(q, str) else {}) for n, q in enumerate(questions)]


def _view(con: duckdb.DuckDBPyConnection, suite: Suite, rows: Rows, parameters: Mapping[str, Any]) -> dict[str, str]:
    """Put the rows, with the suite's own columns, under the name `audited`. Returns the columns' types."""
    if isinstance(rows, pd.DataFrame):
        con.register("given", rows)
        source = "given"
    else:
        source = parquet(rows)
    extra = [f"{_with(sql, parameters)} AS {name(column)}" for column, sql in suite.columns.items()]
    con.execute(f"CREATE OR REPLACE TEMP VIEW audited AS SELECT {', '.join(['*', *extra])} FROM {source}")
    return {column: kind for column, kind, *_ in con.execute("DESCRIBE audited").fetchall()}


def _ask_together(con: duckdb.DuckDBPyConnection, asked: Mapping[int, Question]) -> dict[int, Figures | str]:
    """One query for all aggregates. If it fails, each expectation is asked alone, so that only the broken one is."""
    found: dict[int, Figures | str] = {}
    together = {n: q.aggregates for n, q in asked.items() if q.query is None}
    try:
        terms = [term for aggregates in together.values() for term in aggregates.values()]
        values = iter(_one_row(con, f"SELECT {', '.join(terms)} FROM audited") if terms else ())
        found = {n: {metric: next(values) for metric in aggregates} for n, aggregates in together.items()}
    except duckdb.Error:
        for n, aggregates in together.items():
            found[n] = _alone(con, aggregates, f"SELECT {', '.join(aggregates.values())} FROM audited")
    for n, one in asked.items():
        if one.query is not None:
            found[n] = _alone(con, one.aggregates, one.query)
    return {n: told if isinstance(told, str) else _plain(told) for n, told in found.items()}


def _alone(con: duckdb.DuckDBPyConnection, metrics: Mapping[str, str], query: str) -> Figures | str:
    try:
        return dict(zip(metrics, _one_row(con, query), strict=True))
    except duckdb.Error as error:
        return _first_line(error)


def _one_row(con: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    (row,) = con.execute(query).fetchall()  # all of them: a result that is not at its end keeps the connection
    return tuple(row)


def _plain(figures: Figures) -> Figures:
    """Floats to the digits that the order of rows does not show in; a list of examples is never missing."""
    rounded = {k: float(f"{v:.{DIGITS}g}") if isinstance(v, float) else v for k, v in figures.items()}
    return {k: [] if v is None and k.endswith("values") else v for k, v in rounded.items()}


def _figures_of_nothing(asked: Question) -> Figures:
    return {
        metric: 0 if metric.endswith("count") else [] if metric.endswith("values") else None
        for metric in asked.aggregates
    }


def _with(sql: str, parameters: Mapping[str, Any]) -> str:
    """An expression of a suite's own column with its `$parameters` put in."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in parameters:
            raise CannotMeasureError(f"the parameter {match[1]!r} was not given")
        return literal(parameters[match[1]])

    return re.sub(r"\$([a-z_]+)", value, sql)


def _no_files(rows: Rows) -> bool:
    return not isinstance(rows, pd.DataFrame) and not len(rows)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
