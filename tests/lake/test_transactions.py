"""Nobody sees what is staged; a commit replaces its run dates and nothing else; a killed run leaves nothing behind."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightshift.lake import Lake, LakeError, Staged, Table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TABLE = Table("counts", {"name": "string", "n": "int"})
D1, D2, D3 = (dt.date(2011, 6, day) for day in (1, 2, 3))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def stage(lake: Lake, rows: dict[dt.date, Sequence[tuple[str, int]]], number: int = 0) -> Staged:
    """What `Lake.stage` leaves, written without Spark: one file a run date that has rows, and the marker."""
    staged = Staged(TABLE.name, f"stage-{number:032d}", tuple(sorted(day.isoformat() for day in rows)))
    folder = lake.path(TABLE.name)
    for day, lines in rows.items():
        target = folder / staged.folder / f"run_date={day}"
        target.mkdir(parents=True)
        columns = {"name": [name for name, _ in lines], "n": pa.array([n for _, n in lines], pa.int32())}
        if lines:
            pq.write_table(pa.table(columns), target / "part-0.parquet")
    (folder / f"{staged.folder}.uncommitted").write_text(json.dumps(staged.run_dates))
    return staged


def rows(lake: Lake, version: int | None = None) -> list[tuple[str, str, int]]:
    frame = lake.pandas(TABLE.name, version=version)
    return sorted((str(day), name, n) for day, name, n in frame[["run_date", "name", "n"]].itertuples(index=False))


def markers(lake: Lake) -> list[str]:
    return [path.stem for path in lake.path(TABLE.name).glob("*.uncommitted")]


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


def test_a_stage_that_is_committed_again_changes_nothing(lake: Lake) -> None:
    """In one commit a file was both added and removed: a reader that takes the removal last loses its rows."""
    staged = stage(lake, {D1: [("a", 1)]})
    assert [lake.commit(staged, TABLE), lake.commit(staged, TABLE)] == [0, 0]
    assert rows(lake) == [("2011-06-01", "a", 1)]


def test_commits_to_different_run_dates_all_land(lake: Lake) -> None:
    lake.commit(stage(lake, {D1: [("a", 0)]}), TABLE)
    days = [dt.date(2011, 7, day) for day in range(1, 9)]
    stages = [stage(lake, {day: [("a", day.day)]}, day.day) for day in days]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda staged: lake.commit(staged, TABLE), stages))
    assert [n for _, _, n in rows(lake)] == list(range(9))


def test_the_next_stage_sweeps_what_a_killed_one_left_for_its_run_dates(lake: Lake, spark: SparkSession) -> None:
    killed, others = stage(lake, {D1: [("killed", 1)]}, 1), stage(lake, {D3: [("at work", 1)]}, 3)
    (lake.path(TABLE.name) / killed.folder / "half.parquet#1").write_text("cut off")
    frame = spark.createDataFrame([("a", 1, D1)], "name string, n int, run_date date")
    staged = lake.stage(frame, TABLE, [D1, D2])
    folder = lake.path(TABLE.name)
    assert not (folder / killed.folder).exists()
    assert sorted(markers(lake)) == sorted([staged.folder, others.folder]), "another day's stage is let be"
    with pytest.raises(LakeError, match=r"what was staged for counts is gone .*: run the step before again"):
        lake.commit(killed, TABLE)


def test_a_stage_that_was_committed_by_a_run_killed_right_after_is_not_swept(lake: Lake, spark: SparkSession) -> None:
    committed = stage(lake, {D1: [("a", 1)]})
    lake.commit(committed, TABLE)
    (lake.path(TABLE.name) / f"{committed.folder}.uncommitted").write_text(json.dumps(committed.run_dates))
    lake.stage(spark.createDataFrame([], "name string, n int, run_date date"), TABLE, [D1])
    assert rows(lake) == [("2011-06-01", "a", 1)]
    assert committed.folder not in markers(lake)


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
