"""Train the night's model, and test it beside the baselines on the last days before the run date.

    python -m jobs.train --run-date 2011-11-30
    torchrun --nproc-per-node 2 -m jobs.train --run-date 2011-11-30

Several processes share the two-tower model's steps, each with a batch of its own, so that a step is as many times
larger; what else there is to do, the first does alone. A night that was killed goes on from its last checkpoint.

The first two-tower fit goes on from what the champion had at its own ranker cut-off, or says why it does not.

Leaves model/ (two_tower/ and graph_filter/ serve, those in holdout/ are tested, ranker/ is both's, that in early/ is
what a later night may go on from, card.md says what it is good for), test/ (each model's figures a user) and
train.json: parameters, curves, every model's metrics on the same users, over all items and over those new to the user,
and by slice. Where there is too little to learn from yet, it leaves the baselines' only, and one of those will serve.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from jobs import command
from nightshift.config import Settings, load
from nightshift.evaluation.compare import Case, Comparison, compare_all, save_values
from nightshift.evaluation.discovery import DEEPER, OnlyNew, unseen
from nightshift.evaluation.labels import labels
from nightshift.evaluation.rules_cost import rule_steps, rules_cost
from nightshift.evaluation.slices import by_slice, slices
from nightshift.features.histories import Histories
from nightshift.features.lineage import load_lineage
from nightshift.features.snapshot import Snapshot, load_interactions, load_snapshot
from nightshift.lake import Lake
from nightshift.models import processes
from nightshift.models.baselines import BASELINES
from nightshift.models.fitting import NothingToLearnError
from nightshift.models.recommender import ModelFileError, Recommender
from nightshift.models.remembered import Remembered
from nightshift.models.two_tower import TwoTower, best_device
from nightshift.models.warm_start import misfit
from nightshift.ranking.audit import TrainingAudit
from nightshift.ranking.rerank import CANDIDATES, Reranked
from nightshift.ranking.training import Trained, follow, load_early, train_two_stage
from nightshift.ranking.two_stage import TwoStage
from nightshift.registry.card import FILE, model_card
from nightshift.registry.tracking import Tracking, registered_champion
from nightshift.runs import Night, code_version, open_night
from nightshift.tuning.winner import tuned

log = logging.getLogger("nightshift")

DISCOVERERS = ("two_stage", "graph_filter", "two_tower", "item_item", "recent_popularity")
"""Models whose lists are also held against the items that are new to the user."""

FITS = "fits"  # of the night's folder: checkpoints, and what is sorted, until the night has its model


def train(night: Night) -> dict[str, Any]:
    """With the settings that a search has found, where there are any; `tuning` in the summary names them."""
    night, winner = tuned(night)
    settings, lake = night.settings, Lake(night.home / "lake")
    tables = night.read_json("build_features")["tables"]
    snapshots, histories = known(night)
    audit = TrainingAudit(night)
    audit.events([Path(file) for file in lake.files("events", [("run_date", "<=", night.run_date)], tables["events"])])
    recent = load_interactions(lake, night.run_date, tables["events"], after=night.ranker_cutoff)
    early, middle, late = snapshots
    truth = labels(recent, middle.as_of, late.as_of, known=middle)
    start, first_fit = warm_start(night)
    log.info("train: the first two-tower fit is %s", first_fit)
    folder = night.fresh_folder("model")
    trained = learn(night, folder, snapshots, histories, recent, truth, audit, start)

    calibration = trained.serving.calibration if trained else None
    result = {
        "trained": trained is not None,
        "first_fit": first_fit,
        "params": parameters(settings) | ({"tuning.winner": winner.name} if winner else {}),
        "tuning": winner.told if winner else None,
        "curves": trained.curves if trained else {},
        **judged(night, trained, middle, truth),
        "importance": trained.holdout.ranker.importance() if trained else {},
        "calibration": calibration.about if calibration else None,
        "users": len(late.users),
        "items": len(late.items),
        "tables": tables,
    }
    if trained:
        days = {"ranker": early.as_of, "test": middle.as_of, "serving": late.as_of}
        told = {name: day.isoformat() for name, day in days.items()}
        rules = settings.evaluation
        card = model_card(settings.name, result, told, rules.metric, rules.k, code_version())
        (folder / FILE).write_text(card, encoding="utf-8")
    night.keep_folder("model")
    shutil.rmtree(night.folder / FITS, ignore_errors=True)
    return {
        **result,
        "parts": trained.seconds if trained else {},
        "device": best_device().type if trained else None,
        "mlflow_run": logged(night, result),
        "validation_seconds": round(audit.seconds, 2),
    }


def known(night: Night) -> tuple[list[Snapshot], Histories]:
    """What the night learns from: the features as of its cut-offs, and every user's events."""
    settings, lake = night.settings, Lake(night.home / "lake")
    tables = night.read_json("build_features")["tables"]
    scratch = night.folder / FITS / f"sort-{processes.rank()}"
    histories = Histories(lake, tables["events"], scratch, settings.two_tower.memory, settings.threads)
    return [load_snapshot(lake, day, tables) for day in night.cutoffs], histories


