"""Lists of items new to the user only: does a model find what nobody would have guessed from the last order?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nightshift.features.snapshot import Snapshot
from nightshift.models.recommender import Around

DEEPER = 200  # places that are looked at for items that are new


@dataclass(frozen=True)
class OnlyNew(Around):
    """A model's lists without what the user has bought before."""

    def recommend(self, snapshot: Snapshot, user_ids: Sequence[str], k: int) -> pd.DataFrame:
        """See `Recommender`; what is left of the model's first `DEEPER` places more than `k`."""
        found = unseen(self.model.recommend(snapshot, user_ids, k + DEEPER), snapshot)
        rank = found.groupby("user_id", sort=False).cumcount() + 1
        return found.assign(rank=rank.astype(np.int32))[rank <= k].reset_index(drop=True)


def unseen(rows: pd.DataFrame, known: Snapshot) -> pd.DataFrame:
    """Those of the rows (user_id, item_id, ...) whose user had not bought the item by `known.as_of`."""
    pairs = pd.MultiIndex.from_frame(known.pairs[["user_id", "item_id"]])
    return rows[~pd.MultiIndex.from_frame(rows[["user_id", "item_id"]]).isin(pairs)]
