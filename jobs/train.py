"""Train the night's model, and test it beside the baselines on the last days before the run date.

    python -m jobs.train --run-date 2011-11-30

Leaves model/ (two_tower/ and graph_filter/ serve, those in holdout/ are tested, ranker/ is both's) and train.json:
parameters, curves, and every model's metrics on the same users. Where there is too little to learn from yet, it leaves
the baselines' metrics only, and one of those will serve.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

import pandas as pd

from jobs import command
from nightshift.config import Settings
from nightshift.evaluation.compare import compare
from nightshift.evaluation.labels import labels
from nightshift.features.snapshot import Snapshot, load_interactions, load_snapshot
from nightshift.lake import Lake
from nightshift.models.baselines import BASELINES
from nightshift.models.fitting import NothingToLearnError
from nightshift.models.recommender import Recommender
from nightshift.models.two_tower import best_device
from nightshift.ranking.audit import TrainingAudit
from nightshift.ranking.rerank import Reranked
from nightshift.ranking.training import Trained, train_two_stage
from nightshift.registry.tracking import Tracking
from nightshift.runs import Night

log = logging.getLogger("nightshift")


def train(night: Night) -> dict[str, Any]:
    settings, lake = night.settings, Lake(night.home / "lake")
    tables = night.read_json("build_features")["tables"]
    snapshots = [load_snapshot(lake, day, tables) for day in night.cutoffs]
    interactions = load_interactions(lake, night.run_date, tables["events"])
    audit = TrainingAudit(night)
    audit.events(interactions)
    trained = learn(night, snapshots, interactions, audit)

    _, middle, late = snapshots
    models: dict[str, Recommender] = {baseline.kind: baseline() for baseline in BASELINES}
    if trained:
        models |= trained.holdout.embeddings
        models["two_stage"] = trained.holdout
        models["two_stage_reranked"] = Reranked(trained.holdout, settings.lists)  # what the rules cost
    truth = labels(interactions, middle.as_of, late.as_of, known=middle)
    test = compare(models, middle, truth, settings.evaluation.k)

    params, curves = parameters(settings), trained.curves if trained else {}
    figures = {f"{model}.{name}": value for model, found in test.metrics.items() for name, value in found.items()}
    known = {name: value for name, value in figures.items() if value is not None}
    run = Tracking(night).log_run(params, known, curves, tables, night.folder / "model")
    return {
        "trained": trained is not None,
        "params": params,
        "curves": curves,
        "metrics": test.metrics,
        "parts": trained.seconds if trained else {},
        "importance": trained.holdout.ranker.importance() if trained else {},
        "device": best_device().type if trained else None,
        "users": len(late.users),
        "items": len(late.items),
        "tables": tables,
        "mlflow_run": run,
        "validation_seconds": round(audit.seconds, 2),
    }


def learn(
    night: Night, snapshots: Sequence[Snapshot], interactions: pd.DataFrame, audit: TrainingAudit
) -> Trained | None:
    """Train, and keep the files as model/; None, with the reason kept there, where there is nothing to learn from."""
    early, middle, _ = snapshots
    folder = night.fresh_folder("model")
    try:
        ranker_labels = labels(interactions, early.as_of, middle.as_of, known=early)
        trained = train_two_stage(snapshots, interactions, ranker_labels, night.settings, audit.ranker_rows)
        trained.save(folder)
    except NothingToLearnError as error:
        log.warning("train: %s: the baselines stay among themselves", error)
        (folder / "untrained.json").write_text(json.dumps({"reason": str(error)}) + "\n", encoding="utf-8")
        trained = None
    night.keep_folder("model")
    return trained


def parameters(settings: Settings) -> dict[str, Any]:
    """All settings that shape a model, flat."""
    sections = ("two_tower", "graph_filter", "ranker", "candidates", "index", "evaluation")
    named = {f"{name}.{key}": value for name in sections for key, value in getattr(settings, name).model_dump().items()}
    return {"seed": settings.seed, **named}


if __name__ == "__main__":
    command.run(train, __doc__)
