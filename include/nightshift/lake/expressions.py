"""Whether Spark can evaluate the configuration's expressions, before it is asked to over all rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from nightshift.runs import StepError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import DataType


def types_of(frame: DataFrame, expressions: Mapping[str, tuple[str, str]]) -> dict[str, DataType]:
    """The types of expressions over a frame, by the keys of their settings.

    Args:
        expressions: key -> the expression as it is in the configuration, and as it is evaluated.

    Raises:
        StepError: Spark cannot evaluate one over a row.
    """
    from pyspark.errors import AnalysisException
    from pyspark.logger import PySparkLogger
    from pyspark.sql import functions as F

    PySparkLogger.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)  # else it tells Java's stack besides
    row = F.col(f"`{frame.columns[0]}`")  # beside it an expression over many rows is none

    def analysed(some: Mapping[str, tuple[str, str]]) -> list[DataType]:
        columns = [F.expr(evaluated).alias(key) for key, (_, evaluated) in some.items()]
        return [field.dataType for field in frame.select(row, *columns).schema][1:]

    try:
        return dict(zip(expressions, analysed(expressions), strict=True))
    except AnalysisException:
        for key, (written, evaluated) in expressions.items():
            try:
                analysed({key: (written, evaluated)})
            except AnalysisException as error:
                told = " ".join(str(error).partition(" SQLSTATE:")[0].split())
                raise StepError(f"{key}: Spark cannot evaluate {written!r}: {told}") from None
        raise
