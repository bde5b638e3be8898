"""A search on a planted objective: what it finds, how it ends, and how it goes on after a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nightshift.tuning.space import UselessError
from nightshift.tuning.study import AT_THE_END, Found, Study
from tests.tuning import planted

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Found:
    """A search that nobody interrupts."""
    return planted.search(tmp_path_factory.mktemp("whole") / "studies.log")


def made(found: Found) -> list[tuple]:
    """The trials that ended, without their numbers and times."""
    return [(trial.state, trial.overrides, trial.value) for trial in found.trials if trial.state != "failed"]


def test_it_finds_what_is_planted(whole):
    assert (whole.base.name, whole.base.overrides) == ("base", {})
    assert whole.best.value > whole.base.value + 0.05
    assert abs(whole.best.overrides["candidates.repeat"] - 150) < abs(planted.SETTINGS.candidates.repeat - 150)
    assert whole.stopped == "12 trials have been made"


def test_a_stage_begins_with_the_best_so_far_and_moves_its_own_settings_only(whole):
    assert [trial.name.rpartition("/")[0] for trial in whole.trials[1:]] == (
        ["1/ranker"] * 5 + ["1/candidates"] * 4 + ["2/ranker"] * 3
    )
    ranker = Found(whole.trials[:6], "").best.overrides
    for trial in whole.trials[6:10]:
        assert trial.overrides.keys() == planted.BEST.keys()
        assert {key: trial.overrides[key] for key in ranker} == ranker


def test_a_hopeless_trial_ends_early(whole):
    pruned = [trial for trial in whole.trials if trial.state == "pruned"]
    assert pruned
    values = {trial.name: next(iter(planted.metric(trial.overrides)))[0].mean() for trial in whole.trials}
    assert max(values[trial.name] for trial in pruned) < values[whole.best.name]


def test_after_a_kill_it_makes_the_trials_that_it_would_have_made(whole, tmp_path):
    command = [sys.executable, "-m", "tests.tuning.planted", str(tmp_path / "studies.log"), "3"]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    with (tmp_path / "studies.log").open("ab") as journal:
        journal.write(b'{"op_code":6,"work')  # killed while it wrote
    found = planted.search(tmp_path / "studies.log")
    assert made(found) == made(whole)
    assert [trial.state for trial in found.trials].count("failed") == 1
    assert found.best.overrides == whole.best.overrides


def test_going_on_makes_only_what_is_left(whole, tmp_path):
    calls = []

    def counted(overrides):
        calls.append(overrides)
        return planted.metric(overrides)

    assert len(planted.search(tmp_path / "studies.log", counted, trials=3).trials) == 4
    assert made(planted.search(tmp_path / "studies.log", counted)) == made(whole)
    assert len(calls) == 13


class Clock:
    """Time that passes only where it is spent."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def spend(self, seconds):
        """The planted objective, each part of which takes so long."""

        def evaluate(overrides):
            for part in planted.metric(overrides):
                self.now += seconds(overrides) if callable(seconds) else seconds
                yield part

        return evaluate


def test_no_trial_is_started_that_cannot_end_in_time(tmp_path):
    clock = Clock()
    found = planted.search(tmp_path / "studies.log", clock.spend(10), seconds=200, clock=clock)
    kept = AT_THE_END * found.base.seconds
    assert found.base.seconds == 30
    assert len(found.trials) > 3
    assert 200 - kept - 30 < clock.now <= 200 - kept
    assert "a trial of ranker takes up to 30.0 s, and " in found.stopped


def test_a_trial_that_takes_longer_than_any_before_is_cut_off(tmp_path):
    clock = Clock()
    evaluate = clock.spend(lambda overrides: 1000 if overrides else 10)
    found = planted.search(tmp_path / "studies.log", evaluate, seconds=250, clock=clock)
    assert [trial.state for trial in found.trials] == ["complete", "failed"]
    assert clock.now == 30 + 1000, "it ends with the part at work"
    assert found.best is found.base


def test_where_there_is_no_time_the_settings_in_force_are_evaluated_and_no_more(tmp_path):
    assert len(planted.search(tmp_path / "studies.log", seconds=0).trials) == 1


def test_it_gives_way(tmp_path):
    found = planted.search(tmp_path / "studies.log", interrupted=lambda: "a night is at work: train")
    assert (len(found.trials), found.stopped) == (1, "a night is at work: train")


def test_settings_that_leave_nothing_to_learn_are_passed_over(tmp_path):
    def evaluate(overrides):
        if overrides.get("ranker.leaves", 0) > 20:
            raise UselessError("no candidate came true")
        yield from planted.metric(overrides)

    found = planted.search(tmp_path / "studies.log", evaluate, trials=6)
    assert {trial.state for trial in found.trials if trial.overrides.get("ranker.leaves", 0) > 20} == {"pruned"}
    assert len(found.trials) == 7


def test_a_search_knows_of_others_in_its_file(tmp_path):
    planted.search(tmp_path / "studies.log", trials=1)
    other = Study(tmp_path / "studies.log", "2024-05-19-changed", planted.STAGES, planted.SETTINGS, planted.metric)
    assert other.others("2024-05-19-") == ["2024-05-19-planted"]
    assert other.others("2024-05-20-") == []
