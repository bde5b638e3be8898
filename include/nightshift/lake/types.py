"""A column's type in Spark's words and in Arrow's: `array<struct<item_id:string,n:bigint>>` is both."""

from __future__ import annotations

import functools

import pyarrow as pa
from sqlglot import exp
from sqlglot.errors import SqlglotError

ARROW_TYPES = {
    "string": pa.string(),
    "double": pa.float64(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
SPARK_NAMES = {kind: name for name, kind in ARROW_TYPES.items()}


@functools.cache
def arrow_type(sql: str) -> pa.DataType:
    """The Arrow type of a Spark SQL type: a plain one, an array, a struct, or any nesting of these.

    Raises:
        ValueError: it is none that a table may hold.
    """
    try:
        return _arrow(exp.DataType.build(sql, dialect="spark"))
    except (SqlglotError, KeyError, AttributeError, ValueError):
        allowed = ", ".join(ARROW_TYPES)
        raise ValueError(f"type {sql!r}: a column is {allowed}, array<...> or struct<name:type,...>") from None


def _arrow(parsed: exp.DataType) -> pa.DataType:
    if parsed.this == exp.DataType.Type.ARRAY:
        (element,) = parsed.expressions
        return pa.list_(_arrow(element))
    if parsed.this == exp.DataType.Type.STRUCT:
        return pa.struct([pa.field(field.name, _arrow(field.args["kind"])) for field in parsed.expressions])
    return ARROW_TYPES[parsed.sql(dialect="spark").lower()]


def spark_type(kind: pa.DataType) -> str:
    """The type as Spark's `simpleString` gives it; Arrow's own name where no table may hold it."""
    if pa.types.is_list(kind):
        return f"array<{spark_type(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{','.join(f'{field.name}:{spark_type(field.type)}' for field in kind)}>"
    return SPARK_NAMES.get(kind, str(kind))


def spark_ddl(sql: str) -> str:
    """The declared type as Spark's `simpleString` gives it, however it was spaced."""
    return spark_type(arrow_type(sql))
