"""Nights leave one file a run date and a log that opens in a dozen reads; no row is lost on the way."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from counted import D1, D2, TABLE, markers, rows, stage
from deltalake import DeltaTable, write_deltalake

from nightshift.lake import Lake, LakeError, Staged, Table, maintenance
from nightshift.lake.log import newest_version
from nightshift.lake.stages import Owner, claim

NONE, QUARTER = dt.timedelta(0), dt.timedelta(days=90)
NIGHTS = [dt.date(2011, 1, 1) + dt.timedelta(days=number) for number in range(90)]
SHARDS = Table("shards", {"user": "string", "last": "struct<item:string,day:date>", "days": "array<date>"})


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def backdate(files: list[Path], days: float) -> None:
    for file in files:
        os.utime(file, (time.time() - days * 86_400,) * 2)


def in_pieces(lake: Lake, day: dt.date, pieces: int, users: int = 2) -> int:
    """Commit a run date of SHARDS, spread over some files."""
    folder = lake.path(SHARDS.name)
    staged = Staged(SHARDS.name, f"stage-{day}-{time.monotonic_ns()}", (str(day),), newest_version(folder))
    target = folder / staged.folder / f"run_date={day}"
    target.mkdir(parents=True)
    for piece in range(pieces):
        mine = [
            {"user": f"u{piece}{user}", "last": {"item": "a", "day": day}, "days": [day, None]} for user in range(users)
        ]
        pq.write_table(pa.Table.from_pylist(mine, SHARDS.arrow.remove(3)), target / f"part-{piece}.parquet")
    claim(folder, staged)
    return lake.commit(staged, SHARDS)


def test_90_nights_leave_one_file_a_run_date_and_a_log_that_opens_in_a_dozen_reads(lake: Lake, tmp_path: Path) -> None:
    """Three tables: spread over files, corrected the night after, and rewritten as a whole every night."""
    for number, night in enumerate(NIGHTS):
        in_pieces(lake, night, pieces=3, users=1)
        for day in NIGHTS[max(number - 1, 0) : number + 1]:
            lake.replace("corrected", day, pa.table({"n": [number]}))
        lake.replace("state", NIGHTS[0], pa.table({"n": list(range(number + 1))}))
        if number % 28 == 27 or night == NIGHTS[-1]:
            for table in lake.tables():
                maintenance.maintain(lake.path(table), NONE, most_files=1)
    nights = len(NIGHTS)
    expected = {"shards": (nights, 3 * nights), "corrected": (nights, nights), "state": (1, nights)}
    for table, (files, count) in expected.items():
        opened = lake.open(table)
        assert len(opened.file_uris()) == files
        assert opened.count() == count
        on_disk = [path for path in lake.path(table).rglob("*.parquet") if "_delta_log" not in path.parts]
        assert len(on_disk) == files, "what no version needs is removed"
        assert sum(1 for path in lake.path(table).rglob("*")) < 2 * files + 40, "nor do empty folders pile up"
        assert pa.table(opened.get_add_actions(flatten=True))["num_records"].null_count == 0
        assert opens_by(lake.path(table), tmp_path / "copy" / table) <= 12
    assert lake.version("corrected") > 2 * nights


def opens_by(table: Path, copy: Path) -> int:
    """How many files of the log it takes to open the table; they alone are shown to give the same table."""
    log = sorted((table / "_delta_log").iterdir())
    last = max(path.name[:20] for path in log if path.name.endswith(".checkpoint.parquet"))
    needed = [
        path for path in log if path.name == "_last_checkpoint" or path.name[:20] > last or path.name[:20] == last
    ]
    needed = [path for path in needed if path.name != f"{last}.json"]
    (copy / "_delta_log").mkdir(parents=True)
    for path in needed:
        shutil.copy(path, copy / "_delta_log")
    theirs = {uri.removeprefix(str(table)) for uri in DeltaTable(str(table)).file_uris()}
    assert {uri.removeprefix(str(copy)) for uri in DeltaTable(str(copy)).file_uris()} == theirs
    return len(needed)


def test_a_table_nobody_maintains_opens_by_a_checkpoint_and_ten_commits(lake: Lake, tmp_path: Path) -> None:
    for number in range(97):
        lake.replace("state", D1, pa.table({"n": [number]}))
    assert opens_by(lake.path("state"), tmp_path / "copy") <= 12


def test_compaction_changes_no_row_and_spares_what_is_in_few_files(lake: Lake) -> None:
    in_pieces(lake, D1, pieces=4)
    in_pieces(lake, D2, pieces=2)
    before = lake.arrow("shards").sort_by([("run_date", "ascending"), ("user", "ascending")])
    assert maintenance.compact(lake.path("shards"), 2, dry_run=True)["compacted_run_dates"] == 1
    done = maintenance.compact(lake.path("shards"), 2)
    assert done == {"compacted_run_dates": 1, "files_merged": 4, "files_written": 1}
    assert maintenance.compact(lake.path("shards"), 2)["files_merged"] == 0
    after = lake.arrow("shards").sort_by([("run_date", "ascending"), ("user", "ascending")])
    assert after.equals(before)
    assert len(lake.files("shards", [("user", "=", "u31")])) == 1, "merged files have statistics too"
    assert [Path(file).parent.name for file in lake.files("shards")].count("run_date=2011-06-01") == 1


def test_an_older_version_is_readable_within_the_retention_and_not_after(lake: Lake) -> None:
    folder = lake.path(TABLE.name)
    for number in range(3):
        lake.commit(stage(lake, {D1: [("a", number)]}, number), TABLE)
    assert maintenance.vacuum(folder, QUARTER) == 0
    assert rows(lake, 0) == [("2011-06-01", "a", 0)]
    assert maintenance.vacuum(folder, NONE, dry_run=True) == 2
    assert rows(lake, 0) == [("2011-06-01", "a", 0)]
    assert maintenance.vacuum(folder, NONE, keep=[1]) == 1
    assert rows(lake, 1) == [("2011-06-01", "a", 1)]
    with pytest.raises(FileNotFoundError):
        rows(lake, 0)


def test_a_version_that_a_young_night_names_outlives_the_retention_with_its_log(lake: Lake) -> None:
    folder = lake.path(TABLE.name)
    for number in range(25):
        lake.commit(stage(lake, {D1: [("a", number)]}, number), TABLE)
    backdate(list((folder / "_delta_log").glob("*.json")), days=100)
    done = maintenance.maintain(folder, NONE, most_files=1, needed=[7, 24, 99])
    assert (done["kept_versions"], done["log_files_removed"]) == ([7, 24], 0)
    assert rows(lake, 7) == [("2011-06-01", "a", 7)]
    assert rows(lake) == [("2011-06-01", "a", 24)]
    assert maintenance.maintain(folder, NONE, most_files=1)["log_files_removed"] > 20
    assert rows(lake) == [("2011-06-01", "a", 24)]
    assert maintenance.maintain(folder, NONE, most_files=1, needed=[7])["lost_versions"] == [7]


def test_the_log_is_cut_no_further_than_the_retention_asks(lake: Lake) -> None:
    folder = lake.path(TABLE.name)
    for number in range(40):
        lake.commit(stage(lake, {D1: [("a", number)]}, number), TABLE)
    backdate([path for path in (folder / "_delta_log").iterdir() if "0" * 18 < path.name[:20] < f"{25:020d}"], days=100)
    done = maintenance.maintain(folder, QUARTER, most_files=1)
    assert done["log_files_removed"] > 0
    for version in range(25, 40):
        assert rows(lake, version) == [("2011-06-01", "a", version)]
    told = lake.open(TABLE.name).metadata().configuration
    assert told["delta.deletedFileRetentionDuration"] == told["delta.logRetentionDuration"] == "interval 90 days"


def test_what_killed_runs_left_goes_after_a_day(lake: Lake) -> None:
    lake.commit(stage(lake, {D1: [("a", 1)]}, 1), TABLE)
    folder = lake.path(TABLE.name)
    told = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=30)).isoformat()
    old = stage(lake, {D1: [("old", 1)]}, 2, Owner((str(D1),), 0, "elsewhere", 1, 1, told))
    torn, fresh = stage(lake, {D1: [("torn", 1)]}, 3), stage(lake, {D2: [("at work", 1)]}, 4)
    (folder / f"{torn.folder}.uncommitted").write_text('{"run_da')
    cut_off, growing = folder / "run_date=2011-06-01" / "a.parquet#1", folder / "run_date=2011-06-01" / "b.parquet#1"
    cut_off.parent.mkdir()
    for file in (cut_off, growing):
        file.write_text("cut off")
    backdate([cut_off, folder / f"{torn.folder}.uncommitted"], days=2)
    assert maintenance.sweep_leftovers(folder, dry_run=True) == 3
    assert maintenance.sweep_leftovers(folder) == 3
    assert [path.exists() for path in (folder / old.folder, folder / torn.folder, cut_off)] == [False] * 3
    assert (folder / fresh.folder).exists()
    assert growing.exists()
    assert markers(lake) == [fresh.folder]


def test_a_vacuum_without_retention_waits_for_a_run_at_work(lake: Lake) -> None:
    """It takes all files that the log does not know: what is staged too."""
    lake.commit(stage(lake, {D1: [("a", 1)]}, 1), TABLE)
    now = dt.datetime.now(dt.UTC).isoformat()
    stage(lake, {D2: [("b", 1)]}, 2, Owner((str(D2),), 0, "elsewhere", 7, 1, now))
    with pytest.raises(LakeError, match="process 7 on elsewhere is at work on run date 2011-06-02: vacuum again when"):
        maintenance.vacuum(lake.path(TABLE.name), NONE)
    assert maintenance.vacuum(lake.path(TABLE.name), QUARTER) == 0


def test_a_table_of_another_writer_is_maintained_too(lake: Lake) -> None:
    for number in range(3):
        rows = pa.table({"n": [number], "run_date": pa.array([D1])})
        write_deltalake(str(lake.path("theirs")), rows, mode="append", partition_by=["run_date"])
    done = maintenance.maintain(lake.path("theirs"), QUARTER, most_files=1)
    assert (done["files_merged"], done["most_files_of_a_run_date"]) == (3, 1)
    assert sorted(lake.pandas("theirs")["n"]) == [0, 1, 2]
