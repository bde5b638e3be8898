"""A syntax check of the expressions in the configuration, without starting Spark."""

import logging

import sqlglot
from sqlglot.errors import SqlglotError

logging.getLogger("sqlglot").setLevel(logging.ERROR)


def check_sql(expression: str) -> str:
    """Return the expression.

    Raises:
        ValueError: it is not one Spark SQL expression.
    """
    try:
        sqlglot.parse_one(f"SELECT {expression} AS x FROM t", read="spark")
    except SqlglotError as error:
        reason = str(error).splitlines()[0].split(". Line")[0]
        raise ValueError(f"{expression!r} is not a Spark SQL expression: {reason}") from None
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
    parsed = sqlglot.parse_one(f"SELECT {expression} AS x FROM t", read="spark")
    return {column.name for column in parsed.find_all(sqlglot.exp.Column)}