def warm_start(night: Night) -> tuple[TwoTower | None, str]:
    """What the night's first two-tower fit goes on from: the champion's as of its own ranker cut-off, if it may.

    The champion is the one on record before the run date, so that a night that is run again finds the same.

    Returns:
        the model, None for a fit from the beginning; and in words what it is, or why there is none.

    Raises:
        StepError: the champion's files cannot be had.
    """
    settings, anew = night.settings, "from the beginning: "
    if not settings.two_tower.restart_days:
        return None, f"{anew}two_tower.restart_days is 0"
    champion = registered_champion(night)
    if champion is None:
        return None, f"{anew}there is no champion yet"
    anew += f"the champion, version {champion.version}, cannot be gone on from: "
    if champion.kind != TwoStage.kind:
        return None, f"{anew}it is {champion.kind}, which learns nothing"
    if not champion.intact:
        return None, f"{anew}its files are not those that were registered"
    try:
        model = load_early(champion.folder)
    except FileNotFoundError:
        return None, f"{anew}it keeps no model as of its ranker cut-off"
    except ModelFileError as error:
        log.warning("train: %s", error)
        return None, f"{anew}its files do not fit this code"
    lineage = load_lineage(Lake(night.home / "lake"), settings).of(model.as_of)
    if why := misfit(model, night.ranker_cutoff, lineage, settings):
        return None, f"{anew}{why}"
    of = f"as of {model.as_of}, {model.about['refreshes']} refreshes after {model.about['begun']}"
    return model, f"a refresh of the champion's, version {champion.version}, {of}"


def learn(
    night: Night,
    folder: Path,
    snapshots: Sequence[Snapshot],
    histories: Histories,
    recent: pd.DataFrame,
    truth: pd.DataFrame,
    audit: TrainingAudit,
    start: TwoTower | None,
) -> Trained | None:
    """Train, and write the files to `folder`; None, and there the reason, where there is nothing to learn from.

    Args:
        recent: the positive events after the ranker's cut-off, which are its labels.
        truth: what came true after the test cut-off: nothing is fitted to it but what the scores of the lists mean.
        start: see `warm_start`.
    """
    early, middle, _ = snapshots
    try:
        ranker_labels = labels(recent, early.as_of, middle.as_of, known=early)
        fits = night.folder / FITS
        trained = train_two_stage(snapshots, histories, ranker_labels, night.settings, audit.ranker_rows, fits, start)
        trained = trained.calibrated(middle, truth, night.settings)
        trained.save(folder)
        return trained
    except NothingToLearnError as error:
        log.warning("train: %s: the baselines stay among themselves", error)
        (folder / "untrained.json").write_text(json.dumps({"reason": str(error)}) + "\n", encoding="utf-8")
        return None


def judged(night: Night, trained: Trained | None, known: Snapshot, truth: pd.DataFrame) -> dict[str, Any]:
    """Every model's figures on the same users, over all items, over those new to the user, and by slice."""
    settings, k = night.settings, night.settings.evaluation.k
    models: dict[str, Recommender] = {baseline.kind: baseline() for baseline in BASELINES}
    if trained:
        models |= {**trained.holdout.embeddings, "two_stage": trained.holdout}
    depth = max(k + DEEPER, CANDIDATES)
    models |= {name: Remembered(models[name], depth) for name in DISCOVERERS if name in models}
    fresh = {name: OnlyNew(models[name]) for name in DISCOVERERS if name in models}
    steps = rule_steps(models["two_stage"], settings.lists) if trained else {}
    if trained:
        models["two_stage_reranked"] = Reranked(models["two_stage"], settings.lists)
    cases = [Case(models, truth, k), Case(fresh, unseen(truth, known), k), Case(steps, truth, k, character=False)]
    test, new, ruled = compare_all(cases, known)
    save_values(test.values, night.fresh_folder("test"))
    night.keep_folder("test")
    return {
        "metrics": test.metrics,
        "metrics_new": new.metrics,
        "slices": sliced(test, known, settings),
        "rules_cost": rules_cost(ruled.values, settings.lists) if trained else [],
    }


def sliced(test: Comparison, known: Snapshot, settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """The metric that decides by slice of the users, of the model that may serve and of what it must beat."""
    names = [name for name in ("two_stage", *(baseline.kind for baseline in BASELINES)) if name in test.values]
    of_user = slices(known, test.values[names[0]]["user_id"].tolist())
    return {name: by_slice(test.values[name], of_user, settings.evaluation.metric, settings.seed) for name in names}


def logged(night: Night, result: dict[str, Any]) -> str:
    """The run in MLflow that holds all this, and the model's files."""
    parts = {"": result["metrics"], "new.": result["metrics_new"]}
    figures = {
        f"{part}{model}.{name}": value
        for part, models in parts.items()
        for model, found in models.items()
        for name, value in found.items()
    }
    known = {name: value for name, value in figures.items() if value is not None}
    tracking = Tracking(night)
    return tracking.log_run(result["params"], known, result["curves"], result["tables"], night.folder / "model")


def parameters(settings: Settings) -> dict[str, Any]:
    """All settings that shape a model, flat."""
    sections = ("two_tower", "graph_filter", "ranker", "candidates", "index", "evaluation")
    named = {f"{name}.{key}": value for name in sections for key, value in getattr(settings, name).model_dump().items()}
    return {"seed": settings.seed, **named}


def take_part() -> None:
    """What every process but the first does."""
    args = command.parser("train", __doc__).parse_args()
    night, _ = tuned(open_night(load(args.config), args.run_date, args.run_id))
    follow(*known(night), night.settings, night.folder / FITS, lambda: warm_start(night)[0])


if __name__ == "__main__":
    with processes.joined() as rank:
        if rank == 0:
            command.run(train, __doc__)
            processes.agreed(0.0)  # the others may end
        else:
            take_part()
