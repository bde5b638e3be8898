"""Decide which model makes the night's lists: the new one, the champion, or the best baseline. Writes verdict.json.

    python -m jobs.evaluate --run-date 2011-11-30

Champion and challenger are tested on the same users and days, each by the weights that it had before its own test days.
Whoever serves is a version in the registry; nobody is promoted here.
"""

from __future__ import annotations

import logging
import math
from dataclasses import asdict
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
from nightshift.registry.tracking import Registered, Tracking, registered_champion
from nightshift.runs import Night
from nightshift.tuning.winner import judge as judge_winner

log = logging.getLogger("nightshift")


def evaluate(night: Night) -> dict[str, Any]:
    trained = night.read_json("train")
    values = load_values(night.folder / "test")
    baselines = {baseline.kind: values[baseline.kind] for baseline in BASELINES}
    champion = registered_champion(night)
    tested, trouble = tested_champion(night, champion) if champion else (None, "there is no champion yet")
    settings = night.settings.evaluation
    before = tested.values["champion"] if tested else None
    verdict = judge(values.get("two_stage"), before, baselines, settings, night.settings.seed, trouble)
    served = choose(night, verdict, champion if tested else None, trained["mlflow_run"])
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


def tested_champion(night: Night, champion: Registered) -> tuple[Comparison | None, str]:
    """The champion, as `champion`, on tonight's test; None, and why, where it can neither be tested nor serve."""
    lake, tables = Lake(night.home / "lake"), night.read_json("build_features")["tables"]
    known = load_snapshot(lake, night.test_cutoff, tables)
    happened = load_interactions(lake, night.run_date, tables["events"], after=night.test_cutoff)
    truth = labels(happened, known.as_of, night.run_date, known)
    try:
        model = load_recommender(champion.folder, champion.kind, night.settings, which="holdout")
        model = model.indexed(known) if isinstance(model, TwoStage) else model
        return compare({"champion": model}, known, truth, night.settings.evaluation.k), ""
    except (ModelFileError, SeenTestError) as error:
        return None, f"the champion, version {champion.version}, cannot be used: {error}"


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
