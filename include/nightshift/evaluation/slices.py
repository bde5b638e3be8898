"""Whom a model serves well and whom badly: the test's users by how much is known of them, and by their attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from nightshift.evaluation.intervals import interval
from nightshift.features.snapshot import Snapshot
from nightshift.models.attributes import text_columns

HISTORY = ("1 basket", "2 to 4", "5 to 9", "10 and more")
LARGEST = 5  # values of an attribute that are a slice of their own; the others are one together
OTHERS = "others"


def slices(snapshot: Snapshot, user_ids: Sequence[str]) -> pd.DataFrame:
    """Which slice each user is in: a column a way of slicing, `history` and every text attribute; a row a user."""
    users = snapshot.users.set_index("user_id").reindex(user_ids)
    bins = [-np.inf, 1, 4, 9, np.inf]
    history = pd.cut(users["baskets_all"].astype("float64"), bins, labels=list(HISTORY))
    found = {"history": history.astype(object).where(history.notna(), OTHERS)}
    for name in text_columns(snapshot.users, "user_id"):
        values = users[name].astype(object).where(users[name].notna(), OTHERS)
        largest = values.value_counts().index[:LARGEST]
        found[name] = values.where(values.isin(largest), OTHERS)
    return pd.DataFrame(found).reset_index(drop=True)


def by_slice(values: pd.DataFrame, sliced: pd.DataFrame, metric: str, seed: int) -> list[dict[str, Any]]:
    """The metric's mean in each slice, with its interval, the slices of a way in their order.

    Args:
        values: a row a user, see `metrics.by_user`.
        sliced: see `slices`; the same users in the same order.

    Returns:
        by, slice, users, mean, low, high; low and high are None where one user alone is in it.
    """
    rows = []
    for by in sliced.columns:
        names = sliced[by].unique()
        order = [name for name in HISTORY if name in names] if by == "history" else []
        counts = sliced[by].value_counts()
        order += sorted((name for name in names if name not in order), key=lambda n: (n == OTHERS, -counts[n], n))
        for name in order:
            found = interval(values.loc[(sliced[by] == name).to_numpy(), metric].to_numpy(), seed)
            bounds = [round(bound, 4) if np.isfinite(bound) else None for bound in (found.low, found.high)]
            row = {"by": by, "slice": str(name), "users": int(counts[name]), "mean": round(found.mean, 4)}
            rows.append({**row, "low": bounds[0], "high": bounds[1]})
    return rows
