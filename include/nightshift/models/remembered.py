"""A model that is asked several things about the same users, and scores them once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from nightshift.features.snapshot import Snapshot
from nightshift.models.recommender import Around


@dataclass(frozen=True)
class Remembered(Around):
    """A model that keeps the lists that it made last: a shorter list is the beginning of a longer one.

    Attributes:
        depth: how long the lists are that it makes.
    """

    depth: int
    _last: list[tuple[Snapshot, list[str], pd.DataFrame]] = field(default_factory=list, repr=False, compare=False)

    def recommend(self, snapshot: Snapshot, user_ids: Sequence[str], k: int) -> pd.DataFrame:
        """See `Recommender`. The model is asked where the snapshot or the users are others than last time.

        Raises:
            ValueError: `k` is more than what is remembered.
        """
        if k > self.depth:
            raise ValueError(f"{self.depth} places are remembered of each list, {k} are asked for: remember more")
        users = list(user_ids)
        if not self._last or self._last[0][0] is not snapshot or self._last[0][1] != users:
            self._last[:] = [(snapshot, users, self.model.recommend(snapshot, users, self.depth))]
        lists = self._last[0][2]
        return lists[lists["rank"] <= k].reset_index(drop=True)
