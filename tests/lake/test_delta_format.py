"""What Spark reads is the same with delta-spark on its class path and without.

The connector's jars are in Maven's repositories alone. A source in Python stands in for them here: it has their name,
takes their options, and reads the version that it is told. So the choice between the two ways is tested, and what each
is handed; the connector itself is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from counted import D1, D2, TABLE, stage
from pyspark.errors import PySparkException

from nightshift.lake import Lake, reading, transactions

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    lake.commit(stage(lake, {D1: [("a", 1), ("b", 2)], D2: [("c", 3)]}, 1), TABLE)
    lake.commit(stage(lake, {D1: [("a", 4)]}, 2), TABLE)
    return lake


def with_connector(spark: SparkSession, columns: str) -> None:
    """Register the stand-in; the class is made here so that Spark's Python takes it along by value."""
    from pyspark.sql.datasource import DataSource, DataSourceReader

    class Reader(DataSourceReader):
        def __init__(self, options: dict[str, str]) -> None:
            self.options = options

        def read(self, partition: Any) -> Iterator[tuple[Any, ...]]:
            from deltalake import DeltaTable

            table = DeltaTable(self.options["path"], version=int(self.options["versionasof"])).to_pyarrow_table()
            for row in table.to_pylist():
                yield row["name"], row["n"], row["run_date"]

    class Delta(DataSource):
        @classmethod
        def name(cls) -> str:
            return "delta"

        def schema(self) -> str:
            return columns

        def reader(self, schema: Any) -> DataSourceReader:
            return Reader({key.lower(): value for key, value in self.options.items()})

    spark.dataSource.register(Delta)


def test_the_same_is_read_with_delta_spark_and_without(
    lake: Lake, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read() -> list[list[tuple[Any, ...]]]:
        asked = [([], None), ([], 0), ([("n", ">", 1), ("run_date", "in", ["2011-06-01"])], 0)]
        frames = [lake.spark(spark, TABLE, where, version) for where, version in asked]
        return [sorted(tuple(row) for row in frame.collect()) for frame in frames]

    by_files = read()
    assert by_files == [[("a", 4, D1), ("c", 3, D2)], [("a", 1, D1), ("b", 2, D1), ("c", 3, D2)], [("b", 2, D1)]]

    with_connector(spark, f"{TABLE.ddl}, run_date date")
    reading.WITHOUT_DELTA.clear()
    monkeypatch.setattr(transactions, "frame_of_files", None)  # from here on Spark is handed no files
    assert read() == by_files


def test_a_connector_that_cannot_read_the_table_is_no_absent_one(lake: Lake, spark: SparkSession) -> None:
    with_connector(spark, "no type")
    with pytest.raises(PySparkException):
        lake.spark(spark, TABLE)
