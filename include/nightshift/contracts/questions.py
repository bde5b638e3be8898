"""What each type of expectation asks of the rows, as SQL; DuckDB measures it (see `figures`).

The figures go by the names of GX's metrics, and follow its engine for pandas: NaN is missing; what is missing breaks no
expectation on values; of a pair or a key, a row is not asked where all of it is missing. Examples are the smallest, so
that they do not depend on the order of rows.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nightshift.contracts.expectations import Expectation

EXAMPLES = 20


@dataclass
class Question:
    """What is to be measured for one expectation."""

    aggregates: dict[str, str] = field(default_factory=dict)  # metric -> an aggregate over the rows
    query: str | None = None  # or one row with the metrics as its columns


class CannotMeasureError(ValueError):
    """An expectation asks for what is not measured here."""


def question(expectation: Expectation, kinds: Mapping[str, str]) -> Question | str:
    """What to measure for an expectation, or why it cannot be."""
    if expectation.problem:
        return expectation.problem
    known = _QUESTIONS.get(expectation.type)
    if known is None:
        return f"{expectation.type} is not measured here; add it to nightshift/contracts/questions.py"
    ask, keys = known
    unknown = set(expectation.kwargs) - set(keys)
    if unknown:
        return f"{expectation.type} is not measured here with {', '.join(sorted(unknown))}"
    try:
        return ask(expectation.kwargs, kinds)
    except (CannotMeasureError, KeyError) as error:
        return f"{expectation.type}: {error}"


Kwargs = Mapping[str, Any]
Kinds = Mapping[str, str]  # column -> DuckDB's type
Ask = Callable[[Kwargs, Kinds], Question]


def _row_count(kwargs: Kwargs, kinds: Kinds) -> Question:
    return Question({"table.row_count": "count(*)"})


def _not_null(kwargs: Kwargs, kinds: Kinds) -> Question:
    gone = missing(kwargs["column"], kinds)
    return Question(
        {
            "table.row_count": "count(*)",
            "column_values.nonnull.unexpected_count": f"count(*) FILTER (WHERE {gone})",
            "column_values.nonnull.unexpected_values": "CAST(NULL AS VARCHAR[])",
        }
    )


def _null(kwargs: Kwargs, kinds: Kinds) -> Question:
    there = f"NOT ({missing(kwargs['column'], kinds)})"
    return Question(
        {
            "table.row_count": "count(*)",
            "column_values.null.unexpected_count": f"count(*) FILTER (WHERE {there})",
            "column_values.null.unexpected_values": f"min({name(kwargs['column'])}, {EXAMPLES}) FILTER (WHERE {there})",
        }
    )


def _on_values(metric: str, holds: Callable[[str, Kwargs], str]) -> Ask:
    """Of a condition on each value that is there."""

    def ask(kwargs: Kwargs, kinds: Kinds) -> Question:
        column = name(kwargs["column"])
        gone = missing(kwargs["column"], kinds)
        bad = f"NOT ({gone}) AND NOT ({holds(column, kwargs)})"
        aggregates = {
            "table.row_count": "count(*)",
            "column_values.nonnull.unexpected_count": f"count(*) FILTER (WHERE {gone})",
            f"{metric}.unexpected_count": f"count(*) FILTER (WHERE {bad})",
            f"{metric}.unexpected_values": f"min({column}, {EXAMPLES}) FILTER (WHERE {bad})",
        }
        return Question(aggregates)

    return ask


def _greater_pair(kwargs: Kwargs, kinds: Kinds) -> Question:
    """Whether one column is greater than another; of a row where both are missing nothing is asked."""
    if kwargs.get("ignore_row_if", "both_values_are_missing") != "both_values_are_missing":
        raise CannotMeasureError(f"ignore_row_if {kwargs['ignore_row_if']!r}")
    a, b = name(kwargs["column_A"]), name(kwargs["column_B"])
    gone_a, gone_b = missing(kwargs["column_A"], kinds), missing(kwargs["column_B"], kinds)
    asked = f"NOT (({gone_a}) AND ({gone_b}))"
    sign = ">=" if kwargs.get("or_equal") else ">"
    bad = f"{asked} AND (({gone_a}) OR ({gone_b}) OR NOT {a} {sign} {b})"
    metric = "column_pair_values.a_greater_than_b"
    return Question(
        {
            "table.row_count": "count(*)",
            f"{metric}.filtered_row_count": f"count(*) FILTER (WHERE {asked})",
            f"{metric}.unexpected_count": f"count(*) FILTER (WHERE {bad})",
            f"{metric}.unexpected_values": f"min([{a}, {b}], {EXAMPLES}) FILTER (WHERE {bad})",
        }
    )


def _unique(kwargs: Kwargs, kinds: Kinds) -> Question:
    column = name(kwargs["column"])
    gone = missing(kwargs["column"], kinds)
    grouped = f"SELECT {column} AS key, count(*) AS n, {gone} AS gone FROM audited GROUP BY ALL"
    metrics = {
        "table.row_count": "coalesce(sum(n), 0)::BIGINT",
        "column_values.nonnull.unexpected_count": "coalesce(sum(n) FILTER (WHERE gone), 0)::BIGINT",
        "column_values.unique.unexpected_count": "coalesce(sum(n) FILTER (WHERE n > 1 AND NOT gone), 0)::BIGINT",
        "column_values.unique.unexpected_values": f"min(key, {EXAMPLES}) FILTER (WHERE n > 1 AND NOT gone)",
    }
    return Question(metrics, f"SELECT {', '.join(metrics.values())} FROM ({grouped})")


def _unique_together(kwargs: Kwargs, kinds: Kinds) -> Question:
    """Whether no two rows share a key of several columns; a row where all are missing is not asked."""
    if kwargs.get("ignore_row_if", "all_values_are_missing") != "all_values_are_missing":
        raise CannotMeasureError(f"ignore_row_if {kwargs['ignore_row_if']!r}")
    columns = ", ".join(map(name, kwargs["column_list"]))
    gone = " AND ".join(f"({missing(column, kinds)})" for column in kwargs["column_list"])
    key = ", ".join(f"{literal(column)}: {name(column)}" for column in kwargs["column_list"])
    grouped = f"SELECT {columns}, count(*) AS n_, {gone} AS gone_ FROM audited GROUP BY ALL"
    metric = "compound_columns.unique"
    metrics = {
        "table.row_count": "coalesce(sum(n_), 0)::BIGINT",
        f"{metric}.filtered_row_count": "coalesce(sum(n_) FILTER (WHERE NOT gone_), 0)::BIGINT",
        f"{metric}.unexpected_count": "coalesce(sum(n_) FILTER (WHERE n_ > 1 AND NOT gone_), 0)::BIGINT",
        f"{metric}.unexpected_values": f"min({{{key}}}, {EXAMPLES}) FILTER (WHERE n_ > 1 AND NOT gone_)",
    }
    return Question(metrics, f"SELECT {', '.join(metrics.values())} FROM ({grouped})")


def _aggregate(metric: str, function: str, cast: str = "") -> Ask:
    """Of one number over the values that are there; of none it is missing."""

    def ask(kwargs: Kwargs, kinds: Kinds) -> Question:
        column = f"{name(kwargs['column'])}{cast}"
        return Question({metric: f"{function}({column}) FILTER (WHERE NOT ({missing(kwargs['column'], kinds)}))"})

    return ask


def _non_null_proportion(kwargs: Kwargs, kinds: Kinds) -> Question:
    there = f"count(*) FILTER (WHERE NOT ({missing(kwargs['column'], kinds)}))"
    return Question({"column.non_null_proportion": f"{there} / nullif(count(*), 0)"})


def _within(value: str, kwargs: Kwargs) -> str:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    terms = [f"{value} {'>' if kwargs.get('strict_min') else '>='} {literal(low)}"] if low is not None else []
    terms += [f"{value} {'<' if kwargs.get('strict_max') else '<='} {literal(high)}"] if high is not None else []
    if not terms:
        raise CannotMeasureError("neither min_value nor max_value is given")
    return " AND ".join(terms)


def _in_set(column: str, kwargs: Kwargs) -> str:
    return f"{column} IN ({', '.join(map(literal, kwargs['value_set']))})" if kwargs["value_set"] else "false"


RANGE = ("column", "min_value", "max_value", "strict_min", "strict_max")
VALUES = ("column", "mostly")

_QUESTIONS: dict[str, tuple[Ask, tuple[str, ...]]] = {
    "expect_table_row_count_to_be_between": (_row_count, RANGE[1:]),
    "expect_column_values_to_not_be_null": (_not_null, VALUES),
    "expect_column_values_to_be_null": (_null, VALUES),
    "expect_column_values_to_be_between": (_on_values("column_values.between", _within), (*RANGE, "mostly")),
    "expect_column_values_to_be_in_set": (_on_values("column_values.in_set", _in_set), (*VALUES, "value_set")),
    "expect_column_value_lengths_to_be_between": (
        _on_values("column_values.value_length.between", lambda c, k: _within(f"length({c})", k)),
        (*RANGE, "mostly"),
    ),
    "expect_column_values_to_be_unique": (_unique, VALUES),
    "expect_compound_columns_to_be_unique": (_unique_together, ("column_list", "ignore_row_if", "mostly")),
    "expect_column_pair_values_a_to_be_greater_than_b": (
        _greater_pair,
        ("column_A", "column_B", "or_equal", "ignore_row_if", "mostly"),
    ),
    "expect_column_mean_to_be_between": (_aggregate("column.mean", "avg", "::DOUBLE"), RANGE),
    "expect_column_min_to_be_between": (_aggregate("column.min", "min"), RANGE),
    "expect_column_max_to_be_between": (_aggregate("column.max", "max"), RANGE),
    "expect_column_sum_to_be_between": (_aggregate("column.sum", "sum", "::DOUBLE"), RANGE),
    "expect_column_proportion_of_non_null_values_to_be_between": (_non_null_proportion, RANGE),
}


def missing(column: str, kinds: Kinds) -> str:
    """The condition that a column has no value: NULL, and of floats NaN."""
    test = f"{name(column)} IS NULL"
    return f"{test} OR isnan({name(column)})" if kinds.get(column) in ("DOUBLE", "FLOAT") else test


def name(column: str) -> str:
    """A column's name, quoted."""
    return '"' + str(column).replace('"', '""') + '"'


def literal(value: Any) -> str:
    """A Python value as SQL.

    Raises:
        CannotMeasureError: it is of a kind that has none here.
    """
    if value is None or isinstance(value, bool):
        return {None: "NULL", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"CAST('{value!r}' AS DOUBLE)"
    if isinstance(value, dt.datetime):
        return f"CAST('{value.isoformat()}' AS {'TIMESTAMPTZ' if value.tzinfo else 'TIMESTAMP'})"
    if isinstance(value, dt.date):
        return f"CAST('{value.isoformat()}' AS DATE)"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    raise CannotMeasureError(f"{value!r} is a {type(value).__name__}, of which there is no SQL here")
