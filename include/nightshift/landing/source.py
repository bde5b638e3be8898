"""The source's rows: the source's own columns, the raw line, where it came from, and why it cannot be taken apart.

A record of a text file is one line, as in Spark's own reader: a line ends with \\n or \\r\\n, and a quoted text that
goes over the end of its line makes its lines unreadable.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from functools import reduce
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from nightshift.config.settings import Source
from nightshift.landing.columns import needed_columns
from nightshift.landing.files import BYTE_ORDER_MARK, Look
from nightshift.runs import StepError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

UNREADABLE = "_unreadable"  # a column: why the row cannot be taken apart
ORIGIN = ("_run_date", "_file", "_header", "_raw")  # columns beside the source's own
PROBLEM = (UNREADABLE, "_value")
CORRUPT = "_corrupt"
WHOLE = ("tinyint", "byte", "smallint", "short", "int", "integer", "bigint", "long")


def read_rows(spark: SparkSession, source: Source, looks: Sequence[Look]) -> DataFrame:
    """All rows of these files: the columns that the configuration reads, those of `ORIGIN` and those of `PROBLEM`.

    Args:
        looks: at least one, as `look_at` gives them.
    """
    if source.format == "parquet":
        return _parquet_rows(spark, source, looks)
    frames = []
    for header, group in groupby(sorted(looks, key=lambda look: look.header), key=lambda look: look.header):
        some = list(group)
        lines = text_lines(spark, [look.file.address for look in some])
        frames.append(rows_of_lines(source, _dated(spark, lines, some), header))
    return _union(frames)


def rows_of_lines(source: Source, lines: DataFrame, header: str) -> DataFrame:
    """Rows from raw lines that are of the same header.

    Args:
        lines: `_run_date`, `_file` and `_raw`; a Parquet row's is JSON.
        header: empty, but for CSV.
    """
    from pyspark.sql import functions as F

    lines = lines.withColumn("_header", F.lit(header or None).cast("string"))
    if source.format != "csv":
        return _parsed(source, lines, needed_columns(source), F.from_json, {})
    names = next(csv.reader([header], delimiter=source.delimiter))
    rows = _parsed(source, lines.where(F.col("_raw") != header), names, F.from_csv, {"sep": source.delimiter})
    open_quote = F.col("_raw").rlike(_open_quote(source.delimiter))
    reason = F.when(open_quote, "quote is not closed: a record is one line").otherwise(F.col(UNREADABLE))
    return rows.withColumn(UNREADABLE, reason)


def text_lines(spark: SparkSession, addresses: Sequence[str]) -> DataFrame:
    """`_file` and `_raw` of each line that is not empty, as `files` counts them. What is no UTF-8 becomes U+FFFD."""
    from pyspark.sql import functions as F

    text = F.rtrim(F.make_valid_utf8("value"), F.lit("\r"))
    lines = spark.read.option("lineSep", "\n").text(list(addresses))
    return lines.select(
        F.col("_metadata.file_path").alias("_file"), F.ltrim(text, F.lit(BYTE_ORDER_MARK)).alias("_raw")
    ).where("_raw <> ''")


def _parsed(
    source: Source, lines: DataFrame, names: Sequence[str], parse: object, options: dict[str, str]
) -> DataFrame:
    """Take lines apart, with their types; where that fails, as text, to tell which value it was."""
    from pyspark.sql import functions as F

    options = {**options, "columnNameOfCorruptRecord": CORRUPT, "mode": "PERMISSIVE"}

    def taken_apart(types: dict[str, str]) -> Column:
        ddl = ", ".join(f"`{name}` {types.get(name, 'string')}" for name in [*names, CORRUPT])
        return parse("_raw", F.lit(ddl), options)  # type: ignore[operator, no-any-return]

    rows = lines.withColumn("row", taken_apart(dict(source.types)))
    rows = rows.withColumn("text", F.when(F.col("row")[CORRUPT].isNotNull(), taken_apart({})))
    needed = [name for name in needed_columns(source) if name in names]
    typed = [name for name in needed if name in source.types]
    misfits = [
        F.when(
            F.col("row")[name].isNull() & (F.col("text")[name] != ""),
            _problem(f"{name} is not {source.types[name]}", F.col("text")[name]),
        )
        for name in typed
    ]
    problem = F.when(
        F.col("row")[CORRUPT].isNotNull(),
        F.coalesce(
            *[F.when(F.col("text")[CORRUPT].isNull(), misfit) for misfit in misfits],
            _problem("line is unreadable", F.lit(None)),
        ),
    )
    values = [F.col("row")[name].alias(name) for name in needed]
    return _with_all_columns(source, rows.select(*ORIGIN, *values, problem.alias("problem")), needed)


def _parquet_rows(spark: SparkSession, source: Source, looks: Sequence[Look]) -> DataFrame:
    """One read for all files of the same columns and types. A row has no line: its columns as JSON stand for it."""
    from pyspark.sql import functions as F

    spark.conf.set("spark.sql.legacy.parquet.nanosAsLong", "true")  # else Spark reads no file that has nanoseconds
    frames = []
    shapes = sorted(looks, key=lambda look: (look.columns, look.types))
    for _, group in groupby(shapes, key=lambda look: (look.columns, look.types)):
        some = list(group)
        frame = spark.read.parquet(*[look.file.address for look in some])
        numbers = {field.name for field in frame.schema if field.dataType.simpleString() == "bigint"}
        for name, kind in zip(some[0].columns, some[0].types, strict=True):
            if kind.startswith("timestamp[ns") and name in numbers:  # INT96, which Arrow calls so too, is a timestamp
                frame = frame.withColumn(name, _micros(name, kind))
        raw = F.to_json(F.struct("*"), {"ignoreNullFields": "false"}).alias("_raw")
        frame = frame.select("*", raw, F.col("_metadata.file_path").alias("_file"))
        frame = _dated(spark, frame, some).withColumn("_header", F.lit(None).cast("string"))
        frames.append(_typed(source, frame))
    _agree(frames, looks)
    return _union(frames)


def _micros(name: str, kind: str) -> Column:
    """A timestamp from its nanoseconds, the last three digits cut off."""
    from pyspark.sql import functions as F

    micros = f"(`{name}` - pmod(`{name}`, 1000)) div 1000"
    if "tz=" in kind:
        return F.timestamp_micros(F.expr(micros))
    return F.expr(f"timestampadd(microsecond, {micros}, timestamp_ntz '1970-01-01')")


def _typed(source: Source, frame: DataFrame) -> DataFrame:
    """A Parquet file's columns with the types that `source.types` gives them, where their values allow."""
    from pyspark.sql import functions as F

    values, misfits = [], [F.lit(None).cast("struct<reason:string,value:string>")]
    types = {field.name: field.dataType.simpleString() for field in frame.schema}
    there = [name for name in needed_columns(source) if name in types]
    for name in there:
        found = types[name]
        wanted = source.types.get(name, found)
        value = F.col(name).cast(wanted)
        if found == wanted == "string":
            value = F.make_valid_utf8(value)
        lost = value.isNull()
        if wanted.lower() in WHOLE:  # 2.5 is none
            lost = lost | (value.cast("double") != F.col(name).cast("double"))
        if found != wanted:
            misfit = _problem(f"{name} is not {wanted}", F.col(name).cast("string"))
            misfits.append(F.when(F.col(name).isNotNull() & lost, misfit))
        values.append(value.alias(name))
    return _with_all_columns(source, frame.select(*ORIGIN, *values, F.coalesce(*misfits).alias("problem")), there)


