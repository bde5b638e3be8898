"""The night's training, whole: from features as of three days to a model that was tested and one that serves.

    ranker cut-off        test cut-off          run date
    ------ T1 ----------------- T0 ---------------- R
    fit vectors | labels: fit the ranker | the test | serve
                  refresh vectors -----> | refresh ---> |

The ranker learns from candidates that knew nothing after T1, and labels of (T1, T0]. The tested model knows nothing
after T0. The serving model differs from it by the vectors' refresh to R only: the two-tower model goes on from the one
before, the graph filter, which takes seconds, is fitted anew. The first two-tower fit may itself go on from one of a
night before, as that was at its own T1.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from nightshift.config import Settings
from nightshift.features.snapshot import Snapshot
from nightshift.models import processes
from nightshift.models.coded import Coded
from nightshift.models.fitting import Curve, Interactions, NothingToLearnError, fit
from nightshift.models.graph_model import fit_graph
from nightshift.models.nearest import VectorModel
from nightshift.models.rows import find
from nightshift.models.two_tower import TwoTower, load_two_tower
from nightshift.ranking.calibration import fit_calibration
from nightshift.ranking.candidates import Retriever
from nightshift.ranking.features import assemble
from nightshift.ranking.ranker import Ranker, fit_ranker
from nightshift.ranking.two_stage import BLOCK, FOLDERS, TwoStage, retriever_for, save_embeddings

log = logging.getLogger("nightshift.ranking")

CALIBRATED_USERS, CALIBRATED_ENTRIES = 5000, 100

EARLY = "early"  # the folder, in a model's, of what later nights' first fits may go on from

Audit = Callable[[pd.DataFrame, pd.DataFrame], None]  # of rows (user, item, label) and their features


@dataclass(frozen=True)
class Trained:
    """What a night has learnt.

    Attributes:
        early: the two-tower model as of the ranker's cut-off: the one to go on from on later nights.
        holdout: known to the test cut-off: the one to test.
        serving: known to the run date: the one to serve.
        curves: name -> (step, value) pairs.
        seconds: of each part.
    """

    early: TwoTower
    holdout: TwoStage
    serving: TwoStage
    curves: dict[str, Curve]
    seconds: dict[str, float]

    def calibrated(self, snapshot: Snapshot, happened: pd.DataFrame, settings: Settings) -> Trained:
        """Learn what scores mean: from lists as of the test cut-off for users who came back and who did not.

        The holdout keeps the indexes that these were made with, for the test that follows.

        Args:
            snapshot: as of T0.
            happened: user_id, item_id that came together in (T0, R].
        """
        known = snapshot.users["user_id"].to_numpy(dtype=object)
        users = np.sort(np.random.default_rng(settings.seed).permutation(known)[:CALIBRATED_USERS])
        holdout = self.holdout.indexed(snapshot)
        lists = holdout.recommend(snapshot, users.tolist(), CALIBRATED_ENTRIES)
        found = fit_calibration(lists, happened, settings.evaluation.test_days, settings.seed)
        told = "nothing came true" if found is None else f"expected calibration error {found.about['ece']:.4f}"
        log.info("calibration: %d users, %d entries: %s", len(users), len(lists), told)
        serving = replace(self.serving, calibration=found)
        return replace(self, holdout=replace(holdout, calibration=found), serving=serving)

    def save(self, folder: Path) -> None:
        """Write a folder an embedding, the same under `holdout/`, `ranker/`, and the two-tower model of `early/`."""
        self.serving.save(folder)
        save_embeddings(self.holdout.embeddings, folder / FOLDERS["holdout"])
        save_embeddings({TwoTower.kind: self.early}, folder / EARLY)


def load_early(folder: Path) -> TwoTower:
    """The two-tower model as of the ranker's cut-off, of a folder that `Trained.save` wrote.

    Raises:
        FileNotFoundError: there is none.
        ModelFileError: its files do not fit each other or this code.
    """
    return load_two_tower(folder / EARLY / TwoTower.kind)


def train_two_stage(
    snapshots: Sequence[Snapshot],
    interactions: Interactions,
    ranker_labels: pd.DataFrame,
    settings: Settings,
    audit: Audit | None = None,
    folder: Path | None = None,
    warm_start: TwoTower | None = None,
) -> Trained:
    """Fit, refresh and rank, as the picture above.

    Args:
        snapshots: as of T1, T0 and R.
        interactions: positive events; each part looks only at those it may know.
        ranker_labels: user_id, item_id that came together in (T1, T0].
        audit: is given the ranker's rows before it learns from them, and raises if they are not good enough.
        folder: for the checkpoints of the fits: see `fit`.
        warm_start: what the first fit goes on from; it knows nothing after T1. See `models.warm_start`.

    Raises:
        NothingToLearnError: the history before R is too short.
        ValueError: the warm start has learnt from days after T1.
    """
    early = snapshots[0]
    clock = _Clock()
    fits = _fits(snapshots, interactions, settings, folder, warm_start)
    first, curve = next(fits)
    clock.lap("two_tower")
    graphs = [fit_graph(snapshot, settings) for snapshot in snapshots]
    clock.lap("graph_filter")
    ranker = train_ranker({"graph_filter": graphs[0], "two_tower": first}, early, ranker_labels, settings, audit)
    clock.lap("ranker")
    (tested, tested_curve), (serving, serving_curve) = fits
    clock.lap("refresh")
    holdout = TwoStage({"graph_filter": graphs[1], "two_tower": tested}, ranker, settings.candidates, settings)
    served = replace(holdout, embeddings={"graph_filter": graphs[2], "two_tower": serving})
    curves = {"two_tower_loss": curve, "holdout_refresh_loss": tested_curve, "serving_refresh_loss": serving_curve}
    return Trained(first, holdout, served, curves, clock.seconds)


def follow(
    snapshots: Sequence[Snapshot],
    interactions: Interactions,
    settings: Settings,
    folder: Path,
    warm_start: Callable[[], TwoTower | None],
) -> None:
    """What every process but the first does of `train_two_stage`: its share of each fit, until the first has ended.

    The arguments are those of the first, but for `warm_start`: it is called when the first has fetched its own.
    """
    fits = None
    while processes.agreed(0.0):
        fits = fits or _fits(snapshots, interactions, settings, folder, warm_start())
        with contextlib.suppress(NothingToLearnError):  # the first says so
            next(fits)


def _fits(
    snapshots: Sequence[Snapshot],
    interactions: Interactions,
    settings: Settings,
    folder: Path | None,
    model: TwoTower | None,
) -> Iterator[tuple[TwoTower, Curve]]:
    """The two-tower model as of each day, refreshed from the one before; the first from `model`, if there is one."""
    for snapshot in snapshots:
        if processes.rank() == 0:
            processes.agreed(1.0)  # the others may go on
        own = folder / snapshot.as_of.isoformat() if folder else None
        model, curve = fit(snapshot, interactions, settings, warm_start=model, folder=own)
        yield model, curve


def train_ranker(
    embeddings: Mapping[str, VectorModel],
    snapshot: Snapshot,
    labels: pd.DataFrame,
    settings: Settings,
    audit: Audit | None = None,
) -> Ranker:
    """Fit the ranker on the candidates, as of `snapshot`, of the users that have labels; of many, of some at random.

    Raises:
        ValueError: an embedding has seen more than the snapshot.
        NothingToLearnError: no candidate came true.
    """
    for source, model in embeddings.items():
        if model.as_of > snapshot.as_of:
            raise ValueError(f"{source} has seen {model.as_of}, the candidates are as of {snapshot.as_of}")
    coded = Coded(snapshot)
    users = np.unique(coded.user_positions(labels["user_id"].to_numpy()))
    users = users[users >= 0]
    if len(users) > settings.ranker.max_users:
        drawn = np.random.default_rng(settings.seed).choice(users, settings.ranker.max_users, replace=False)
        users = np.sort(drawn)
    retriever = retriever_for(embeddings, coded, settings)
    blocks = [users[begin : begin + BLOCK] for begin in range(0, max(len(users), 1), BLOCK)]
    rows, features = map(pd.concat, zip(*(_learnt_from(retriever, block, labels) for block in blocks), strict=True))
    groups = np.unique(rows["user"], return_counts=True)[1]
    told = snapshot.as_of, len(groups), len(rows), rows["label"].sum()
    log.info("ranker: as of %s, %d users, %d candidates, %d came true", *told)
    if audit:
        audit(rows, features)
    ranker = fit_ranker(features, rows["label"].to_numpy(dtype=np.int8), groups, settings)
    about = {"as_of": snapshot.as_of.isoformat(), "candidates": settings.candidates.model_dump(mode="json")}
    return replace(ranker, about={**ranker.about, **about})


def _learnt_from(retriever: Retriever, users: np.ndarray, labels: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows (user, item, label) by user, of those of these users to whom a candidate came true, and their features."""
    candidates = retriever.candidates(users)
    relevant = came_true(candidates, retriever.coded, users, labels)
    row = candidates["row"].to_numpy()
    keep = np.bincount(row, relevant, len(users))[row] > 0
    candidates = candidates[keep]
    rows = {"user": users[row[keep]], "item": candidates["item"].to_numpy(), "label": relevant[keep] * 1}
    return pd.DataFrame(rows), assemble(candidates, retriever.coded, users)


def came_true(candidates: pd.DataFrame, coded: Coded, users: np.ndarray, labels: pd.DataFrame) -> np.ndarray:
    """Whether each candidate of the users at these positions is among the labels."""
    width = len(coded.items)
    truth = coded.user_positions(labels["user_id"].to_numpy()) * width + coded.items.get_indexer(labels["item_id"])
    keys = users[candidates["row"].to_numpy()] * width + candidates["item"].to_numpy()
    return find(truth, keys) >= 0


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._at = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = round(now - self._at, 2)
        self._at = now
