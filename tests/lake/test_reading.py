"""Rows are chosen by any column; the log's statistics spare Spark, Arrow and DuckDB the files that cannot hold one."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st

from nightshift.lake import Lake, Staged, Table
from nightshift.lake.reading import dataset_of_files, run_date_of
from nightshift.lake.statistics import statistics
from nightshift.lake.types import arrow_type, spark_type

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAYS = [dt.date(2011, 6, day) for day in (1, 2, 3)]
TABLE = Table(
    "visits",
    {
        "who": "string",
        "n": "bigint",
        "price": "double",
        "seen": "boolean",
        "day": "date",
        "at": "timestamp",
        "last": "struct<item_id: string, n: bigint, day: date>",
        "history": "array<struct<day:date,n:bigint>>",
        "days": "array<date>",
    },
)


def row(number: int) -> dict[str, Any]:
    """Row n of the table; three rows a run date, in order."""
    day = DAYS[number // 3]
    return {
        "who": f"user {number:02d}" + " of a name too long for a bound" * (number % 3),
        "n": number if number != 4 else None,
        "price": float(number),
        "seen": number % 2 == 0,
        "day": day,
        "at": dt.datetime(2011, 6, day.day, 12, number, 0, 123_456, tzinfo=dt.UTC),
        "last": {"item_id": "a", "n": number, "day": day},
        "history": [{"day": day, "n": number}, {"day": day, "n": None}],
        "days": [day, None],
    }


ROWS = [row(number) for number in range(9)]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The table with a file a run date, committed as a job does."""
    lake = Lake(tmp_path_factory.mktemp("lake"))
    staged = Staged(TABLE.name, "stage-" + "0" * 32, tuple(map(str, DAYS)), base=-1)
    for number, day in enumerate(DAYS):
        folder = lake.path(TABLE.name) / staged.folder / f"run_date={day}"
        folder.mkdir(parents=True)
        mine = pa.Table.from_pylist(ROWS[3 * number : 3 * number + 3], TABLE.arrow.remove(len(TABLE.columns)))
        pq.write_table(mine, folder / "part-0.parquet", row_group_size=2)
    lake.commit(staged, TABLE)
    return lake


WHERE = [
    ([("run_date", "=", "2011-06-02")], [3, 4, 5], 1),
    ([("run_date", ">", DAYS[0]), ("run_date", "!=", DAYS[2])], [3, 4, 5], 1),
    ([("n", ">=", 5)], [5, 6, 7, 8], 2),
    ([("n", "between", (2, 4))], [2, 3], 2),
    ([("n", "in", [1, 8, 99])], [1, 8], 2),
    ([("n", "in", [])], [], 0),
    ([("price", "<", 1.5), ("who", "!=", "user 00")], [1], 1),
    ([("day", "between", ("2011-06-02", "2011-06-30")), ("seen", "=", True)], [4, 6, 8], 2),
    ([("at", ">", dt.datetime(2011, 6, 2, 12, 5, 0, 123_455, tzinfo=dt.UTC))], [5, 6, 7, 8], 2),
    ([("at", "<=", ROWS[0]["at"])], [0], 1),
    ([("who", "=", ROWS[5]["who"])], [5], 1),
    ([("who", "in", ["", ROWS[8]["who"]])], [8], 3),  # delta-rs takes an empty text for NULL: no file is skipped
    ([("n", "=", 1), ("run_date", "=", DAYS[1])], [], 0),
]


@pytest.mark.parametrize(("where", "numbers", "files"), WHERE, ids=[str(number) for number in range(len(WHERE))])
def test_the_files_that_cannot_hold_a_row_are_skipped_and_the_rows_filtered(
    lake: Lake, where: list[Any], numbers: list[int], files: int
) -> None:
    assert len(lake.files(TABLE.name, where)) == files
    found = lake.arrow(TABLE.name, ["price"], where)["price"].to_pylist()
    assert sorted(found) == [float(number) for number in numbers]


def test_spark_reads_what_arrow_reads_nested_types_included(lake: Lake, spark: SparkSession) -> None:
    for where, numbers, _ in WHERE:
        rows = lake.spark(spark, TABLE, where).orderBy("price").collect()
        assert [row.price for row in rows] == [float(number) for number in numbers], where
    first = lake.spark(spark, TABLE, [("price", "=", 3.0)]).collect()[0].asDict(recursive=True)
    assert first == ROWS[3] | {"run_date": DAYS[1], "at": first["at"]}


def test_duckdb_reads_the_chosen_files(lake: Lake) -> None:
    files = lake.files(TABLE.name, [("n", ">=", 5)])
    assert duckdb.sql(f"SELECT count(*), max(last.n) FROM read_parquet({files})").fetchall() == [(6, 8)]


