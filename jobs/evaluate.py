"""Decide which model makes the night's lists: the new one, the champion, or the best baseline. Writes verdict.json.

    python -m jobs.evaluate --run-date 2011-11-30

Champion and challenger are tested on the same users and days, each by the weights that it had before its own test days.
Whoever serves is a version in the registry; nobody is promoted here.
"""

from __future__ import annotations

import datetime as dt
import logging
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jobs import command
from nightshift.evaluation.compare import Comparison, SeenTestError, compare, load_values
from nightshift.evaluation.gate import Verdict, judge
from nightshift.evaluation.intervals import Interval
from nightshift.evaluation.labels import labels
from nightshift.features.snapshot import load_interactions, load_snapshot
from nightshift.lake import Lake
from nightshift.models.baselines import BASELINES
from nightshift.models.recommender import ModelFileError, Recommender
from nightshift.ranking.loading import load_recommender
from nightshift.ranking.two_stage import TwoStage
from nightshift.registry import lost_before
from nightshift.registry.tracking import Registered, Tracking, registered_champion
from nightshift.runs import Night
from nightshift.tuning.winner import judge as judge_winner

log = logging.getLogger("nightshift")


@dataclass(frozen=True)
class Tried:
    """What became of the champion in tonight's test.

    Attributes:
        serves: whether it can.
        comparison: of it, as `champion`; None where it could not be tested.
        trouble: why it could not, if so.
    """

    serves: bool
    comparison: Comparison | None
    trouble: str = ""


def evaluate(night: Night) -> dict[str, Any]:
    trained = night.read_json("train")
    values = load_values(night.folder / "test")
    baselines = {baseline.kind: values[baseline.kind] for baseline in BASELINES}
    champion = registered_champion(night)
    tried = tested_champion(night, champion) if champion else Tried(False, None, "there is no champion yet")
    tested, settings = tried.comparison, night.settings.evaluation
    before = tested.values["champion"] if tested else None
    lost, seed = lost_before(night), night.settings.seed
    verdict = judge(values.get("two_stage"), before, baselines, settings, seed, tried.trouble, tried.serves, lost)
    served = choose(night, verdict, champion if tried.serves else None, trained["mlflow_run"])
    rows = {**trained["metrics"], **(tested.metrics if tested else {})}
    metric = settings.metric
    result = {
        "run_date": night.run_date.isoformat(),
        "served": {
            "name": served.name,
            "version": served.version,
            "kind": served.kind,
            "folder": str(served.folder.relative_to(night.home)),
        },
        "challenger": rows.get("two_stage"),
        "champion": rows.get("champion"),
        "baselines": {name: rows[name] for name in baselines},
        "gains": {name: figures(gain) for name, gain in verdict.gains.items()},
        "lost_before": lost,
        "accepted": verdict.accepted,
        "reasons": list(verdict.reasons),
        "table": [{"model": name, **rows[name]} for name in sorted(rows, key=lambda n: (-(rows[n][metric] or 0), n))],
    }
    night.write_json("verdict", result)
    settle(night, trained, verdict)
    log.info("%s: %s", "accepted" if verdict.accepted else "refused", "; ".join(verdict.reasons))
    return {name: result[name] for name in ("accepted", "reasons", "served")}


def figures(gain: Interval) -> dict[str, float | None]:
    """An interval for JSON, which knows no infinity."""
    return {name: value if math.isfinite(value) else None for name, value in asdict(gain).items()}


def tested_champion(night: Night, champion: Registered) -> Tried:
    """The champion on tonight's test. One whose tested weights know a day of it serves as it did, untested."""
    lake, tables = Lake(night.home / "lake"), night.read_json("build_features")["tables"]
    known = load_snapshot(lake, night.test_cutoff, tables)
    happened = load_interactions(lake, night.run_date, tables["events"], after=night.test_cutoff)
    truth = labels(happened, known.as_of, night.run_date, known)
    try:
        model = load_recommender(champion.folder, champion.kind, night.settings, which="holdout")
    except ModelFileError as error:
        return Tried(False, None, f"the champion, version {champion.version}, cannot be used: {error}")
    model = model.indexed(known) if isinstance(model, TwoStage) else model
    try:
        return Tried(True, compare({"champion": model}, known, truth, night.settings.evaluation.k))
    except SeenTestError as error:
        assert model.as_of
        told = f"the champion, version {champion.version}, cannot be compared with, and stays: {error}"
        return Tried(True, None, f"{told}. {comparable(night, model.as_of)}")


def comparable(night: Night, as_of: dt.date) -> str:
    """When a champion can be tested whose tested weights know the days up to `as_of`, and what to do till then."""
    first, days = as_of + dt.timedelta(days=night.settings.evaluation.test_days), (night.run_date - as_of).days
    now = f", tonight with evaluation.test_days of at most {days}" if days > 0 else ""
    command = f"python -m jobs.promote --run-date {night.run_date} --version N"
    return f"It can be from the night of {first} on{now}; to promote another version by hand: {command}"


def choose(night: Night, verdict: Verdict, champion: Registered | None, mlflow_run: str) -> Registered:
    """Who serves: the challenger if accepted, else the champion, else the best baseline. All are registered models."""
    tracking = Tracking(night)
    baselines = {baseline.kind: tracking.register(baseline.kind, saved(night, baseline())) for baseline in BASELINES}
    if verdict.accepted:
        return tracking.register("two_stage", night.folder / "model", mlflow_run)
    return champion or baselines[verdict.best_baseline]


def settle(night: Night, trained: dict[str, Any], verdict: Verdict) -> None:
    """Tell the search's winner that the challenger was trained with, if any, whether it stays or is put aside."""
    winner = trained.get("tuning")
    if winner and trained["trained"]:
        judge_winner(night.home, winner["name"], night.run_date, verdict.accepted, verdict.reasons)


def saved(night: Night, baseline: Recommender) -> Path:
    """A baseline as a model's folder."""
    baseline.save(night.fresh_folder("baseline"))
    return night.keep_folder("baseline")


if __name__ == "__main__":
    command.run(evaluate, __doc__)
