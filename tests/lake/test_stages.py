"""What a killed run left staged goes with the next stage for its day; what a live one is at work on stays."""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from counted import D1, D2, D3, TABLE, markers, rows, stage

from nightshift.lake import Lake, LakeError
from nightshift.lake.processes import started
from nightshift.lake.stages import Owner, open_stage

DATES = ("2011-06-01", "2011-06-02")
NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def owner(pid: int, since: int, host: str | None = None, hours: float = 0, dates: tuple[str, ...] = DATES) -> Owner:
    at = (NOW - dt.timedelta(hours=hours)).isoformat()
    return Owner(dates, -1, host or socket.gethostname(), pid, since, at)


def gone() -> Owner:
    """Of a process of this machine that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    since = started(process.pid)
    process.wait()
    return owner(process.pid, since)


def test_the_next_stage_sweeps_what_a_killed_one_left_for_its_run_dates(lake: Lake) -> None:
    killed, others = stage(lake, {D1: [("killed", 1)]}, 1, gone()), stage(lake, {D3: [("at work", 1)]}, 3)
    folder = lake.path(TABLE.name)
    (folder / killed.folder / "half.parquet#1").write_text("cut off")
    staged = open_stage(folder, DATES)
    assert not (folder / killed.folder).exists()
    assert sorted(markers(lake)) == sorted([staged.folder, others.folder]), "another day's stage is let be"
    with pytest.raises(LakeError, match=r"what was staged for counts is gone .*: run the step before again"):
        lake.commit(killed, TABLE)


def test_a_process_sweeps_what_it_staged_before(lake: Lake) -> None:
    mine = stage(lake, {D1: [("a", 1)]})
    open_stage(lake.path(TABLE.name), DATES)
    assert not (lake.path(TABLE.name) / mine.folder).exists()


@pytest.mark.parametrize(
    ("other", "swept"),
    [
        (owner(os.getppid(), started(os.getppid())), False),
        (owner(os.getppid(), started(os.getppid()) + 1), True),  # the number was given to another process
        (owner(os.getppid(), started(os.getppid()), hours=25), True),
        (owner(os.getppid(), started(os.getppid()), dates=("2011-06-01", "2011-06-09")), False),
        (owner(1, 1, host="elsewhere", hours=23), False),  # whether it lives cannot be seen from here
        (owner(1, 1, host="elsewhere", hours=25), True),
    ],
    ids=["alive", "number reused", "older than a day", "alive, for several days", "elsewhere", "elsewhere, old"],
)
def test_another_runs_stage_is_swept_only_if_it_has_ended_or_is_older_than_a_day(
    lake: Lake, other: Owner, swept: bool
) -> None:
    theirs = stage(lake, {D1: [("theirs", 1)], D2: []}, 1, other)
    staged = open_stage(lake.path(TABLE.name), DATES)
    assert (lake.path(TABLE.name) / theirs.folder).exists() is not swept
    assert (theirs.folder in markers(lake)) is not swept
    assert staged.folder in markers(lake)


def test_whoever_audits_a_stage_owns_it(lake: Lake) -> None:
    """`ingest` has ended when `validate_events` reads what it staged: a second `ingest` must not take it away."""
    staged = stage(lake, {D1: [("a", 1)]}, 1, gone())
    lake.staged_files(staged)
    (marker,) = lake.path(TABLE.name).glob("*.uncommitted")
    told = json.loads(marker.read_text())
    assert (told["pid"], told["started"]) == (os.getpid(), started(os.getpid()))
    lake.commit(staged, TABLE)
    lake.staged_files(staged)
    assert markers(lake) == [], "a committed stage is nobody's"


def test_a_stage_that_was_committed_by_a_run_killed_right_after_is_not_swept(lake: Lake) -> None:
    committed = stage(lake, {D1: [("a", 1)]}, 1)
    marker = lake.path(TABLE.name) / f"{committed.folder}.uncommitted"
    told = marker.read_text()
    first = lake.commit(committed, TABLE)
    lake.commit(stage(lake, {D1: [("b", 2)]}, 2), TABLE)  # so that only an earlier version needs the files
    marker.write_text(told)
    open_stage(lake.path(TABLE.name), DATES)
    assert rows(lake, first) == [("2011-06-01", "a", 1)]
    assert committed.folder not in markers(lake)
