"""A table for Arrow and for Spark: by delta-spark where it is on the class path, else from files chosen before."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

import pyarrow as pa

from nightshift.lake.tables import Table
from nightshift.lake.where import Filter, spark_condition

if TYPE_CHECKING:
    import pyarrow.dataset as ds
    from pyspark.sql import DataFrame, SparkSession

WITHOUT_DELTA: WeakSet[SparkSession] = WeakSet()  # sessions that have said so: each asking leaves an error in the log


def run_date_of(file: str | Path) -> str:
    """The run date of a table's file, from its folder's name."""
    return Path(file).parent.name.removeprefix("run_date=")


def dataset_of_files(files: Sequence[str], schema: pa.Schema) -> ds.Dataset:
    """These Parquet files as a dataset of the table's schema, each of its own run date.

    delta-rs's own `to_pyarrow_dataset` takes a bound that the log leaves out for one that no value meets, and so loses
    the rows of every file that has none: of booleans, say, or of infinite figures.
    """
    import pyarrow.dataset as ds
    from pyarrow.fs import LocalFileSystem

    disk, parquet = LocalFileSystem(), ds.ParquetFileFormat()
    fragments = [
        parquet.make_fragment(file, disk, ds.field("run_date") == dt.date.fromisoformat(run_date_of(file)))
        for file in files
    ]
    return ds.FileSystemDataset(fragments, schema, parquet, disk)


def delta_frame(
    spark: SparkSession, table: Table, folder: Path, version: int, plain: Sequence[Filter]
) -> DataFrame | None:
    """The rows of a version for which all conditions hold, by delta-spark; None where Spark does not know the format.

    Raises:
        Exception: delta-spark is there, and cannot read the table.
    """
    if spark in WITHOUT_DELTA:
        return None
    try:
        frame = spark.read.format("delta").option("versionAsOf", version).load(str(folder))
        _ = frame.schema
    except Exception as error:  # of another class in each kind of session
        if "[DATA_SOURCE_NOT_FOUND]" not in str(error):
            raise
        WITHOUT_DELTA.add(spark)
        return None
    for condition in plain:
        frame = frame.where(spark_condition(condition))
    return frame.select(*[f"`{name}`" for name in table.columns], "run_date")


def frame_of_files(spark: SparkSession, table: Table, files: Sequence[str], plain: Sequence[Filter]) -> DataFrame:
    """The rows of these Parquet files for which all conditions hold, under the declared schema.

    A file's run date is in its path, as in the log; so conditions on it have been met by the choice of files.
    """
    from pyspark.sql import functions as F

    if not files:
        return spark.createDataFrame([], f"{table.ddl}, run_date date")
    in_path = F.regexp_extract(F.col("_metadata.file_path"), r"run_date=(\d{4}-\d{2}-\d{2})", 1)
    frame = spark.read.schema(table.ddl).parquet(*files)
    for condition in plain:
        if condition[0] != "run_date":
            frame = frame.where(spark_condition(condition))
    return frame.withColumn("run_date", in_path.cast("date"))
