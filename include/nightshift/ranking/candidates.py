"""What a user might want next: the best of four sources merged, with each source's score and rank."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from nightshift.config.settings import Candidates
from nightshift.models.baselines import bought
from nightshift.models.coded import Coded
from nightshift.models.recommender import SOURCES, Popular, popular
from nightshift.models.rows import find, ranked
from nightshift.models.two_tower import TwoTower
from nightshift.retrieval.index import ItemIndex, rows_of

HALF_LIFE_DAYS = 90.0
"""A recent item this much older says half as much through what it is bought with."""


@dataclass(frozen=True)
class Retriever:
    """The sources, over one snapshot. Only items that are sellable in it are candidates.

    Attributes:
        two_tower: may be older than the snapshot: items it does not know have a `two_tower_score` of 0.
        index: over vectors of `two_tower`.
        counts: the most that each source may bring.
    """

    coded: Coded
    two_tower: TwoTower
    index: ItemIndex
    counts: Candidates

    def candidates(self, users: np.ndarray) -> pd.DataFrame:
        """Candidates of the users at these positions (-1, not known: only what is trending).

        Returns:
            `row` (of `users`) and `item` (position), sorted, and for each of `SOURCES` `<source>_score` (float32; of
            every candidate, whoever brought it; 0 where the source knows nothing) and `<source>_rank` (float32; NaN
            where the source did not bring it).
        """
        width = len(self.coded.items)
        vectors = self.two_tower.vectors_at(self.coded, users, self._place)
        related = (
            self.coded.recent(users, self.two_tower.about["context_items"], HALF_LIFE_DAYS) @ self.coded.cooccurrence
        )
        related.sort_indices()
        related_rows = np.repeat(np.arange(len(users)), np.diff(related.indptr))
        own = bought(self.coded, users)
        brought = {
            "repeat": _best(*own, self.counts.repeat),
            "cooccurrence": self._best_sellable(related_rows, related.indices, related.data, self.counts.cooccurrence),
            "two_tower": self._nearest(vectors, users),
            "trending": self._trending(len(users)),
        }
        keys = {source: row * width + item for source, (row, item, _) in brought.items()}
        merged = np.unique(np.concatenate(list(keys.values())))
        row, item = np.divmod(merged, width)
        scores = {
            "repeat": _looked_up(merged, own[0] * width + own[1], own[2]),
            "cooccurrence": _looked_up(merged, related_rows * width + related.indices, related.data),
            "two_tower": np.einsum("nd,nd->n", vectors[row], self._vectors[self._place[item]]),
            "trending": self._trend[item],
        }
        columns: dict[str, np.ndarray] = {"row": row, "item": item}
        for source in SOURCES:
            rank = np.full(len(merged), np.nan, dtype=np.float32)
            rank[np.searchsorted(merged, keys[source])] = brought[source][2]
            columns[f"{source}_score"] = scores[source].astype(np.float32)
            columns[f"{source}_rank"] = rank
        return pd.DataFrame(columns)

    @cached_property
    def popular(self) -> Popular:
        """See `recommender.popular`."""
        return popular(self.coded)

    @cached_property
    def _trend(self) -> np.ndarray:
        scores = np.zeros(len(self.coded.items))
        scores[self.popular.items] = self.popular.scores
        return scores

    @cached_property
    def _vectors(self) -> np.ndarray:
        """Item vectors of the model, and a row of zeros for items that it does not know."""
        vectors = self.two_tower.item_vectors()[1]
        return np.concatenate([vectors, np.zeros((1, vectors.shape[1]), dtype=np.float32)])

    @cached_property
    def _place(self) -> np.ndarray:
        return self.two_tower.places(self.coded)

    @cached_property
    def _indexed(self) -> np.ndarray:
        return rows_of(self.index, self.coded.items)

    def _nearest(self, vectors: np.ndarray, users: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        known = np.flatnonzero(users >= 0)
        found, scores = self.index.search(vectors[known], self.counts.two_tower)
        items = self._indexed[found].ravel()
        return self._best_sellable(np.repeat(known, found.shape[1]), items, scores.ravel(), self.counts.two_tower)

    def _best_sellable(
        self, rows: np.ndarray, items: np.ndarray, scores: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        keep = (items >= 0) & self.coded.sellable[items]
        return _best(rows[keep], items[keep], scores[keep], k)

    def _trending(self, users: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        items = self.popular.items[: self.counts.trending]
        rank = np.tile(np.arange(1, len(items) + 1), users)
        return np.repeat(np.arange(users), len(items)), np.tile(items, users), rank


def _best(rows: np.ndarray, items: np.ndarray, scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order, rank = ranked(rows, items, scores, k)
    return rows[order], items[order], rank


def _looked_up(wanted: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The value of each wanted key; 0 where it has none."""
    return np.append(values, 0.0)[find(keys, wanted)]
