"""`jobs.maintain` takes every table in turn, keeps what young nights name, and says what it did."""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from jobs import maintain
from nightshift.lake import Lake
from nightshift.runs import StepError
from nightshift.runs.lock import alone

D1, D2 = dt.date(2011, 6, 1), dt.date(2011, 6, 2)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lake of two tables, one rewritten twelve times; two nights have named a version of it."""
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    lake = Lake(tmp_path / "lake")
    for number in range(12):
        lake.replace("user_features", D1, pa.table({"n": [number]}))
    lake.replace("ingest_counts", D2, pa.table({"kept": [5], "content": ["5-0"]}))
    for day, version in ((D1, 3), (D2, 4)):
        night = tmp_path / "nights" / str(day)
        night.mkdir(parents=True)
        (night / "build_features.json").write_text(json.dumps({"tables": {"user_features": version}}))
        (night / "events_checks.json").write_text(json.dumps([{"success": True}]))
    age(tmp_path / "nights" / str(D1) / "build_features.json", days=100)
    return tmp_path


def age(file: Path, days: int) -> None:
    os.utime(file, (time.time() - days * 86_400,) * 2)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    maintain.main(arguments)
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_what_was_done_is_said_for_each_table(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in (home / "lake" / "user_features" / "_delta_log").glob("*.json"):
        age(file, days=100)
    done = run(capsys)
    assert (done["run_date"], done["dry_run"], set(done["tables"])) == (
        "2011-06-02",
        False,
        {"user_features", "ingest_counts"},
    )
    assert done["tables"]["user_features"]["kept_versions"] == [4], "the night that named 3 is older than the retention"
    assert done["tables"]["ingest_counts"] == {
        **{"swept": 0, "compacted_run_dates": 0, "files_merged": 0, "files_written": 0, "vacuumed": 0},
        **{"log_files_removed": 0, "kept_versions": [], "lost_versions": []},
        **{"run_dates": 1, "most_files_of_a_run_date": 1},
    }
    lake = Lake(home / "lake")
    assert lake.open("ingest_counts").metadata().configuration["delta.logRetentionDuration"] == "interval 90 days"
    assert lake.pandas("user_features", version=4)["n"].tolist() == [4]


def test_a_dry_run_changes_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def state() -> list[tuple[str, int]]:
        return sorted((str(path), path.stat().st_mtime_ns) for path in (home / "lake").rglob("*"))

    before = state()
    assert run(capsys, "--dry-run", "--run-date", "2011-06-01")["run_date"] == "2011-06-01"
    assert run(capsys, "--dry-run", "yes")["dry_run"], "as Airflow's form gives it"
    assert state() == before


def test_a_table_that_fails_is_named_and_the_others_have_their_turn(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = maintain.maintenance.files_of
    wrong = iter(range(99))

    def miscounted(opened: Any, below: float = float("inf")) -> dict[str, tuple[int, int]]:
        return {day: (2, rows + next(wrong)) for day, (_, rows) in whole(opened, below).items()}

    lake = Lake(home / "lake")
    rows = pa.table({"kept": [6], "content": ["6-0"], "run_date": pa.array([D2])})
    write_deltalake(str(lake.path("ingest_counts")), rows, mode="append")
    monkeypatch.setattr(maintain.maintenance, "files_of", miscounted)
    with pytest.raises(SystemExit) as ended:
        run(capsys)
    assert ended.value.code == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert "ingest_counts: table ingest_counts: compaction changed the number of rows: go back by DeltaTable(" in told
    monkeypatch.setattr(maintain.maintenance, "files_of", whole)
    assert lake.open("user_features").metadata().configuration["delta.logRetentionDuration"] == "interval 90 days"


def test_what_nobody_foresaw_fails_at_the_end_and_the_rest_is_done(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def features(night: maintain.Night, dry_run: bool) -> dict[str, Any]:
        raise StepError("the local Spark server did not come up")

    lake = Lake(home / "lake")
    lake.replace("broken", D1, pa.table({"n": [1]}))
    (lake.path("broken") / "_delta_log" / "00000000000000000001.json").write_text("rubbish")
    monkeypatch.setattr(maintain, "UPKEEP", (features, maintain.tables))
    with pytest.raises(SystemExit) as ended:
        run(capsys)
    assert ended.value.code == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("maintain: features: the local Spark server did not come up; broken: ")
    for table in ("ingest_counts", "user_features"):
        assert lake.open(table).metadata().configuration["delta.logRetentionDuration"] == "interval 90 days"


def test_of_an_old_night_the_summaries_are_kept_and_what_is_large_goes(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for day in (D1, D2):
        lists = home / "nights" / str(day) / "lists"
        lists.mkdir()
        (lists / "lists.parquet").write_bytes(b"x" * 2**20)
    for file in (home / "nights" / str(D1)).rglob("*"):
        age(file, days=100)
    expected = {"folders": {"emptied": 1, "mib": 1.0}}
    assert run(capsys, "--dry-run")["nights"] == expected
    assert (home / "nights" / str(D1) / "lists" / "lists.parquet").exists()
    assert run(capsys)["nights"] == expected
    assert {file.name for file in (home / "nights" / str(D1)).iterdir()} == {
        "build_features.json",
        "events_checks.json",
    }
    assert (home / "nights" / str(D2) / "lists" / "lists.parquet").exists()
    assert run(capsys)["nights"] == {"folders": {"emptied": 0, "mib": 0.0}}


def test_whoever_must_be_alone_finds_it_at_work(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def states(night: maintain.Night, dry_run: bool) -> dict[str, Any]:
        with pytest.raises(StepError, match="the last to begin was maintain after 2011-06-02"), alone(home, "erase"):
            pass
        return {"looked": {}}

    monkeypatch.setattr(maintain, "UPKEEP", (states,))
    assert run(capsys)["states"] == {"looked": {}}


def test_upkeep_is_a_list_that_others_join(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def states(night: maintain.Night, dry_run: bool) -> dict[str, Any]:
        return {"user_state": {"run_date": str(night.run_date), "dry_run": dry_run}}

    monkeypatch.setattr(maintain, "UPKEEP", (states, *maintain.UPKEEP))
    done = run(capsys)
    assert done["states"] == {"user_state": {"run_date": "2011-06-02", "dry_run": False}}
    assert "tables" in done
