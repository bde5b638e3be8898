"""All models on the same users, by the same rules."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nightshift.evaluation.character import character
from nightshift.evaluation.metrics import Metrics, by_user, mean
from nightshift.features.snapshot import Snapshot
from nightshift.models.coded import Coded
from nightshift.models.recommender import Recommender

log = logging.getLogger("nightshift.evaluation")


EMPTY = pd.DataFrame({"user_id": [], "rank": [], "item_id": []}, dtype=object)


class SeenTestError(ValueError):
    """A model has learnt from days that it is to be tested on."""


@dataclass(frozen=True)
class Comparison:
    """What a test found.

    Attributes:
        metrics: model -> metric -> mean; see `metrics.mean`, and `character.character` of its lists.
        values: model -> a row a user, see `metrics.by_user`; the users are the same for all.
    """

    metrics: dict[str, Metrics]
    values: dict[str, pd.DataFrame]


def compare(models: Mapping[str, Recommender], snapshot: Snapshot, labels: pd.DataFrame, k: int) -> Comparison:
    """Let each model recommend for the users that have labels, and hold its lists against them.

    Args:
        snapshot: as of the test cut-off: what all the models may know.
        labels: see `labels`.

    Raises:
        SeenTestError: a model has learnt from what happened after `snapshot.as_of`.
    """
    user_ids = sorted(labels["user_id"].unique())
    coded = Coded(snapshot)
    metrics: dict[str, Metrics] = {}
    values: dict[str, pd.DataFrame] = {}
    for name, model in models.items():
        if model.as_of and model.as_of > snapshot.as_of:
            raise SeenTestError(
                f"{name} has learnt from days up to {model.as_of}, the test begins after {snapshot.as_of}"
            )
        started = time.monotonic()
        lists = model.recommend(snapshot, user_ids, k) if user_ids else EMPTY
        values[name] = by_user(lists, labels, k)
        metrics[name] = {**mean(values[name]), **character(lists, coded, k)}
        seconds = time.monotonic() - started
        log.info("%s: %d users, %.1f s; at %d: %s", name, len(user_ids), seconds, k, _told(metrics[name]))
    return Comparison(metrics, values)


def save_values(values: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """Write each model's figures a user as `<model>.parquet`, so that another step can compare with them."""
    for name, frame in values.items():
        frame.to_parquet(folder / f"{name}.parquet", index=False)


def load_values(folder: Path) -> dict[str, pd.DataFrame]:
    """What `save_values` wrote, by model."""
    return {file.stem: pd.read_parquet(file) for file in sorted(folder.glob("*.parquet"))}


def _told(metrics: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name in ("ndcg", "recall") if (value := metrics[name]) is not None)
