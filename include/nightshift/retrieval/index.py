"""A FAISS index over item vectors, with the ids beside it, and how often it finds what exact search finds.

Vectors have length 1, so that the inner product is the cosine. HNSW: Malkov and Yashunin (2016), arXiv:1603.09320.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
import pandas as pd

from nightshift.config import Settings

if TYPE_CHECKING:
    from nightshift.models.coded import Coded
    from nightshift.models.nearest import VectorModel

log = logging.getLogger("nightshift.retrieval")

NEIGHBOURS, BUILD_EFFORT, SEARCH_EFFORT = 32, 200, 256  # of HNSW: links an item, candidates looked at


@dataclass(frozen=True)
class ItemIndex:
    """Items that can be found: `item_ids` by their row in the index."""

    index: faiss.Index
    item_ids: np.ndarray
    kind: str

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The `k` nearest items of each vector, the best first, ties to the first row.

        Returns:
            rows into `item_ids` (int64; -1 where none was found) and cosines (float32): (vectors, at most `k`).
        """
        k = min(k, len(self.item_ids))
        if not k or not len(vectors):
            return np.empty((len(vectors), k), dtype=np.int64), np.empty((len(vectors), k), dtype=np.float32)
        scores, rows = self.index.search(np.ascontiguousarray(vectors, dtype=np.float32), k)
        rows = rows.astype(np.int64)
        order = np.lexsort((rows, -scores), axis=1)
        return np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)

    def recall_at(self, k: int, queries: np.ndarray, vectors: np.ndarray) -> float:
        """Share of the exact `k` nearest that the index finds too, mean over `queries`.

        Args:
            vectors: those the index was built from.

        Raises:
            ValueError: there is no query, or no vector: a recall of nothing says nothing.
        """
        if not len(queries) or not len(vectors):
            raise ValueError(f"the recall of {len(queries)} queries among {len(vectors)} vectors cannot be measured")
        found, _ = self.search(queries, k)
        exact, _ = ItemIndex(_flat(vectors), self.item_ids, "flat").search(queries, k)
        shared = [len(np.intersect1d(a, b)) for a, b in zip(found, exact, strict=True)]
        return float(np.mean(shared) / exact.shape[1])

    def save(self, folder: Path, info: dict[str, Any]) -> None:
        """Write `items.faiss` and `items.json`: the ids in order, kind, dimension, and `info`."""
        folder.mkdir(parents=True, exist_ok=True)
        faiss.write_index(_on_cpu(self.index), str(folder / "items.faiss"))
        about = {"kind": self.kind, "dimension": self.index.d, "item_ids": self.item_ids.tolist(), **info}
        (folder / "items.json").write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def build_index(item_ids: np.ndarray, vectors: np.ndarray, settings: Settings) -> ItemIndex:
    """Index items by their vectors: float32 (items, dimension). On the GPU where FAISS has one.

    The graph of HNSW is built by one thread: with more, the order of insertion, and so the graph, would be chance.
    """
    set_threads(settings.threads)
    exact = settings.index.kind == "flat" or (
        settings.index.kind == "auto" and len(item_ids) <= settings.index.exact_up_to
    )
    if exact:
        return ItemIndex(_on_gpu(_flat(vectors)), item_ids, "flat")
    index = faiss.IndexHNSWFlat(vectors.shape[1], NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BUILD_EFFORT
    index.hnsw.efSearch = SEARCH_EFFORT
    set_threads(1)
    index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    set_threads(settings.threads)
    return ItemIndex(index, item_ids, "hnsw")


def index_for(model: VectorModel, coded: Coded, settings: Settings) -> ItemIndex:
    """An index over the items that the model knows and the snapshot can sell."""
    places = model.places(coded)
    items = np.flatnonzero(coded.sellable & (places >= 0))
    return build_index(coded.item_ids[items], model.item_vectors()[1][places[items]], settings)


def load_index(folder: Path) -> ItemIndex:
    """Read what `save` wrote.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the two files do not belong together.
    """
    about = json.loads((folder / "items.json").read_text(encoding="utf-8"))
    if not (folder / "items.faiss").exists():
        raise FileNotFoundError(f"{folder / 'items.faiss'} is missing: run `python -m jobs.build_index` first")
    index = faiss.read_index(str(folder / "items.faiss"))
    if index.ntotal != len(about["item_ids"]) or index.d != about["dimension"]:
        raise ValueError(
            f"{folder}: items.json is of {len(about['item_ids'])} items of dimension {about['dimension']}, "
            f"items.faiss holds {index.ntotal} of {index.d}; build the index again"
        )
    index = _on_gpu(index) if about["kind"] == "flat" else index
    return ItemIndex(index, np.array(about["item_ids"], dtype=object), about["kind"])


def rows_of(index: ItemIndex, items: pd.Index) -> np.ndarray:
    """Where each item of the index lies in `items`; -1 for one that is not there, and, last, for row -1."""
    return np.append(items.get_indexer(index.item_ids), -1)


def set_threads(threads: int) -> None:
    """How many threads FAISS may use; 0: all cores that this process may use."""
    faiss.omp_set_num_threads(threads or len(os.sched_getaffinity(0)))


def gpus() -> int:
    """GPUs that this FAISS can use; a build for CPU has none."""
    return faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0


def _flat(vectors: np.ndarray) -> faiss.Index:
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    return index


def _on_gpu(index: faiss.Index) -> faiss.Index:
    if not gpus():
        return index
    log.info("index: on the GPU")
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)


def _on_cpu(index: faiss.Index) -> faiss.Index:
    return faiss.index_gpu_to_cpu(index) if gpus() and isinstance(index, faiss.GpuIndex) else index
