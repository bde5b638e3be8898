"""Items found by inner product, by an index of the kind that fits their number, tuned to a recall."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import faiss
import numpy as np
import pandas as pd

from nightshift.config import Settings
from nightshift.config.settings import Index
from nightshift.retrieval.devices import on_gpu, set_threads
from nightshift.retrieval.exact import longest_of, search_exactly
from nightshift.retrieval.kinds import KINDS, Effort
from nightshift.retrieval.recall import NEAREST, Truth, split_queries

if TYPE_CHECKING:
    from nightshift.models.coded import Coded
    from nightshift.models.nearest import VectorModel

log = logging.getLogger("nightshift.retrieval")

FEWEST = {"hnsw": 1, "ivf_pq": 2_000}  # items that a kind can be built of


@dataclass(frozen=True)
class ItemIndex:
    """Items that can be found.

    Attributes:
        index: of inner products.
        item_ids: by their row in the index; None for a row that is passed over.
        kind: of `KINDS`.
        effort: that it is searched with, of `efforts`.
    """

    index: faiss.Index
    item_ids: np.ndarray
    kind: str
    effort: Effort = field(default_factory=dict)

    def __len__(self) -> int:
        """How many items can be found."""
        return len(self.item_ids) - len(self.gone)

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The `k` best items of each vector, the best first, ties to the first row.

        Returns:
            rows into `item_ids` (int64; -1 where none was found) and inner products (float32): (vectors, at most `k`).
        """
        k = min(k, len(self))
        if not k or not len(vectors):
            return np.empty((len(vectors), k), dtype=np.int64), np.empty((len(vectors), k), dtype=np.float32)
        if isinstance(self.index, faiss.IndexFlat):  # on a GPU it is of another class
            return search_exactly(self.index, vectors, k, self._longest)
        scores, rows = self.index.search(vectors, k, params=self._parameters)
        order = np.lexsort((rows, -scores), axis=1)
        return np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)

    @property
    def efforts(self) -> list[Effort]:
        """That it can be searched with, from the least to the most thorough; none of an exact index."""
        return KINDS[self.kind].efforts(self.index)

    @cached_property
    def gone(self) -> np.ndarray:
        """Rows that are passed over."""
        return np.flatnonzero(pd.isna(self.item_ids))

    @cached_property
    def _longest(self) -> float:
        return longest_of(self.index)

    @cached_property
    def _parameters(self) -> faiss.SearchParameters | None:
        return KINDS[self.kind].parameters(self.effort, self.gone)


def build_index(
    item_ids: np.ndarray, vectors: np.ndarray, settings: Settings, *queries: Callable[[], np.ndarray]
) -> ItemIndex:
    """Index items by their vectors: float32 (items, dimension). On the GPU where FAISS has one.

    The effort is raised until recall@100 is `index.target_recall` for queries of each sort. Where no effort is enough,
    a kind that is more exact follows, as far as the settings allow; else the last is returned, and a gate has to
    decide. Where there is no query to choose an effort with, the search is exact.

    Args:
        queries: of each sort: gives the vectors that the effort is chosen with; not asked for an exact index.
    """
    set_threads(settings.threads)
    vectors, target = np.ascontiguousarray(vectors, dtype=np.float32), settings.index.target_recall
    kinds, truths = kinds_for(len(item_ids), settings.index), list[Truth]()
    for kind in kinds:
        index = ItemIndex(on_gpu(KINDS[kind].build(vectors, settings.seed)), item_ids, kind)
        if not index.efforts:
            break
        truths = truths or [Truth.of(asked, vectors) for asked in (of() for of in queries) if asked.any()]
        if not truths:
            log.info("index: flat, since there is nobody to choose an effort with")
            return ItemIndex(on_gpu(KINDS["flat"].build(vectors, settings.seed)), item_ids, "flat")
        index, recall = tuned(index, truths, target)
        if recall >= target:
            break
        instead = "" if kind == kinds[-1] else f": {kinds[kinds.index(kind) + 1]} instead"
        log.warning("index: recall@%d of %s is %.4f at most, %s is aimed at%s", NEAREST, kind, recall, target, instead)
    return index


def kinds_for(items: int, limits: Index) -> list[str]:
    """The kind to build, and those to build instead where it misses its recall, the most exact last."""
    sizes = {"hnsw": limits.graph_up_to, "flat": limits.fallback_up_to}
    first = limits.kind
    if first == "auto":
        first = "flat" if items <= limits.exact_up_to else "hnsw" if items <= limits.graph_up_to else "ivf_pq"
    if items < FEWEST.get(first, 0):
        log.info("index: flat, since %d items are too few for %s", items, first)
        first = "flat"
    more_exact = list(KINDS)[: list(KINDS).index(first)]
    return [first, *(kind for kind in reversed(more_exact) if items <= sizes[kind])]


def tuned(index: ItemIndex, truths: Sequence[Truth], target: float) -> tuple[ItemIndex, float]:
    """The index at the least effort that reaches a recall by each of the truths, else at the most; and the lowest."""
    for effort in index.efforts:
        index = replace(index, effort=effort)
        recall = min(truth.recall(index.search(truth.queries, truth.k)[0]) for truth in truths)
        log.info("index: %s %s: recall@%d %.4f", index.kind, effort, NEAREST, recall)
        if recall >= target:
            break
    return index, recall


def index_for(model: VectorModel, coded: Coded, settings: Settings, of_items: bool = False) -> ItemIndex:
    """An index over the items that the model knows and the snapshot can sell, tuned with some of its users.

    Args:
        of_items: items like an item will be looked for as well, so it is tuned with some items, too.
    """
    places, vectors = model.places(coded), model.item_vectors()[1]
    items = np.flatnonzero(coded.sellable & (places >= 0))
    users, _ = split_queries(len(coded.users))
    queries = [lambda: model.vectors_at(coded, users, places)]
    known = places[places >= 0]
    asked, _ = split_queries(len(known))
    if of_items and len(asked):
        queries.append(lambda: vectors[known[asked]])
    return build_index(coded.item_ids[items], vectors[places[items]], settings, *queries)


def rows_of(index: ItemIndex, items: pd.Index) -> np.ndarray:
    """Where each item of the index lies in `items`; -1 for one that is not there, and, last, for row -1."""
    return np.append(items.get_indexer(index.item_ids), -1)
