"""A night's folder, what its steps leave in it, and the days it learns and is tested on."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.config import load
from nightshift.runs import Night, code_version, open_night
from nightshift.runs.night import safe_run_id

ROOT = Path(__file__).parents[2]


@pytest.fixture
def night(tmp_path: Path) -> Night:
    return open_night(load(ROOT / "nightshift.yaml"), dt.date(2011, 11, 30), home=tmp_path)


def test_the_cutoffs_leave_the_last_days_for_the_test_and_as_many_before_them_for_the_ranker(night: Night) -> None:
    assert night.settings.evaluation.test_days == 14
    assert [day.isoformat() for day in night.cutoffs] == ["2011-11-02", "2011-11-16", "2011-11-30"]
    assert night.cutoffs == (night.ranker_cutoff, night.test_cutoff, night.run_date)


def test_the_home_is_the_one_given_else_the_environments_else_var_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, day = load(ROOT / "nightshift.yaml"), dt.date(2011, 11, 30)
    monkeypatch.delenv("NIGHTSHIFT_HOME", raising=False)
    assert open_night(settings, day).home == ROOT / "var"
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path / "state"))
    assert open_night(settings, day).home == tmp_path / "state"
    assert open_night(settings, day, home=tmp_path).folder == tmp_path / "nights" / "2011-11-30"


def test_what_a_step_left_is_read_back_and_what_it_did_not_names_the_command(night: Night) -> None:
    night.write_json("ingest", {"kept": 3, "day": night.run_date})
    assert night.read_json("ingest") == {"kept": 3, "day": "2011-11-30"}
    with pytest.raises(FileNotFoundError, match=r"run `python -m jobs.train --run-date 2011-11-30` first"):
        night.read_json("train")


def test_a_channel_has_a_folder_of_its_own_and_reads_what_the_night_left(night: Night) -> None:
    night.write_json("ingest", {"kept": 3})
    night.write_json("infer", {"model": "champion"})
    channel = replace(night, channel="challenger")
    channel.write_json("infer", {"model": "challenger"})
    assert (channel.read_json("ingest"), channel.read_json("infer")) == ({"kept": 3}, {"model": "challenger"})
    assert night.read_json("infer") == {"model": "champion"}
    with pytest.raises(FileNotFoundError, match="train has left nothing"):
        channel.read_json("train")


def test_a_killed_write_leaves_what_was_there(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.write_json("train", {"loss": 1})

    def killed(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            night.write_json("train", {"loss": 2})
    assert night.read_json("train") == {"loss": 1}
    night.write_json("train", {"loss": 3})
    assert os.listdir(night.folder) == ["train.json"], "the next write takes the place of the killed one's"


def test_a_folder_takes_the_place_of_the_one_before_when_it_is_whole(night: Night) -> None:
    for mark in ("first", "second"):
        folder = night.fresh_folder("lists")
        (folder / mark).write_text("")
        if mark == "second":
            assert os.listdir(night.folder / "lists") == ["first"]
        night.keep_folder("lists")
    (night.fresh_folder("lists") / "third, killed").write_text("")
    assert os.listdir(night.fresh_folder("lists")) == []
    assert os.listdir(night.folder / "lists") == ["second"]


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_run_id_is_one_folders_name_and_two_are_two(one: str, other: str) -> None:
    safe = safe_run_id(one)
    assert Path(safe).name == safe
    assert safe not in ("", ".", "..")
    assert len(safe) <= 100
    assert safe.isascii()
    assert (safe_run_id(other) == safe) == (one == other) or other == safe
    assert safe_run_id(safe) == safe


def test_airflows_run_ids_stay_readable() -> None:
    assert safe_run_id("by-hand") == "by-hand"
    assert safe_run_id("scheduled__2011-11-30T00:00:00+00:00").startswith("scheduled__2011-11-30T00-00-00-00-00-")
    assert "/" not in safe_run_id("../../etc")


def test_the_code_version_names_the_release_and_a_hash() -> None:
    release, _, digest = code_version().partition("+")
    assert release.count(".") == 2
    assert len(digest) == 12
