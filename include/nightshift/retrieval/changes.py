"""Items that come and go while the embedding stays: a changed copy of an index, without a rebuild."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import faiss
import numpy as np
import pandas as pd

from nightshift.retrieval.devices import on_cpu, on_gpu
from nightshift.retrieval.index import ItemIndex
from nightshift.retrieval.kinds import KINDS

GONE_AT_MOST = 0.2
"""Share of an index's rows that may be passed over in a search; with more it is built anew of the others."""


def with_items(index: ItemIndex, item_ids: Sequence[str], vectors: np.ndarray) -> ItemIndex:
    """Add items by their vectors, float32 (items, dimension). One that is there already gets its new vector.

    Raises:
        ValueError: an id comes twice, or the vectors are not one an id and of the index's dimension.
    """
    ids = pd.Index(item_ids, dtype=object)
    if not ids.is_unique:
        raise ValueError(f"{ids[ids.duplicated()][0]!r} comes twice: an item has one vector")
    if vectors.shape != (len(ids), index.index.d):
        raise ValueError(f"{vectors.shape} are not the vectors of {len(ids)} items of dimension {index.index.d}")
    index = without(index, ids[ids.isin(index.item_ids)])
    grown = _copied(index.index)
    KINDS[index.kind].add(grown, np.ascontiguousarray(vectors, dtype=np.float32))
    return _of(index, grown, np.concatenate([index.item_ids, ids.to_numpy()]))


def without(index: ItemIndex, item_ids: Sequence[str]) -> ItemIndex:
    """Remove items: truly, or, of a graph, by passing over them as long as they are few.

    Raises:
        ValueError: the index does not have one of them.
    """
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
