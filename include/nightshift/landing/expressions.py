"""Whether the expressions under `source` can be evaluated over the files' columns, and are what events are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightshift.config.settings import Source
from nightshift.lake.expressions import types_of
from nightshift.runs import StepError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

EVALUATED = {"time": "cast(({}) as timestamp)", "quantity": "cast(({}) as double)", "price": "cast(({}) as double)"}
ONE_OF = {
    "array": "an element, like ({})[0], or all as one text, like array_join({}, ',')",
    "struct": "a field, like ({})['name']",
    "map": "a value, like ({})['key']",
}


def check_types(spark: SparkSession, source: Source) -> None:
    """Hold `source.types` against the types that Spark has.

    Raises:
        StepError: one is none.
    """
    types = {f"source.types.{name}": (kind, f"cast(null as {kind})") for name, kind in source.types.items()}
    types_of(spark.createDataFrame([], "nothing string"), types)


def check_expressions(rows: DataFrame, source: Source) -> None:
    """Hold the expressions under `source` against the columns of rows.

    Args:
        rows: as `read_rows` gives them.

    Raises:
        StepError: Spark cannot evaluate one, or it is a list or another collection where one value is asked for.
    """
    empty = rows.sparkSession.createDataFrame([], rows.schema)
    values = {
        f"source.{of}.{name}": (sql, EVALUATED.get(name, "{}").format(sql) if of == "columns" else sql)
        for of in ("columns", "item_attributes", "user_attributes")
        for name, sql in dict(getattr(source, of)).items()
        if sql is not None
    }
    conditions = {f"source.event_types.{at}.when": (kind.when, f"if({kind.when}, 1, 0)")
                  for at, kind in enumerate(source.event_types)}  # fmt: skip
    rules = {f"source.contract.{name}": (sql, f"cast(({sql}) as boolean)") for name, sql in source.contract.items()}
    types = types_of(empty, values | conditions | rules)
    for key, (sql, _) in values.items():
        kind = types[key].typeName()
        if kind in ONE_OF:
            instead = ONE_OF[kind].replace("({})", sql if sql.isidentifier() else f"({sql})").replace("{}", sql)
            raise StepError(
                f"{key}: {sql!r} is {types[key].simpleString()}, and one value is asked for: take {instead}"
            )
