"""The conditions by which rows are chosen, in the words of the log, of Arrow and of Spark.

A condition is (column, operator, value). Operators: = != < <= > >=, `in` with a list of values, and `between` with
the pair (lowest, highest), both included. All conditions must hold; NULL fulfils none.
"""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    import pyarrow.dataset as ds
    from pyspark.sql import Column

Filter = tuple[str, str, Any]

COMPARED = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def conditions(where: Sequence[Filter], schema: pa.Schema) -> list[Filter]:
    """The conditions without `between`, their values as what the column's type is in Python.

    Raises:
        ValueError: a column or an operator is not known, or a value is not of the column's type.
    """
    plain: list[Filter] = []
    for column, sign, value in where:
        if column not in schema.names:
            raise ValueError(f"no column {column!r} to choose rows by, there are {', '.join(schema.names)}")
        kind = schema.field(column).type
        if sign == "between":
            low, high = (_value(column, bound, kind) for bound in value)
            plain += [(column, ">=", low), (column, "<=", high)]
        elif sign == "in":
            plain.append((column, "in", [_value(column, one, kind) for one in value]))
        elif sign in COMPARED:
            plain.append((column, sign, _value(column, value, kind)))
        else:
            raise ValueError(f"operator {sign!r} on {column!r}: try {', '.join(COMPARED)}, in or between")
    return plain


def _value(column: str, value: Any, kind: pa.DataType) -> Any:
    """The value as a Python one of the type; a day may be written as text."""
    try:
        if kind == pa.date32() and isinstance(value, str):
            return dt.date.fromisoformat(value)
        found = pa.scalar(value).cast(kind).as_py()
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise ValueError(f"{column} is of type {kind}, which {value!r} is not: {error}") from None
    if found is None:
        raise ValueError(f"{column} is compared with None, which no row fulfils")
    return found


def arrow_expression(plain: Sequence[Filter], schema: pa.Schema) -> ds.Expression | None:
    """What `conditions` gave, for a pyarrow dataset; None for all rows."""
    import pyarrow.dataset as ds

    whole = None
    for column, sign, value in plain:
        field, kind = ds.field(column), schema.field(column).type
        term = field.isin(pa.array(value, kind)) if sign == "in" else COMPARED[sign](field, pa.scalar(value, kind))
        whole = term if whole is None else whole & term
    return whole


def spark_condition(condition: Filter) -> Column:
    """One of what `conditions` gave, for Spark."""
    from pyspark.sql import functions as F

    column, sign, value = condition
    name = F.col(f"`{column}`")
    if sign == "in":
        return name.isin(*[F.lit(one) for one in value]) if value else F.lit(False)
    compared: Column = COMPARED[sign](name, F.lit(value))
    return compared
