"""A syntax check of the expressions in the configuration, without starting Spark."""

import logging
import re

import sqlglot
from sqlglot.errors import SqlglotError

logging.getLogger("sqlglot").setLevel(logging.ERROR)


def check_sql(expression: str) -> str:
    """Return the expression.

    Raises:
        ValueError: it is not one Spark SQL expression.
    """
    try:
        _parsed(expression)
    except SqlglotError as error:
        reason = str(error).splitlines()[0].split(". Line")[0]
        raise ValueError(f"{expression!r} is not a Spark SQL expression: {reason}") from None
    return expression


def check_source_sql(expression: str) -> str:
    """Return the expression.

    Raises:
        ValueError: it would not read the files' columns as it means to.
    """
    for column in _parsed(expression).find_all(sqlglot.exp.Column):
        first, *rest = [part.name for part in column.parts]
        if rest:
            instead = first + "".join(f"['{name}']" for name in rest)
            raise ValueError(f"{expression!r}: write {instead} for {'.'.join([first, *rest])}")
    if re.search(r"\bfrom_utc_timestamp\s*\(", expression, re.IGNORECASE):
        raise ValueError(
            f"{expression!r}: leave from_utc_timestamp out: a time has its day and hour in source.timezone"
        )
    if any(call.args.get("source_tz") for call in _parsed(expression).find_all(sqlglot.exp.ConvertTimezone)):
        raise ValueError(f"{expression!r}: leave the first zone of convert_timezone out: a time has its own")
    return expression


def check_type(name: str) -> str:
    """Return the name.

    Raises:
        ValueError: it is not a Spark SQL type.
    """
    try:
        sqlglot.exp.DataType.build(name, dialect="spark")
    except SqlglotError:
        raise ValueError(f"{name!r} is not a Spark SQL type, try int, double, date or timestamp") from None
    return name


def columns_of(expression: str) -> set[str]:
    """The column names that an expression reads."""
    return {column.name for column in _parsed(expression).find_all(sqlglot.exp.Column)}


def _parsed(expression: str) -> sqlglot.exp.Expr:
    return sqlglot.parse_one(f"SELECT {expression} AS x FROM t", read="spark")
