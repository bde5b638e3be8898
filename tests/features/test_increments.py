"""Increments give, row by row, what a rebuild from all events gives, and what is computed without any state."""

from __future__ import annotations

import datetime as dt
import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from nightshift.config.settings import Engine
from nightshift.features import states
from nightshift.features.lineage import load_lineage
from nightshift.features.states import consolidate, expire
from nightshift.lake import Lake, engine
from nightshift.runs import StepError
from tests.features.history import SETTINGS, Event, advance, bring, state_as_of, tables_as_of

JUNE = [dt.date(2011, 6, n) for n in range(1, 31)]


def a_history(seed: int, rows: int = 120) -> list[Event]:
    """Random events with all that goes wrong: late rows, returns, large baskets, missing prices and changing titles."""
    dice = random.Random(seed)
    found = []
    for number in range(rows):
        day = dice.randint(1, 30)
        late = dice.choice([0] * 9 + [1, 3, 12])
        found.append(
            Event(
                user=dice.choice("uvwx"),
                item=dice.choice("ABCDEF"),
                day=day,
                basket=f"b{day}-{dice.randint(1, 2)}",
                price=dice.choice([None, 0.35, 1.25, 7.0]),
                quantity=dice.choice([1.0, 6.0, 0.125]),
                weight=dice.choice([1.0, 1.0, 1.0, 2.5, -1.0, 0.0]),
                title=dice.choice([None, "", f"Name {number}", "Name"]),
                country=dice.choice(["GB", "FR"]),
                known=min(30, day + late),
                hour=dice.randint(0, 23),
            )
        )
    return found


def same(one: dict[str, pd.DataFrame], other: dict[str, pd.DataFrame]) -> None:
    assert set(one) == set(other)
    for name, frame in one.items():
        assert as_text(frame) == as_text(other[name]), name


def as_text(frame: pd.DataFrame) -> list[str]:
    """Every row, to the last bit of each figure."""
    return [json.dumps(row, default=lambda value: repr(value)) for row in frame.astype(object).to_dict("records")]


@pytest.mark.parametrize("seed", [1, 2])  # after the correction two of three nights stand, and one
def test_increments_equal_a_rebuild_row_by_row(warm_engine: Engine, tmp_path: Path, seed: int) -> None:
    """On whatever days a state was built on the way, however many days a step took, and whatever was corrected late."""
    dice, history, last = random.Random(seed), a_history(seed), JUNE[-1]
    nights = sorted(dice.sample(JUNE[:-1], 3))
    wrong = dice.choice(JUNE)
    corrected = [
        replace(event, item=dice.choice("ABC"), quantity=2 * event.quantity) if event.run_date == wrong else event
        for event in history
    ]
    grown, rebuilt = Lake(tmp_path / "grown"), Lake(tmp_path / "rebuilt")
    bring(grown, history)
    bring(rebuilt, corrected)
    with engine.session(warm_engine, tmp_path) as spark:
        for night in nights:
            advance(spark, grown, night)
        bring(grown, [event for event in corrected if event.run_date == wrong])
        standing = [night for night in nights if night < wrong]
        assert advance(spark, grown, last)[-1].base == max(standing, default=None)
        assert advance(spark, rebuilt, last, rebuild=True)[-1].base is None
    same(tables_as_of(grown, last), tables_as_of(rebuilt, last))
    same(state_as_of(grown, last), state_as_of(rebuilt, last))


def test_a_correction_is_built_from_the_last_night_that_it_leaves_standing(warm_engine: Engine, tmp_path: Path) -> None:
    history = a_history(7)
    corrected = [replace(event, quantity=event.quantity * 3, item="A") if event.run_date == JUNE[14] else event
                 for event in history]  # fmt: skip
    lake, fresh = Lake(tmp_path / "corrected"), Lake(tmp_path / "fresh")
    bring(lake, history)
    bring(fresh, corrected)
    with engine.session(warm_engine, tmp_path) as spark:
        advance(spark, lake, JUNE[9], JUNE[19], JUNE[24])
        then, versions = tables_as_of(lake, JUNE[24]), {name: lake.version(name) for name in lake.tables()}
        bring(lake, [event for event in corrected if event.run_date == JUNE[14]])
        assert load_lineage(lake, SETTINGS).stale() == [JUNE[19], JUNE[24]], "the nights that knew the wrong rows"
        assert advance(spark, lake, JUNE[9], JUNE[24], JUNE[29])[-1].base == JUNE[9]
        advance(spark, fresh, JUNE[29])
    same(tables_as_of(lake, JUNE[29]), tables_as_of(fresh, JUNE[29]))
    same(tables_as_of(lake, JUNE[24], versions), then)  # a manifest's versions lead back to what its night saw
    assert not tables_as_of(lake, JUNE[24])["pairs"].equals(then["pairs"])


