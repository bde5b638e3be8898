"""Search better settings for the models, by what had happened before the night's test days.

    python -m jobs.search --run-date 2011-11-30 --minutes 30
    python -m jobs.search --run-date 2011-11-30 --minutes 30 --trials 40

The night of the run date must have built its features. Goes on from where an earlier search of the run date was, unless
the space, the settings, the data or the code have changed; a kill loses the trial at work. The trials are runs in
MLflow. If the best is surely better than the settings in force, search/winner.json says so, and nights of later run
dates train with it until their gate refuses it: docs/tuning.md.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jobs import command
from nightshift.config import Settings
from nightshift.evaluation.intervals import interval
from nightshift.evaluation.labels import labels
from nightshift.features.snapshot import load_interactions, load_snapshot
from nightshift.lake import Lake
from nightshift.models.fitting import NothingToLearnError
from nightshift.registry.searches import SearchRuns
from nightshift.runs import Night, StepError
from nightshift.runs.lock import last_to_begin
from nightshift.runs.steps import STEPS
from nightshift.tuning import winner as winners
from nightshift.tuning.bench import Bench
from nightshift.tuning.space import STAGES, Stage, UselessError, Values, open_to_search, values_of
from nightshift.tuning.study import Budget, Found, Study, Trial
from nightshift.tuning.winner import Gain, Winner

log = logging.getLogger("nightshift")

SHAPING = ("two_tower", "graph_filter", "ranker", "candidates", "index", "evaluation", "features")
"""Sections that a validation's figures depend on."""


def search(
    night: Night, minutes: str | None = None, trials: str | None = None, stages: Sequence[Stage] = STAGES
) -> dict[str, Any]:
    """Try settings, until the time is up or so many trials have been made.

    Args:
        minutes: that it may take, what it does at the end included; else `tuning.minutes`.
        trials: at most, those of earlier runs of the same search included.

    Raises:
        StepError: another search is at work, MLflow cannot be reached, or there is too little to validate on.
    """
    budget = Budget(
        60 * _number("minutes", minutes or str(night.settings.tuning.minutes)),
        int(_number("trials", trials)) if trials else None,
        night_begun(night.home),
    )
    try:
        with winners.locked(night.home / winners.FOLDER / "search.lock", wait=False):
            return _search(night, budget, stages)
    except BlockingIOError:
        raise StepError(f"another search is at work in {night.home}: wait for its end, or end it") from None
    except (NothingToLearnError, UselessError) as error:
        raise StepError(str(error)) from None


def _search(night: Night, budget: Budget, stages: Sequence[Stage]) -> dict[str, Any]:
    settings, before = winners.in_force(night)
    stages = open_to_search(stages, settings)
    bench = bench_of(night, settings)
    name = search_name(night, settings, stages, bench)
    runs = SearchRuns(night, name, _params(settings, stages, bench, before))
    metric: str = settings.evaluation.metric

    def keep(trial: Trial) -> None:
        value = {} if trial.value is None else {metric: trial.value}
        runs.keep(trial.name, trial.state, trial.overrides, {**value, "seconds": trial.seconds})

    study = Study(night.home / winners.FOLDER / "studies.log", name, stages, settings, bench.tried, keep)
    if others := study.others(f"{night.run_date}-"):
        log.info("search: %s is another than %s: space, settings, data or code changed", name, ", ".join(others))
    found = study.search(budget)
    log.info("search: %s; best %s, %.4f", found.stopped, found.best.name, found.best.value)
    gain = gain_of(bench, found, settings)
    winner = winner_of(night, name, found.best, gain, before) if gain else None
    if winner:
        winners.keep(night.home, winner)
    result = {
        "search": name,
        "other_searches": others,
        "in_force": before.name if before else None,
        "trials": len(found.trials) - 1,
        "states": {state: _count(found, state) for state in ("complete", "pruned", "failed")},
        "stopped": found.stopped,
        "base": found.base.value,
        "best": asdict(found.best),
        "gain": gain.model_dump() if gain else None,
        "winner": winner.name if winner else None,
        "verdict": _told(gain, settings),
        "mlflow_run": runs.parent,
    }
    figures = {"base": found.base.value, "best": found.best.value}
    figures |= {f"gain_{end}": getattr(gain, end) for end in ("mean", "low", "high")} if gain else {}
    artifact = {"winner.json": winner.model_dump(mode="json")} if winner else {}
    runs.end({key: value for key, value in figures.items() if value is not None}, {"search.json": result, **artifact})
    log.info("search: %s", result["verdict"])
    return result


