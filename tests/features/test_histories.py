"""The events user by user are those that are loaded at once."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest

from nightshift.features import histories
from nightshift.features.histories import Histories
from nightshift.features.snapshot import load_interactions
from nightshift.lake import Lake
from tests import shop


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(tmp_path_factory.mktemp("home") / "lake")
    known = shop.interactions().assign(weight=1.0)
    known.loc[::7, "weight"] = -1.0  # taken back
    known.loc[::11, "run_date"] = shop.RUN_DATE  # came late
    lake.replace("events", sorted(known["run_date"].unique()), known)
    return lake


@pytest.mark.parametrize("rows", [1, 300, 10_000])
@pytest.mark.parametrize("until", [shop.RANKER_CUTOFF, shop.RUN_DATE])
def test_frames_of_whole_users_hold_what_is_loaded_at_once(
    lake: Lake, until: dt.date, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(histories, "ROWS", rows)
    frames = list(Histories(lake, None, tmp_path / "sort", "100MB", threads=1)(until))
    users = [user for frame in frames for user in sorted(frame["user_id"].unique())]
    assert users == sorted(set(users))
    assert len(frames) > 2 or rows == 10_000
    expected, found = load_interactions(lake, until), histories.in_order(pd.concat(frames))
    for name in ("user_id", "item_id", "event_date", "basket_id", "run_date"):
        assert found[name].astype(str).tolist() == expected[name].astype(str).tolist(), name
    assert (found["event_time"].to_numpy() == expected["event_time"].to_numpy()).all()
    assert not list((tmp_path / "sort").iterdir())


def test_before_the_first_event_there_is_no_frame(lake: Lake, tmp_path: Path) -> None:
    assert list(Histories(lake, None, tmp_path)(shop.FIRST - dt.timedelta(days=1))) == []
