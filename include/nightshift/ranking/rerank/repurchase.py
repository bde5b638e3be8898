"""When what a user has bought may be offered again."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nightshift.config.settings import AlreadyBought
from nightshift.features.snapshot import Snapshot

DIGITS = 6  # of a day: so that no rounding decides whether today is the day


def held_back(snapshot: Snapshot, rule: AlreadyBought) -> np.ndarray:
    """Which of a snapshot's pairs are not to be offered.

    Waiting, an item is due again when as many days have passed since the user bought it as lie between two purchases:
    the user's own mean gap, or after a single purchase the item's typical one, the median of its users' mean gaps. An
    item that nobody has bought twice has no gap, and is never due. After the average time between purchases of Bhagat
    et al. (2018), Buy it again: modeling repeat purchase recommendations, doi 10.1145/3219819.3219891.
    """
    pairs = snapshot.pairs
    if rule.mode != "wait":
        return np.full(len(pairs), rule.mode == "drop")
    gap = pairs["mean_gap_days"].astype(np.float64)
    gap = gap.fillna(pairs["item_id"].map(typical_gaps(snapshot)))
    return ~(pairs["days_since_last"] >= (rule.factor * gap).round(DIGITS)).to_numpy(dtype=bool)


def typical_gaps(snapshot: Snapshot) -> pd.Series:
    """Each item's median gap, by item_id."""
    if snapshot.gaps is not None:
        return snapshot.gaps.set_index("item_id")["gap_days"]
    return snapshot.pairs["mean_gap_days"].astype(np.float64).groupby(snapshot.pairs["item_id"]).median()
