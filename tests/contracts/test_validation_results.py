"""What the gates found is kept by night and gate, once, and teaches the nights after."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from nightshift.contracts import check, data_docs, expectations
from nightshift.contracts.results import results_table
from nightshift.lake import Lake
from nightshift.runs import GateError
from tests.contracts.prices import RUN_DATE, night_of, write_suite

LEARNED = {"figure": "price", "nights": 28, "spread": 6, "least": 1.5, "most": 3}
SUITE = [
    (
        "expect_column_mean_to_be_between",
        {"column": "price", "min_value": {"$LEARNED": "low"}, "max_value": {"$LEARNED": "high"}},
        {"learned": LEARNED, "do": "Ask for the unit."},
    ),
    ("expect_table_row_count_to_be_between", {"min_value": 1}, {"severity": "warn"}),
]


@pytest.fixture(autouse=True)
def suites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_suite(tmp_path / "suites", "prices", SUITE)
    monkeypatch.setattr(expectations, "SUITES", tmp_path / "suites")


def run(home: Path, days_ago: int, price: float, gate: str = "try", **validation: Any) -> Any:
    night = night_of(home, RUN_DATE - dt.timedelta(days=days_ago), **validation)
    return check(night, gate, {"prices": pd.DataFrame({"price": [price, price]})})


def kept(home: Path) -> pd.DataFrame:
    rows = Lake(home / "lake").pandas(results_table.name)
    return rows.sort_values(["run_date", "gate", "expectation"], ignore_index=True)


def test_a_gate_run_again_replaces_its_own_rows_of_the_night_and_no_others(tmp_path: Path) -> None:
    run(tmp_path, 1, 2.0)
    run(tmp_path, 0, 2.0)
    run(tmp_path, 0, 3.0, gate="other")
    run(tmp_path, 0, 2.5)
    found = kept(tmp_path)
    prices = found[found["figure"] == "price"]
    assert prices[["run_date", "gate", "value"]].to_numpy().tolist() == [
        [RUN_DATE - dt.timedelta(days=1), "try", 2.0],
        [RUN_DATE, "other", 3.0],
        [RUN_DATE, "try", 2.5],
    ]
    assert list(found.columns) == [*results_table.columns, "run_date"]
    assert len(found) == 6


def test_an_example_which_may_be_somebodys_id_is_told_but_not_kept_for_good(tmp_path: Path) -> None:
    write_suite(tmp_path / "suites", "people", [("expect_column_values_to_be_unique", {"column": "user_id"}, {})])
    with pytest.raises(GateError, match=r"found 2 of 2 rows, like 'ann'"):
        check(night_of(tmp_path), "try", {"people": pd.DataFrame({"user_id": ["ann", "ann"]})})
    assert kept(tmp_path)["observed"].tolist() == ["2 of 2 rows"]


def test_eight_nights_at_once_are_all_kept(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda days: run(tmp_path, days, 2.0), range(8)))
    assert len(kept(tmp_path)) == 16


def test_a_figure_is_held_against_the_nights_that_passed_and_what_it_says_can_be_done(tmp_path: Path) -> None:
    for days in range(20, 12, -1):
        (mean, _) = sorted(run(tmp_path, days, 2.0), key=lambda found: found.expectation)
        assert (mean.success, mean.note) == (True, f"not enough history ({20 - days} of 8 nights)")
        assert mean.allowed == "anything, for now"
    with pytest.raises(GateError) as stopped:
        run(tmp_path, 12, 200.0)
    told = str(stopped.value)
    assert "found 200, allowed 1.33333 to 3 (learned from 8 nights up to 2011-11-17) -> Ask for the unit." in told
    accept = {"gate": "try", "figure": "price", "run_date": "2011-11-18", "why": "new currency"}
    assert "add {gate: try, figure: price, run_date: 2011-11-18, why: ...} to validation.accept" in told
    for days in (11, 10):
        with pytest.raises(GateError, match="learned from 8 nights up to 2011-11-17"):
            run(tmp_path, days, 200.0)  # nights that were refused teach nothing
    (mean, _) = sorted(run(tmp_path, 12, 200.0, accept=[accept]), key=lambda found: found.expectation)
    assert mean.success
    assert mean.note.startswith("accepted in the configuration: new currency; learned from 8 nights")
    assert data_docs.build(night_of(tmp_path, dt.date(2011, 11, 18))) == []


def test_a_baseline_forgets_the_nights_before_it(tmp_path: Path) -> None:
    for days in range(20, 12, -1):
        run(tmp_path, days, 2.0)
    with pytest.raises(GateError, match=r"price: 2011-11-18 to validation\.baseline"):
        run(tmp_path, 12, 200.0)
    new = {"baseline": {"price": "2011-11-18"}}
    for days in range(12, 4, -1):
        run(tmp_path, days, 200.0, **new)
    with pytest.raises(GateError, match="learned from 8 nights up to 2011-11-25"):
        run(tmp_path, 4, 2.0, **new)


def test_a_backfilled_night_learns_from_the_nights_before_it_alone(tmp_path: Path) -> None:
    for days in range(20, 5, -1):
        run(tmp_path, days, 2.0 + days / 100)
    before = kept(tmp_path).drop(columns="seconds")
    for days in (10, 15, 12):
        run(tmp_path, days, 2.0 + days / 100)
    pd.testing.assert_frame_equal(kept(tmp_path).drop(columns="seconds"), before)


def test_a_figure_that_never_was_and_is_not_tonight_is_nothing_to_judge(tmp_path: Path) -> None:
    (mean, _) = sorted(run(tmp_path, 0, float("nan")), key=lambda found: found.expectation)
    assert (mean.success, mean.observed, mean.note) == (True, "nothing", "not enough history (0 of 8 nights)")
    assert data_docs.build(night_of(tmp_path)) == []
    for days in range(20, 12, -1):
        run(tmp_path, days, 2.0)
    with pytest.raises(GateError, match="found nothing, allowed"):
        run(tmp_path, 3, float("nan"))