def _agree(frames: Sequence[DataFrame], looks: Sequence[Look]) -> None:
    """Hold the columns of files that are read together against one another.

    Raises:
        StepError: a column is of one type here and of another there, and the configuration gives it none.
    """
    kinds_of: dict[str, set[str]] = {}
    for frame in frames if len(frames) > 1 else []:
        for field in frame.schema:
            kinds_of.setdefault(field.name, set()).add(field.dataType.simpleString())
    for name, found in kinds_of.items():
        if len(kinds := sorted(found - {"void"})) > 1:
            raise StepError(
                f"the column {name!r} is {' and '.join(kinds)} in the files of {looks[0].file.run_date} to "
                f"{looks[-1].file.run_date}: say which under source.types, and what is none will be quarantined"
            )


def _with_all_columns(source: Source, rows: DataFrame, there: Sequence[str]) -> DataFrame:
    """The columns in one order; one that is not there, and may lack, is NULL."""
    from pyspark.sql import functions as F

    columns = [
        F.col(name) if name in there else F.lit(None).cast(source.types.get(name, "void")).alias(name)
        for name in needed_columns(source)
    ]
    told = [F.col("problem")["reason"].alias(UNREADABLE), F.col("problem")["value"].alias("_value")]
    return rows.select(*ORIGIN, *columns, *told)


def _problem(reason: str, value: Column) -> Column:
    from pyspark.sql import functions as F

    return F.struct(F.lit(reason).alias("reason"), value.cast("string").alias("value"))


def _union(frames: Sequence[DataFrame]) -> DataFrame:
    return reduce(lambda one, other: one.unionByName(other), frames)


def _open_quote(delimiter: str) -> str:
    """A line, as Java's regular expressions have it, whose last field begins with a quote and does not end with one."""
    sep = re.escape(delimiter)
    quoted = '"[^"]*+(?:""[^"]*+)*+'
    return f'^(?:(?:{quoted}"|[^"{sep}][^{sep}]*+)?+{sep})*+{quoted}$'


def _dated(spark: SparkSession, lines: DataFrame, looks: Sequence[Look]) -> DataFrame:
    """With the run date that each line's file is of. While rows are read, a file that is none of these is an error."""
    from pyspark.sql import functions as F

    spellings = [(look.file.run_date, name) for look in looks for name in _spellings(look.file.address)]
    days = spark.createDataFrame(spellings, "_run_date date, _file string")
    unknown = F.raise_error(F.concat(F.lit("Spark has read a file that no day is known of: "), F.col("_file")))
    return lines.join(F.broadcast(days), "_file", "left").withColumn("_run_date", F.coalesce("_run_date", unknown))


def _spellings(address: str) -> list[str]:
    """The names that Spark may report for a file: it writes file:/x or file:///x, and s3a:// for s3://."""
    scheme, _, path = address.rpartition("://")
    if scheme in ("", "file"):
        starts, path = ["file:", "file://"], str(Path(path).absolute())
    else:
        starts = sorted({f"{s}://" for s in (scheme, scheme.replace("s3", "s3a"), scheme.replace("s3a", "s3"))})
    legal = "/-_.!~*'()@:$&+,;="  # in a path of Java's URI, which leaves letters beyond ASCII as they are besides
    written = {path, quote(path, safe=legal), "".join(c if ord(c) > 127 else quote(c, safe=legal) for c in path)}
    return [start + name for start in starts for name in sorted(written)]