def bench_of(night: Night, settings: Settings) -> Bench:
    """What trials are validated on: the features as of the ranker's cut-off, and what came up to the test cut-off.

    All positive events up to there are in memory from here on.
    """
    lake, tables = Lake(night.home / "lake"), night.read_json("build_features")["tables"]
    known = load_snapshot(lake, night.ranker_cutoff, tables)
    interactions = load_interactions(lake, night.test_cutoff, tables["events"])
    return Bench(known, interactions, labels(interactions, known.as_of, night.test_cutoff, known), settings)


def search_name(night: Night, settings: Settings, stages: Sequence[Stage], bench: Bench) -> str:
    """The run date, and a hash of all that the figures depend on."""
    shaping = {name: getattr(settings, name).model_dump(mode="json") for name in SHAPING}
    asked = [shaping, settings.seed, [asdict(stage) for stage in stages], bench.content()]
    return f"{night.run_date}-{hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]}"


def gain_of(bench: Bench, found: Found, settings: Settings) -> Gain | None:
    """What the best is better by than the settings in force, on the users that the search has not seen."""
    if not found.best.overrides:
        return None
    differences = bench.confirmed(found.best.overrides) - bench.confirmed({})
    told = interval(differences, settings.seed, settings.evaluation.confidence)
    metric = f"{settings.evaluation.metric}@{settings.evaluation.k}"
    return Gain(metric=metric, mean=told.mean, low=told.low, high=told.high, users=len(differences))


def winner_of(night: Night, name: str, best: Trial, gain: Gain, before: Winner | None) -> Winner | None:
    """The best as a winner, if it is surely better."""
    if not gain.low > night.settings.tuning.min_gain:
        return None
    overrides = (before.overrides if before else {}) | best.overrides
    return Winner(
        search=name,
        trial=best.name,
        run_date=night.run_date,
        after=max(night.run_date, winners.last_begun(night.home)),
        overrides=overrides,
        configured=values_of(night.settings, list(overrides)),
        gain=gain,
    )


def _params(settings: Settings, stages: Sequence[Stage], bench: Bench, before: Winner | None) -> dict[str, Any]:
    """What the whole search has in common: the settings that it begins with among it."""
    base: Values = values_of(settings, [each.key for stage in stages for each in stage.ranges])
    return {
        "known_until": bench.snapshot.as_of,
        "users_to_choose": int(bench.choosing.sum()),
        "users_to_confirm": int((~bench.choosing).sum()),
        "in_force": before.name if before else "configuration",
        **base,
    }


def night_begun(home: Path) -> Callable[[], str | None]:
    """Says which step of a night has begun since now, if one has."""
    before = last_to_begin(home)

    def told() -> str | None:
        now = last_to_begin(home)
        begun = now is not None and now != before and now.partition(" ")[0] in STEPS
        return f"a night is at work: {now}" if begun else None

    return told


def _told(gain: Gain | None, settings: Settings) -> str:
    if gain is None:
        return "nothing was better than the settings in force"
    least = settings.tuning.min_gain
    told = f"{gain.metric} {gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f}) on {gain.users} users"
    return f"{told}: " + ("a winner" if gain.low > least else f"not surely more than {least:+g}, so no winner")


def _count(found: Found, state: str) -> int:
    return sum(trial.state == state for trial in found.trials[1:])


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0 or (name == "trials" and value != int(value)):
        raise StepError(f"--{name} is {text!r}: give a {'whole ' if name == 'trials' else ''}number above 0")
    return value


if __name__ == "__main__":
    options = {
        "minutes": "how long it may take (tuning.minutes)",
        "trials": "at most so many, earlier ones of the same search included",
    }
    command.run(search, __doc__, options)
