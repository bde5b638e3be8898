"""What each rule of the lists costs in NDCG: measured on the test, rule by rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from nightshift.config.settings import Lists
from nightshift.models.recommender import Recommender
from nightshift.ranking.rerank import Reranked


def rule_steps(model: Recommender, settings: Lists) -> dict[str, Reranked]:
    """The model's lists by the scores alone, then with the first rule, with the first two, and so on."""
    rules = settings.rules
    return {str(at): Reranked(model, settings.model_copy(update={"rules": rules[:at]})) for at in range(len(rules) + 1)}


def rules_cost(values: Mapping[str, pd.DataFrame], settings: Lists) -> list[dict[str, Any]]:
    """The test's NDCG of each of `rule_steps`.

    Args:
        values: by step the figures a user, see `metrics.by_user`.

    Returns:
        for each step `rule` (in words), `ndcg`, `cost` (the NDCG before it less that with it; negative: a gain) and
        `error` (the standard error of that difference, over users). The first step, `scores`, costs nothing. Empty
        where there are no users.
    """
    steps: list[dict[str, Any]] = []
    before: np.ndarray | None = None
    told = ["scores", *(words(rule.model_dump()) for rule in settings.rules)]
    for rule, found in zip(told, values.values(), strict=True):
        ndcg = found["ndcg"].to_numpy()
        if not len(ndcg):
            return []
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
