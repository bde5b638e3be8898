"""All models on the same users, by the same rules."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from nightshift.evaluation.metrics import by_user, mean
from nightshift.features.snapshot import Snapshot
from nightshift.models.recommender import Recommender

log = logging.getLogger("nightshift.evaluation")


@dataclass(frozen=True)
class Comparison:
    """What a test found.

    Attributes:
        metrics: model -> metric -> mean; `seconds` is what the model took to recommend.
        values: model -> a row a user, see `metrics.by_user`; the users are the same for all.
    """

    metrics: dict[str, dict[str, float]]
    values: dict[str, pd.DataFrame]

    def table(self, best_first_by: str) -> list[dict[str, float | str]]:
        """One row a model."""
        names = sorted(self.metrics, key=lambda name: (-self.metrics[name][best_first_by], name))
        return [{"model": name, **self.metrics[name]} for name in names]


def compare(models: Mapping[str, Recommender], snapshot: Snapshot, labels: pd.DataFrame, k: int) -> Comparison:
    """Let each model recommend for the users that have labels, and hold its lists against them.

    Args:
        snapshot: as of the test cut-off: what all the models may know.
        labels: see `labels`.
    """
    user_ids = sorted(labels["user_id"].unique())
    sellable = int(snapshot.items["sellable"].sum())
    metrics: dict[str, dict[str, float]] = {}
    values: dict[str, pd.DataFrame] = {}
    for name, model in models.items():
        started = time.monotonic()
        lists = model.recommend(snapshot, user_ids, k)
        values[name] = by_user(lists, labels, k)
        metrics[name] = mean(values[name], lists, k, sellable)
        seconds = time.monotonic() - started
        log.info("%s: ndcg@%d %.4f over %d users, %.1f s", name, k, metrics[name]["ndcg"], len(user_ids), seconds)
    return Comparison(metrics, values)
