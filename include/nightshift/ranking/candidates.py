"""What a user might want next: the best of five sources merged, with each source's score and rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from nightshift.config.settings import Candidates
from nightshift.models.baselines import bought
from nightshift.models.coded import Coded
from nightshift.models.nearest import VectorModel
from nightshift.models.recommender import SOURCES, Popular, popular
from nightshift.models.rows import find, ranked
from nightshift.retrieval.index import ItemIndex, rows_of

Brought = tuple[np.ndarray, np.ndarray, np.ndarray]  # rows, items, ranks
Score = Callable[[np.ndarray, np.ndarray], np.ndarray]

HALF_LIFE_DAYS = 90.0
"""A recent item this much older says half as much through what it is bought with."""

PAIRS = 4096  # of a user and an item, whose vectors are in memory side by side


@dataclass(frozen=True)
class Retriever:
    """The sources, over one snapshot. Only items that are sellable in it are candidates.

    Attributes:
        embeddings: by source; may be older than the snapshot: items that one does not know have a score of 0 by it.
        indexes: over the vectors of each.
        counts: the most that each source may bring.
        context: how many recent items co-occurrence starts from.
    """

    coded: Coded
    embeddings: Mapping[str, VectorModel]
    indexes: Mapping[str, ItemIndex]
    counts: Candidates
    context: int

    def candidates(self, users: np.ndarray) -> pd.DataFrame:
        """Candidates of the users at these positions (-1, not known: only what is trending).

        Returns:
            `row` (of `users`) and `item` (position), sorted, and for each of `SOURCES` `<source>_score` (float32; of
            every candidate, whoever brought it; 0 where the source knows nothing or is switched off) and
            `<source>_rank` (float32; NaN where the source did not bring it).
        """
        width = len(self.coded.items)
        near = {source: self._by_embedding(source, users) for source in self.embeddings}
        related = self.coded.recent(users, self.context, HALF_LIFE_DAYS) @ self.coded.cooccurrence
        related.sort_indices()
        related_rows = np.repeat(np.arange(len(users)), np.diff(related.indptr))
        own = bought(self.coded, users, self.popular)
        brought = {
            "repeat": _best(*own, self.counts.repeat),
            "cooccurrence": self._best_sellable(related_rows, related.indices, related.data, self.counts.cooccurrence),
            **{source: brought for source, (brought, _) in near.items()},
            "trending": self._trending(len(users)),
        }
        keys = {source: row * width + item for source, (row, item, _) in brought.items()}
        merged = np.unique(np.concatenate(list(keys.values())))
        row, item = np.divmod(merged, width)
        scores = {
            "repeat": _looked_up(merged, own[0] * width + own[1], own[2]),
            "cooccurrence": _looked_up(merged, related_rows * width + related.indices, related.data),
            **{source: score(row, item) for source, (_, score) in near.items()},
            "trending": self._trend[item],
        }
        columns: dict[str, np.ndarray] = {"row": row, "item": item}
        for source in SOURCES:
            if not getattr(self.counts, source):  # switched off: the ranker learns nothing from it either
                scores[source] = np.zeros(len(merged))
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
        return self.popular.by_item(len(self.coded.items))

    def _by_embedding(self, source: str, users: np.ndarray) -> tuple[Brought, Score]:
        """What an index finds for the users, and the score of any candidate (row, item)."""
        space = self._spaces[source]
        vectors = space.model.vectors_at(self.coded, users, space.place)
        known = np.flatnonzero(users >= 0)
        most = getattr(self.counts, source)
        found, scores = space.index.search(vectors[known], most)
        items = space.indexed[found].ravel()
        brought = self._best_sellable(np.repeat(known, found.shape[1]), items, scores.ravel(), most)
        return brought, lambda row, item: _products(vectors, row, space.vectors, space.place[item])

    @cached_property
    def _spaces(self) -> dict[str, _Space]:
        return {source: _Space.of(self.coded, model, self.indexes[source]) for source, model in self.embeddings.items()}

    def _best_sellable(self, rows: np.ndarray, items: np.ndarray, scores: np.ndarray, k: int) -> Brought:
        keep = (items >= 0) & self.coded.sellable[items]
        return _best(rows[keep], items[keep], scores[keep], k)

    def _trending(self, users: int) -> Brought:
        items = self.popular.items[: self.counts.trending]
        rank = np.tile(np.arange(1, len(items) + 1), users)
        return np.repeat(np.arange(users), len(items)), np.tile(items, users), rank


@dataclass(frozen=True)
class _Space:
    """A model's item vectors over a snapshot, with a row of zeros for the items that it does not know, and an index."""

    model: VectorModel
    index: ItemIndex
    vectors: np.ndarray
    place: np.ndarray
    indexed: np.ndarray

    @classmethod
    def of(cls, coded: Coded, model: VectorModel, index: ItemIndex) -> _Space:
        vectors = model.item_vectors()[1]
        vectors = np.concatenate([vectors, np.zeros((1, vectors.shape[1]), dtype=np.float32)])
        return cls(model, index, vectors, model.places(coded), rows_of(index, coded.items))


def _best(rows: np.ndarray, items: np.ndarray, scores: np.ndarray, k: int) -> Brought:
    order, rank = ranked(rows, items, scores, k)
    return rows[order], items[order], rank


def _products(users: np.ndarray, row: np.ndarray, items: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Inner products of the users' vectors at `row` and the items' at `place`: few at a time, to stay in the cache."""
    found = np.empty(len(row), dtype=np.float32)
    for begin in range(0, len(row), PAIRS):
        some = slice(begin, begin + PAIRS)
        found[some] = np.einsum("nd,nd->n", users[row[some]], items[place[some]])
    return found


def _looked_up(wanted: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The value of each wanted key; 0 where it has none."""
    return np.append(values, 0.0)[find(keys, wanted)]
