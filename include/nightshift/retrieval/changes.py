"""Items that come and go while the embedding stays: a changed copy of an index, without a rebuild.

For a catalogue that changes by day; a night builds its indexes anew. Other items are found with other efforts, so a
change tunes the search again, and is refused where the changed index misses the recall that is asked of one built anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import faiss
import numpy as np
import pandas as pd

from nightshift.config.settings import Index
from nightshift.retrieval.devices import on_cpu, on_gpu
from nightshift.retrieval.index import ItemIndex, tuned
from nightshift.retrieval.kinds import KINDS
from nightshift.retrieval.recall import NEAREST, Truth, split_queries
from nightshift.runs import GateError

GONE_AT_MOST = 0.2
"""Share of an index's rows that may be passed over in a search; with more it is built anew of the others."""


def with_items(
    index: ItemIndex, item_ids: Sequence[str], vectors: np.ndarray, limits: Index, *queries: np.ndarray
) -> ItemIndex:
    """Add items by their vectors, float32 (items, dimension). One that is there already gets its new vector.

    Args:
        queries: of each sort, (queries, dimension): half of them choose the effort, the others are measured with.

    Raises:
        ValueError: an id comes twice, or the vectors are not one an id and of the index's dimension.
        GateError: the changed index finds too little, or there is nobody to find it for.
    """
    ids = pd.Index(item_ids, dtype=object)
    if not ids.is_unique:
        raise ValueError(f"{ids[ids.duplicated()][0]!r} comes twice: an item has one vector")
    if vectors.shape != (len(ids), index.index.d):
        raise ValueError(f"{vectors.shape} are not the vectors of {len(ids)} items of dimension {index.index.d}")
    index = _without(index, ids[ids.isin(index.item_ids)])
    grown = _copied(index.index)
    KINDS[index.kind].add(grown, np.ascontiguousarray(vectors, dtype=np.float32))
    return _gated(_of(index, grown, np.concatenate([index.item_ids, ids.to_numpy()])), limits, queries)


def without(index: ItemIndex, item_ids: Sequence[str], limits: Index, *queries: np.ndarray) -> ItemIndex:
    """Remove items: truly, or, of a graph, by passing over them as long as they are few.

    Args:
        queries: see `with_items`.

    Raises:
        ValueError: the index does not have one of them.
        GateError: the changed index finds too little, or there is nobody to find it for.
    """
    return _gated(_without(index, item_ids), limits, queries)


def _gated(index: ItemIndex, limits: Index, queries: Sequence[np.ndarray]) -> ItemIndex:
    """The index at the effort that it needs now."""
    if not len(index) or not index.efforts:
        return index
    halves = [[asked[some] for some in split_queries(len(asked))] for asked in queries]
    if not halves or not all(some.any() for half in halves for some in half):
        raise GateError(f"nobody is there to measure the changed {index.kind} index with: build it anew")
    vectors, there = KINDS[index.kind].vectors(index.index), np.delete(np.arange(len(index.item_ids)), index.gone)
    choosing, measuring = (
        [replace(Truth.of(some, vectors[there]), vectors=vectors) for some in half]
        for half in zip(*halves, strict=True)
    )
    index, _ = tuned(index, choosing, limits.target_recall)
    recall = min(truth.recall(index.search(truth.queries, truth.k)[0]) for truth in measuring)
    if recall < limits.min_recall:
        raise GateError(
            f"the changed {index.kind} index finds {recall:.4f} of the {NEAREST} true neighbours, {limits.min_recall} "
            "are asked for: build it anew"
        )
    return index


def _without(index: ItemIndex, item_ids: Sequence[str]) -> ItemIndex:
    there = np.delete(np.arange(len(index.item_ids)), index.gone)
    places = pd.Index(index.item_ids[there]).get_indexer(pd.Index(item_ids, dtype=object))
    if (places < 0).any():
        raise ValueError(f"{item_ids[int(np.argmax(places < 0))]!r} is not in the index: it cannot be removed")
    rows = there[places]
    if not len(rows):
        return index
    kind = KINDS[index.kind]
    if kind.removes:
        left = _copied(index.index)
        kind.remove(left, rows)
        return _of(index, left, np.delete(index.item_ids, rows))
    ids = index.item_ids.copy()
    ids[rows] = None
    passing = replace(index, item_ids=ids)
    if len(passing.gone) <= GONE_AT_MOST * len(ids):
        return passing
    stays = np.delete(np.arange(len(ids)), passing.gone)
    return _of(index, kind.build(kind.vectors(index.index)[stays], seed=0), ids[stays])


def _of(like: ItemIndex, index: faiss.Index, item_ids: np.ndarray) -> ItemIndex:
    return replace(like, index=on_gpu(index), item_ids=item_ids)


def _copied(index: faiss.Index) -> faiss.Index:
    """One that can be changed: what is mapped from a file cannot."""
    return faiss.deserialize_index(faiss.serialize_index(on_cpu(index)))
