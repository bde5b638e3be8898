"""What a step leaves and prints: its summary, or why it failed."""

from __future__ import annotations

import datetime as dt
import functools
import time
import traceback
from pathlib import Path
from typing import Any

import pytest

from jobs import command
from jobs.command import shortened
from nightshift.config import load
from nightshift.runs import GateError, Night, open_night

ROOT = Path(__file__).parents[2]
DAY = dt.date(2011, 11, 30)


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Night:
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    monkeypatch.setenv("NIGHTSHIFT_CONFIG", str(ROOT / "nightshift.yaml"))
    return open_night(load(), DAY)


def ingest(night: Night) -> dict[str, Any]:
    return {"kept": 5}


def train(night: Night) -> dict[str, Any]:
    return {"trained": True}


def failing(error: Exception) -> command.Step:
    """The step `train`, as it fails."""

    def train(night: Night) -> dict[str, Any]:
        raise error

    return train


def fail(error: Exception) -> int:
    """Run `train` to its failure, as a process does. Returns the exit code."""
    with pytest.raises(SystemExit) as ended:
        command.run(failing(error), None, argv=["--run-date", str(DAY), "--run-id", "scheduled"])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_log_is_spared_what_is_long_and_told_where_it_is() -> None:
    days = [{"run_date": f"2011-01-{day:02d}", "rows_in": day} for day in range(1, 32)]
    summary = {"step": "ingest", "kept": 5, "counts": days * 10, "days": ["2011-01-01"]}
    assert shortened(summary) == {"step": "ingest", "kept": 5, "counts": "310 in ingest.json", "days": ["2011-01-01"]}


def test_a_failure_is_forgotten_when_its_step_succeeds_and_not_before(night: Night) -> None:
    fail(GateError("no positive events"))
    left = {"step": "train", "run_id": "scheduled", "error": "no positive events"}
    assert night.read_json("failed") == left
    command.execute(ingest, night, time.monotonic())
    assert night.read_json("failed") == left
    command.execute(train, night, time.monotonic())
    assert not (night.folder / "failed.json").exists()
    assert (night.read_json("ingest")["kept"], night.read_json("train")["trained"]) == (5, True)


def test_a_step_that_does_anothers_work_leaves_its_summary_under_the_others_name(night: Night) -> None:
    night.write_json("failed", {"step": "ingest", "run_id": "scheduled", "error": "no file"})
    summary = command.execute(functools.partial(again, kept=6), night, time.monotonic(), called="ingest")
    assert (summary["step"], summary["kept"]) == ("ingest", 6)
    assert night.read_json("ingest") == summary
    assert not (night.folder / "failed.json").exists()


def again(night: Night, kept: int) -> dict[str, Any]:
    return {"kept": kept}


def test_what_a_step_foresaw_is_one_line_and_its_exit_code(night: Night, capsys: pytest.CaptureFixture[str]) -> None:
    assert fail(GateError("no positive events")) == 3
    assert capsys.readouterr().err.splitlines() == ["train: no positive events"]


def test_what_no_step_foresaw_is_left_and_told_in_one_last_line_after_where_it_was(
    night: Night, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert fail(ConnectionResetError("the server is gone\n  at 10.0.0.7\n")) == 1
    told = "ConnectionResetError: the server is gone"
    assert capsys.readouterr().err.splitlines()[-1] == f"train: {told}"
    assert night.read_json("failed") == {"step": "train", "run_id": "scheduled", "error": told}
    [logged] = [record.exc_info for record in caplog.records if record.exc_info]
    assert "raise error" in "".join(traceback.format_exception(*logged)), "the traceback"


def test_a_reason_that_cannot_be_left_is_still_told(
    night: Night, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Night, "write_json", full)
    assert fail(GateError("no positive events")) == 3
    assert capsys.readouterr().err.splitlines()[-1] == "train: no positive events"