def test_a_frame_with_nested_columns_goes_through_stage_and_commit(tmp_path: Path, spark: SparkSession) -> None:
    lake = Lake(tmp_path / "lake")
    columns = f"{TABLE.ddl}, run_date date"
    frame = spark.createDataFrame([(*one.values(), one["day"]) for one in ROWS], columns)
    lake.commit(lake.stage(frame, TABLE, DAYS), TABLE)
    found = lake.arrow(TABLE.name, where=[("run_date", "=", DAYS[1])]).sort_by("price").to_pylist()
    assert [{**one, "run_date": None} for one in found] == [{**one, "run_date": None} for one in ROWS[3:6]]
    collected = frame.selectExpr("who", "collect_list(struct(day, n)) over (partition by who) history", "run_date")
    table = Table("histories", {"who": "string", "history": "array<struct<day:date,n:bigint>>"})
    lake.commit(lake.stage(collected, table, DAYS), table)  # whose elements Spark knows are never NULL
    assert lake.arrow("histories").num_rows == 9


def test_every_file_of_a_commit_has_its_statistics_in_the_log(lake: Lake) -> None:
    log = (lake.path(TABLE.name) / "_delta_log" / f"{0:020d}.json").read_text().splitlines()
    stats = [json.loads(action["add"]["stats"]) for line in log if "add" in (action := json.loads(line))]
    assert stats[1]["numRecords"] == 3
    assert stats[1]["nullCount"] == {"who": 0, "n": 1, "price": 0, "seen": 0, "day": 0, "at": 0}
    assert stats[1]["minValues"] == {
        **{"who": "user 03", "n": 3, "price": 3.0, "day": "2011-06-02"},
        "at": "2011-06-02T12:03:00.123Z",
    }
    assert stats[1]["maxValues"] == {
        **{"who": ROWS[5]["who"][:32] + "\U0010ffff", "n": 5, "price": 5.0, "day": "2011-06-02"},
        "at": "2011-06-02T12:05:00.124Z",  # cut to the millisecond, and still not below the value
    }
    actions = pa.table(DeltaTable(lake.path(TABLE.name)).get_add_actions(flatten=True))
    assert sorted(actions["max.n"].to_pylist()) == [2, 5, 8]


@given(
    st.lists(
        st.tuples(
            st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
            st.none() | st.floats(allow_nan=True),
            st.none() | st.integers(-(2**63), 2**63 - 1),
        ),
        max_size=6,
    )
)
def test_no_bound_ever_excludes_a_value_of_its_file(rows: list[tuple[str | None, float | None, int | None]]) -> None:
    kinds = {"text": pa.string(), "figure": pa.float64(), "whole": pa.int64()}
    columns = zip(*rows, strict=True) if rows else ([], [], [])
    table = pa.table({n: pa.array(v, k) for (n, k), v in zip(kinds.items(), columns, strict=True)})
    with pa.BufferOutputStream() as out:
        pq.write_table(table, out, row_group_size=2)
        stats = json.loads(statistics(pq.read_metadata(pa.BufferReader(out.getvalue()))))
    for name in kinds:
        values = [value for value in table[name].to_pylist() if value is not None and value == value]
        assert stats["nullCount"].get(name, 0) == (table[name].null_count if table.num_rows else 0)
        if name in stats["minValues"]:
            assert stats["minValues"][name] <= min(values)
            assert stats["maxValues"][name] >= max(values)


@pytest.mark.parametrize("sql", ["bigint", "array<array<int>>", "struct<a:struct<b:array<date>>,c:timestamp>"])
def test_a_type_is_the_same_in_both_languages(sql: str) -> None:
    assert spark_type(arrow_type(sql)) == sql


@pytest.mark.parametrize("sql", ["decimal(10,2)", "float", "array", "map<string,int>", "timestamp_ntz", "no type"])
def test_a_type_that_no_table_may_hold_is_refused(sql: str) -> None:
    with pytest.raises(ValueError, match=r"a column is string, double, .*, array<...> or struct<name:type,...>"):
        arrow_type(sql)


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (("nobody", "=", 1), "no column 'nobody' to choose rows by, there are who, n, .*run_date"),
        (("n", "like", "1%"), "operator 'like' on 'n': try =, !=, <, <=, >, >=, in or between"),
        (("n", ">", 5.9), "n is of type int64, which 5.9 is not"),
        (("n", "=", None), "n is compared with None, which no row fulfils"),
        (("day", ">", "yesterday"), "day is of type date32.*, which 'yesterday' is not"),
    ],
)
def test_a_condition_that_makes_no_sense_is_refused(lake: Lake, condition: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        lake.arrow(TABLE.name, where=[condition])


def test_what_the_log_has_said_of_a_day_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a text is too long for a bound, or there is none, the file is read."""
    lake = Lake(tmp_path)
    names = {DAYS[0]: "short", DAYS[1]: "x" * 80, DAYS[2]: None, dt.date(2011, 6, 4): ""}
    for day, name in names.items():
        lake.replace("names", day, pa.table({"name": pa.array([name], pa.string())}))
    opened: list[str] = []

    def noting(files: list[str], schema: pa.Schema) -> Any:
        opened.extend(files)
        return dataset_of_files(files, schema)

    monkeypatch.setattr("nightshift.lake.transactions.dataset_of_files", noting)
    assert lake.text_by_day("names", "name") == names
    assert [run_date_of(file) for file in opened] == [str(DAYS[1]), str(DAYS[2])]
