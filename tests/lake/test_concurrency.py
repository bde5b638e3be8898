"""Runs that commit at the same moment: those of different days all land; of one day one lands and the rest say so."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pyarrow as pa
import pytest
from counted import D1, D2, TABLE, at_once, rows, stage

from nightshift.lake import Lake, LakeError

DAYS = [dt.date(2011, 7, day) for day in range(1, 9)]
REFUSED = (
    r"table counts: another run rewrote run date 2011-06-01 \(version \d+\) after this one had started from version "
    r"-?\d+; nothing of this one is committed: see which of the two should stay, and run the night again"
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.mark.parametrize("how", ["commit", "replace"])
def test_a_backfill_of_eight_days_at_once_loses_none(lake: Lake, how: str) -> None:
    """The table is not there yet: one of the eight creates it."""
    versions = at_once(lake, how, DAYS)
    assert sorted(map(str, versions)) == [str(number) for number in range(8)], versions
    assert rows(lake) == [(str(day), "run", number) for number, day in enumerate(DAYS)]


@pytest.mark.parametrize("how", ["commit", "replace"])
@pytest.mark.parametrize("before", [[], [("a", 1)]], ids=["new day", "day there is"])
def test_the_same_day_twice_at_once_is_committed_once_and_the_others_say_so(
    lake: Lake, how: str, before: list[tuple[str, int]]
) -> None:
    """delta-rs by itself lets two first writes of one partition both stay, and every row be there twice."""
    lake.commit(stage(lake, {D1: before, D2: [("b", 2)]}), TABLE)
    told = at_once(lake, how, [D1, D1, D1])
    won = [number for number, version in enumerate(told) if isinstance(version, int)]
    if how == "commit":  # which was staged before the race, so that it cannot come after it
        assert len(won) == 1
    assert all(re.match(REFUSED, version) for version in told if isinstance(version, str)), told
    (mine, other) = rows(lake)
    assert (mine[:2], mine[2] in won, other) == (("2011-06-01", "run"), True, ("2011-06-02", "b", 2))


def test_a_run_that_was_overtaken_between_stage_and_commit_does_not_undo_the_other(lake: Lake) -> None:
    lake.commit(stage(lake, {D1: [("a", 1)]}), TABLE)
    slow = stage(lake, {D1: [("slow", 1)], D2: [("slow", 2)]}, 1)
    lake.replace(TABLE.name, D1, pa.table({"name": ["quick"], "n": pa.array([3], pa.int32())}))
    with pytest.raises(LakeError, match=REFUSED):
        lake.commit(slow, TABLE)
    assert rows(lake) == [("2011-06-01", "quick", 3)]


def test_a_committed_stage_that_was_overtaken_is_not_brought_back(lake: Lake) -> None:
    first = stage(lake, {D1: [("first", 1)]}, 1)
    lake.commit(first, TABLE)
    lake.commit(stage(lake, {D1: [("second", 2)]}, 2), TABLE)
    with pytest.raises(LakeError, match=REFUSED):
        lake.commit(first, TABLE)
    assert rows(lake) == [("2011-06-01", "second", 2)]


def test_a_compaction_meanwhile_is_no_rewrite(lake: Lake) -> None:
    folder = lake.path(TABLE.name)
    staged = stage(lake, {D1: [("a", 1)]}, 1)
    second = folder / staged.folder / "run_date=2011-06-01" / "part-1.parquet"
    second.write_bytes(second.with_name("part-0.parquet").read_bytes())
    lake.commit(staged, TABLE)
    waiting = stage(lake, {D1: [("b", 2)]}, 2)
    assert lake.open(TABLE.name).optimize.compact()["numFilesRemoved"] == 2
    lake.commit(waiting, TABLE)
    assert rows(lake) == [("2011-06-01", "b", 2)]


def test_a_log_that_no_longer_reaches_back_is_no_licence(lake: Lake) -> None:
    lake.commit(stage(lake, {D2: [("b", 2)]}), TABLE)
    staged = stage(lake, {D1: [("a", 1)]}, 1)
    lake.commit(stage(lake, {D2: [("b", 3)]}, 2), TABLE)
    lake.open(TABLE.name).create_checkpoint()
    (lake.path(TABLE.name) / "_delta_log" / f"{1:020d}.json").unlink()
    with pytest.raises(LakeError, match=r"its log no longer reaches back to version 0, .* run the step before again"):
        lake.commit(staged, TABLE)
