"""What each rule of the lists costs in NDCG: measured on the test, rule by rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from nightshift.config.settings import Lists
from nightshift.evaluation.metrics import by_user
from nightshift.features.snapshot import Snapshot
from nightshift.models.recommender import Recommender
from nightshift.ranking.rerank import CANDIDATES, rerank


def rules_cost(
    model: Recommender, snapshot: Snapshot, labels: pd.DataFrame, settings: Lists, k: int
) -> list[dict[str, Any]]:
    """The test's NDCG of the scores alone, then with the first rule, with the first two, and so on.

    The model is asked once; its candidates are ordered again for every step.

    Args:
        snapshot: as of the test cut-off.
        labels: see `labels`.
        k: length of the lists, and places that NDCG looks at.

    Returns:
        for each step `rule` (in words), `ndcg`, `cost` (the NDCG before it less that with it; negative: a gain) and
        `error` (the standard error of that difference, over users). The first step, `scores`, costs nothing. Empty
        where there are no labels.
    """
    user_ids = sorted(labels["user_id"].unique())
    if not user_ids:
        return []
    found = model.recommend(snapshot, user_ids, max(CANDIDATES, k))
    told = ["scores", *(words(rule.model_dump()) for rule in settings.rules)]
    steps: list[dict[str, Any]] = []
    before: np.ndarray | None = None
    for at, rule in enumerate(told):
        lists = rerank(found, snapshot, settings.model_copy(update={"size": k, "rules": settings.rules[:at]}))
        ndcg = by_user(lists, labels, k)["ndcg"].to_numpy()
        lost = np.zeros(len(ndcg)) if before is None else before - ndcg
        error = float(lost.std(ddof=1) / np.sqrt(len(lost))) if len(lost) > 1 else None
        steps.append({"rule": rule, "ndcg": float(ndcg.mean()), "cost": float(lost.mean()), "error": error})
        before = ndcg
    return steps


def words(rule: dict[str, Any]) -> str:
    """A rule in a line: `cap: by kind, most 3`; of its items, how many they are."""
    options = {name: value for name, value in rule.items() if name != "rule"}
    if "items" in options:
        return f"{rule['rule']}: {len(options['items'])} items"
    return f"{rule['rule']}: {', '.join(f'{name} {value}' for name, value in options.items())}"
