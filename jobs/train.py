"""Train the night's model, and test it beside the baselines on the last days before the run date.

    python -m jobs.train --run-date 2011-11-30

Leaves `model/` (two_tower/ serves, holdout/two_tower/ is the one tested, ranker/ is both's) and train.json: parameters,
curves, and every model's metrics on the same users.
"""

from __future__ import annotations

from typing import Any

from jobs import command
from nightshift.config import Settings
from nightshift.evaluation.compare import compare
from nightshift.evaluation.labels import labels
from nightshift.features.snapshot import load_interactions, load_snapshot
from nightshift.lake import Lake
from nightshift.models.baselines import BASELINES
from nightshift.ranking.training import train as train_model
from nightshift.registry.tracking import Tracking
from nightshift.runs import Night, StepError


def train(night: Night) -> dict[str, Any]:
    settings, lake = night.settings, Lake(night.home / "lake")
    tables = night.read_json("build_features")["tables"]
    snapshots = [load_snapshot(lake, night.run_date, day, tables) for day in night.cutoffs]
    interactions = load_interactions(lake, night.run_date, tables["events"])
    early, middle, late = snapshots
    if early.users.empty or early.items.empty:
        raise StepError(
            f"nothing was bought by {early.as_of}, the ranker's cut-off for {night.run_date}: choose a later run date, "
            f"or shorten evaluation.test_days ({settings.evaluation.test_days})"
        )
    ranker_labels = labels(interactions, early.as_of, middle.as_of, known=early)
    trained = train_model(snapshots, interactions, ranker_labels, settings)
    trained.save(night.fresh_folder("model"))
    folder = night.keep_folder("model")

    models = {"two_stage": trained.holdout, "two_tower": trained.holdout.two_tower}
    truth = labels(interactions, middle.as_of, late.as_of, known=middle)
    test = compare({**models, **{b.kind: b() for b in BASELINES}}, middle, truth, settings.evaluation.k)
    params = parameters(settings)
    metrics = {f"{model}.{name}": value for model, found in test.metrics.items() for name, value in found.items()}
    run = Tracking(night).log_run(params, metrics, trained.curves, tables, folder)
    return {
        "params": params,
        "curves": trained.curves,
        "metrics": test.metrics,
        "parts": trained.seconds,
        "importance": trained.holdout.ranker.importance(),
        "device": trained.holdout.two_tower.device.type,
        "users": len(late.users),
        "items": len(late.items),
        "tables": tables,
        "mlflow_run": run,
    }


def parameters(settings: Settings) -> dict[str, Any]:
    """All settings that shape a model, flat."""
    sections = ("two_tower", "ranker", "candidates", "index", "evaluation")
    named = {f"{name}.{key}": value for name in sections for key, value in getattr(settings, name).model_dump().items()}
    return {"seed": settings.seed, **named}


if __name__ == "__main__":
    command.run(train, __doc__)
