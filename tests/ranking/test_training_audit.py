"""What a night is about to learn from is held to the contract first."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nightshift.evaluation.labels import labels
from nightshift.ranking.audit import TrainingAudit
from nightshift.ranking.training import train_two_stage
from nightshift.runs import GateError, Night, open_night
from tests import shop


@pytest.fixture
def night(tmp_path: Path) -> Night:
    return open_night(shop.settings(two_tower={"epochs": 1}), shop.RUN_DATE, home=tmp_path)


def rows(**changes: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"user": [0, 0, 1, 1], "item": [0, 1, 0, 1], "label": [0, 1, 0, 0], **changes})


def features(**changes: list[float]) -> pd.DataFrame:
    given = {"user_events": [1.0, 1.0, 2.0, 2.0], "pair_gap": [np.nan, np.nan, 3.0, np.nan], **changes}
    return pd.DataFrame(given, dtype=np.float32)


def test_a_night_that_trains_has_audited_its_events_and_the_rankers_rows(night: Night) -> None:
    audit, known = TrainingAudit(night), shop.interactions()
    audit.events(known)
    truth = labels(known, shop.RANKER_CUTOFF, shop.TEST_CUTOFF, shop.snapshots()[0])
    train_two_stage(shop.snapshots(), known, truth, night.settings, audit.ranker_rows)
    assert all(found["success"] for found in night.read_json("train_checks"))
    found = {one["figure"]: one for one in night.read_json("train_ranker_checks")}
    assert 0 < found["label"]["value"] < 0.5
    assert found["label"]["note"] == "not enough history (0 of 8 nights)"
    assert {one["success"] for one in found.values() if one["severity"] == "stop"} == {True}
    assert audit.seconds > 0


def test_nothing_to_learn_from_is_not_the_gates_to_judge(night: Night) -> None:
    audit = TrainingAudit(night)
    audit.events(shop.interactions().iloc[:0])
    audit.ranker_rows(rows().iloc[:0], features().iloc[:0])
    assert (audit.seconds, night.folder.exists()) == (0.0, False)


@pytest.mark.parametrize(
    ("column", "said"), [("event_date", "days_after: .* found 1 of"), ("run_date", "days_known_after: .* found 1 of")]
)
def test_an_event_after_the_nights_day_stops_it(night: Night, column: str, said: str) -> None:
    known = shop.interactions()
    known.loc[5, column] = night.run_date + dt.timedelta(days=1)
    with pytest.raises(GateError, match=rf"training_events: {said} {len(known)} rows, like 1, allowed … to 0"):
        TrainingAudit(night).events(known)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda: (rows(item=[0, 0, 0, 1]), features()), "user and item: compound columns to be unique: found 2 of 4"),
        (lambda: (rows(label=[0, 0, 0, 0]), features()), "label: column mean to be between: found 0, allowed 0.0001"),
        (
            lambda: (rows(label=[0, 1, 2, 0]), features()),
            "label: column values to be in set: found 1 of 4 rows, like 2",
        ),
        (
            lambda: (rows(), features(pair_gap=[np.inf, 1, 1, 1])),
            "not_finite: column values to be null: found 1 of 2 rows, like 'pair_gap'",
        ),
    ],
)
def test_rows_that_would_teach_nonsense_stop_it_and_are_named(
    night: Night, broken: Callable[[], tuple[pd.DataFrame, pd.DataFrame]], said: str
) -> None:
    with pytest.raises(GateError, match=said):
        TrainingAudit(night).ranker_rows(*broken())


def test_a_feature_without_values_is_named_and_stops_the_night_if_it_used_to_have_some(
    night: Night, caplog: pytest.LogCaptureFixture
) -> None:
    lost = features(pair_gap=[np.nan] * 4)
    TrainingAudit(night).ranker_rows(rows(), lost)
    assert "without_values: column values to be null: found 1 of 2 rows, like 'pair_gap'" in caplog.text
    for days in range(9, 1, -1):
        before = open_night(night.settings, night.run_date - dt.timedelta(days=days), home=night.home)
        TrainingAudit(before).ranker_rows(rows(), features())
    with pytest.raises(GateError, match=r"is_without_values: .* found 1, allowed … to 0 \(learned from 8 nights"):
        TrainingAudit(night).ranker_rows(rows(), lost)
