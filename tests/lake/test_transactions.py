"""Nobody sees what is staged; a commit replaces its run dates and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from counted import D1, D2, D3, TABLE, markers, rows, stage

from nightshift.lake import Lake, LakeError, Staged

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def test_what_is_staged_is_invisible_until_it_is_committed(lake: Lake, spark: SparkSession) -> None:
    frame = spark.createDataFrame([("a", 1, D1), ("b", 2, D2)], "name string, n int, run_date date")
    staged = lake.stage(frame, TABLE, [D1, D2])
    assert not lake.exists(TABLE.name)
    assert lake.staged_counts(staged) == {"2011-06-01": 1, "2011-06-02": 1}
    assert lake.commit(Staged.of(json.loads(json.dumps(staged.as_dict()))), TABLE) == 0
    assert rows(lake) == [("2011-06-01", "a", 1), ("2011-06-02", "b", 2)]

    lake.stage(frame.where("run_date = '2011-06-02'").withColumn("n", frame.n + 1), TABLE, [D2])
    assert rows(lake) == [("2011-06-01", "a", 1), ("2011-06-02", "b", 2)]
    seen = lake.spark(spark, TABLE, [("run_date", "<=", D1)]).collect()
    assert [(row.name, row.n, row.run_date) for row in seen] == [("a", 1, D1)]
    assert lake.spark(spark, TABLE, [("run_date", ">", D2)]).count() == 0


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("name string, n double", "n: double, not int"),  # 5.9 would become 5
        ("name string, n bigint", "n: bigint, not int"),
        ("name string", "n: missing, not int"),
    ],
)
def test_a_frame_of_another_type_is_refused_before_anything_is_written(
    lake: Lake, spark: SparkSession, columns: str, said: str
) -> None:
    frame = spark.createDataFrame([], f"{columns}, run_date date")
    with pytest.raises(LakeError, match=f"table counts: {said}"):
        lake.stage(frame, TABLE, [D1])
    assert not lake.path(TABLE.name).exists()


def test_a_commit_replaces_exactly_its_run_dates(lake: Lake) -> None:
    lake.commit(stage(lake, {D1: [("a", 1)], D2: [("b", 2), ("c", 3)], D3: [("d", 4)]}, 1), TABLE)
    lake.commit(stage(lake, {D2: [("e", 5)], D3: []}, 2), TABLE)
    assert rows(lake) == [("2011-06-01", "a", 1), ("2011-06-02", "e", 5)], "no rows are a content too"
    assert markers(lake) == []


def test_an_earlier_version_is_still_read(lake: Lake) -> None:
    first = lake.commit(stage(lake, {D1: [("a", 1)]}, 1), TABLE)
    second = lake.commit(stage(lake, {D1: [("a", 2)]}, 2), TABLE)
    assert (first, second, lake.version(TABLE.name)) == (0, 1, 1)
    assert (rows(lake, first), rows(lake, second)) == ([("2011-06-01", "a", 1)], [("2011-06-01", "a", 2)])


@pytest.mark.parametrize("lines", [[("a", 1)], []])
def test_a_stage_that_is_committed_again_changes_nothing(lake: Lake, lines: list[tuple[str, int]]) -> None:
    """In one commit a file was both added and removed: a reader that takes the removal last loses its rows."""
    lake.commit(stage(lake, {D2: [("b", 2)]}, 2), TABLE)
    staged = stage(lake, {D1: lines})
    assert [lake.commit(staged, TABLE), lake.commit(staged, TABLE)] == [1, 1]
    lake.commit(stage(lake, {D3: []}, 3), TABLE)
    assert lake.commit(staged, TABLE) == 1
    assert rows(lake) == [*(("2011-06-01", *line) for line in lines), ("2011-06-02", "b", 2)]


def test_a_file_that_is_not_what_its_table_declares_is_not_committed(lake: Lake) -> None:
    staged = stage(lake, {D1: [("a", 1)]})
    (file,) = lake.staged_files(staged)
    pq.write_table(pa.table({"name": ["a"], "n": [5.9]}), file)
    with pytest.raises(LakeError, match="n: double, not int"):
        lake.commit(staged, TABLE)
    pq.write_table(pa.table({"name": ["a"], "n": pa.array([5], pa.int32()), "more": [1]}), file)
    with pytest.raises(LakeError, match="are not declared"):
        lake.commit(staged, TABLE)
    shutil.move(file.parent, file.parent.with_name("run_date=2011-06-09"))
    with pytest.raises(LakeError, match="staged for 2011-06-01, not for 2011-06-09"):
        lake.commit(staged, TABLE)
    assert not lake.exists(TABLE.name)


def test_a_small_table_is_replaced_by_run_date_without_spark(lake: Lake) -> None:
    lake.replace("drift", D1, pa.table({"psi": [0.1, 0.2]}))
    lake.replace("drift", [D2, D3], pa.table({"psi": [0.3, 0.4], "run_date": [D2, D3]}))
    version = lake.replace("drift", D2, pa.table({"psi": [0.5]}).to_pandas())
    found = lake.pandas("drift").sort_values(["run_date", "psi"])
    assert found[["run_date", "psi"]].to_numpy().tolist() == [[D1, 0.1], [D1, 0.2], [D2, 0.5], [D3, 0.4]]
    assert lake.run_dates("drift") == {"2011-06-01", "2011-06-02", "2011-06-03"}
    assert sorted(lake.pandas("drift", version=version - 1)["psi"]) == [0.1, 0.2, 0.3, 0.4]


def test_rows_are_chosen_by_column_and_by_every_condition(lake: Lake) -> None:
    lake.replace("drift", [D1, D2], pa.table({"psi": [0.1, 0.2, 0.3], "run_date": [D1, D2, D2]}))
    chosen = lake.pandas("drift", ["psi"], [("run_date", ">", "2011-06-01"), ("psi", "!=", 0.2)])
    assert (list(chosen), chosen["psi"].tolist()) == (["psi"], [0.3])


def test_a_table_that_is_not_there_says_what_to_do(lake: Lake) -> None:
    assert not lake.exists("events")
    assert lake.run_dates("events") == set()
    with pytest.raises(LakeError, match=r"no table 'events' in .*: run a night first"):
        lake.pandas("events")
    lake.replace("drift", D1, pa.table({"psi": [0.1]}))
    with pytest.raises(LakeError, match=r"'drift' has no version 7 any more, .* run the whole night of this run date"):
        lake.pandas("drift", version=7)