def test_a_night_reads_its_day_and_those_that_leave_a_window(warm_engine: Engine, tmp_path: Path) -> None:
    """History in between can be gone altogether."""
    lake, whole = Lake(tmp_path / "part"), Lake(tmp_path / "whole")
    bring(lake, [replace(event, known=event.day) for event in a_history(3)])
    with engine.session(warm_engine, tmp_path) as spark:
        advance(spark, lake, JUNE[28])
        shutil.copytree(lake.root, whole.root)
        needed = {JUNE[29], *[JUNE[29] - dt.timedelta(days=days) for days in (1, 7, 28, 60, 90)]}
        lake.replace("events", [day for day in JUNE if day not in needed], nothing(lake))
        assert len(lake.run_dates("events")) <= 4
        for each in (lake, whole):
            assert advance(spark, each, JUNE[29])[-1].base == JUNE[28]
    same(tables_as_of(lake, JUNE[29]), tables_as_of(whole, JUNE[29]))


def test_a_kill_between_two_commits_leaves_no_state_that_is_built_upon(
    warm_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commits of a night's tables are several: whichever is the last that a killed night came to."""
    lake, whole = Lake(tmp_path / "killed"), Lake(tmp_path / "whole")
    commit = Lake.commit
    bring(lake, a_history(5))
    with engine.session(warm_engine, tmp_path) as spark:
        advance(spark, lake, JUNE[9])
        lineage = load_lineage(lake, SETTINGS)
        plans = lineage.plans([JUNE[24]])
        staged = states.stage_states(spark, lake, lineage, plans, SETTINGS, lake.version("events"))
        shutil.copytree(lake.root, whole.root)
        states.commit_states(whole, lineage, staged, SETTINGS)
        for reached in (0, 3, 6):
            left = iter(range(reached))

            def killed(*given: Any, left: Iterator[int] = left) -> int:
                if next(left, None) is None:
                    raise KeyboardInterrupt
                return commit(*given)

            with monkeypatch.context() as patched:
                patched.setattr(Lake, "commit", killed)
                patched.setattr(states, "record", killed)
                with pytest.raises(KeyboardInterrupt):
                    states.commit_states(lake, lineage, staged, SETTINGS)
            assert not load_lineage(lake, SETTINGS).stands(JUNE[24])
            with pytest.raises(StepError, match="no features as of 2011-06-25"):
                tables_as_of(lake, JUNE[24])
        assert advance(spark, lake, JUNE[24])[-1].base == JUNE[9]
    same(state_as_of(lake, JUNE[24]), state_as_of(whole, JUNE[24]))
    same(tables_as_of(lake, JUNE[24]), tables_as_of(whole, JUNE[24]))


def test_merged_layers_hold_what_the_layers_held_and_those_can_go(warm_engine: Engine, tmp_path: Path) -> None:
    """And a night that builds upon them what it would have built upon those."""
    lake, layered = Lake(tmp_path / "merged"), Lake(tmp_path / "layered")
    with engine.session(warm_engine, tmp_path) as spark:
        bring(lake, a_history(11))
        advance(spark, lake, JUNE[9], JUNE[14], JUNE[24])
        shutil.copytree(lake.root, layered.root)
        before = tables_as_of(lake, JUNE[24]), state_as_of(lake, JUNE[24])
        consolidate(spark, lake, load_lineage(lake, SETTINGS), JUNE[24], SETTINGS)
        assert load_lineage(lake, SETTINGS).chain(JUNE[24]) == [JUNE[24]]
        same(tables_as_of(lake, JUNE[24]), before[0])
        same(state_as_of(lake, JUNE[24]), before[1])
        same(tables_as_of(lake, JUNE[9]), tables_as_of(layered, JUNE[9]))
        assert load_lineage(lake, SETTINGS).expired(JUNE[24]) == [JUNE[9], JUNE[14]]
        expire(lake, [JUNE[9], JUNE[14]], SETTINGS)
        assert lake.run_dates("user_features") == lake.run_dates("item_pair_counts") == {str(JUNE[24])}
        for each in (lake, layered):
            assert advance(spark, each, JUNE[29])[-1].base == JUNE[24]
    same(state_as_of(lake, JUNE[29]), state_as_of(layered, JUNE[29]))


def nothing(lake: Lake) -> Any:
    return lake.arrow("events").slice(0, 0)
