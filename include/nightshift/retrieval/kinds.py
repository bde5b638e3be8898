"""The kinds of index: what each is made of, and the steps in which its search can be made more thorough.

- `flat`: every vector is looked at. Exact.
- `hnsw`: a graph of neighbours (Malkov and Yashunin 2016, arXiv:1603.09320).
- `ivf_pq`: vectors in cells, each coded in bytes (Jégou, Douze, Schmid 2011, doi:10.1109/TPAMI.2010.57); the best of
  the cells nearest to a query are scored again from vectors in half precision.

Scores are inner products of vectors of any length, for which a graph is not made: an item may be nearer to a longer one
than to itself, and to some no short path leads. Bringing all vectors to one length by a dimension more (Bachrach et al.
2014, doi:10.1145/2645710.2645741) found less on real ones, so nothing is done about it but to measure, and to give way.
"""

from __future__ import annotations

import math
from typing import Protocol

import faiss
import numpy as np

from nightshift.retrieval.devices import gpus, on_cpu, on_gpu, one_thread

POINTS_A_CELL, ROUNDS = 64, 10  # that cells, and codes, are fitted to, and how often

ON_GPU = (1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96)
"""Bytes of a code with which FAISS searches on a GPU (its `IVFPQ::isSupportedPQCodeLength`)."""

Effort = dict[str, int]
"""How thoroughly an index is searched, by the names of FAISS's own parameters."""


class Kind(Protocol):
    """How an index is made, searched and changed. Vectors are float32 (items, dimension), in the order of the rows."""

    removes: bool
    """Whether rows can be taken out; else they can only be passed over."""

    def build(self, vectors: np.ndarray, seed: int) -> faiss.Index: ...

    def efforts(self, index: faiss.Index) -> list[Effort]:
        """From the least to the most thorough; none of an exact index."""
        ...

    def parameters(self, effort: Effort, gone: np.ndarray) -> faiss.SearchParameters | None:
        """Of a search with an effort that passes over the rows `gone`: none, where rows can be taken out."""
        ...

    def vectors(self, index: faiss.Index) -> np.ndarray:
        """Those that it scores by."""
        ...

    def add(self, index: faiss.Index, vectors: np.ndarray) -> None:
        """Add rows at the end."""
        ...

    def remove(self, index: faiss.Index, rows: np.ndarray) -> None:
        """Take rows out; those after them move up."""
        ...


class Flat:
    removes = True

    def build(self, vectors: np.ndarray, seed: int) -> faiss.Index:
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        return index

    def efforts(self, index: faiss.Index) -> list[Effort]:
        return []

    def parameters(self, effort: Effort, gone: np.ndarray) -> None:
        return None

    def vectors(self, index: faiss.Index) -> np.ndarray:
        return index.reconstruct_n(0, index.ntotal)

    def add(self, index: faiss.Index, vectors: np.ndarray) -> None:
        index.add(vectors)

    def remove(self, index: faiss.Index, rows: np.ndarray) -> None:
        index.remove_ids(rows)


class Graph:
    """The graph is built by one thread: with more, the order of insertion, and so the graph, would be chance."""

    removes = False
    links, build_effort = 64, 200
    steps = (128, 256, 512, 1024, 2048)

    def build(self, vectors: np.ndarray, seed: int) -> faiss.Index:
        index = faiss.IndexHNSWFlat(vectors.shape[1], self.links, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = self.build_effort
        self.add(index, vectors)
        return index

    def efforts(self, index: faiss.Index) -> list[Effort]:
        return [{"efSearch": step} for step in self.steps]

    def parameters(self, effort: Effort, gone: np.ndarray) -> faiss.SearchParameters:
        there = faiss.IDSelectorNot(faiss.IDSelectorBatch(gone)) if len(gone) else None
        return faiss.SearchParametersHNSW(efSearch=effort["efSearch"], sel=there)

    def vectors(self, index: faiss.Index) -> np.ndarray:
        return index.storage.reconstruct_n(0, index.ntotal)

    def add(self, index: faiss.Index, vectors: np.ndarray) -> None:
        with one_thread():
            index.add(vectors)

    def remove(self, index: faiss.Index, rows: np.ndarray) -> None:
        raise NotImplementedError("a graph cannot do without an item that its paths lead through: pass over it")


class Cells:
    removes = True
    code_bits = 8
    steps = ((8, 4), (16, 4), (32, 8), (64, 8), (128, 16), (256, 16), (512, 16), (1024, 16))
    """Cells searched, and candidates scored again for each that is asked for."""

    def build(self, vectors: np.ndarray, seed: int) -> faiss.Index:
        """The cells and codes are fitted on the GPU where there is one.

        A code's bytes stand for as many dimensions each, so vectors are filled up with zeros to where that comes out.
        """
        items, dimension = vectors.shape
        parts = code_bytes(dimension)
        width = parts * math.ceil(dimension / parts)
        cells = faiss.IndexIVFPQ(
            faiss.IndexFlatIP(width), width, cells_of(items), parts, self.code_bits, faiss.METRIC_INNER_PRODUCT
        )
        for clustering in (cells.cp, cells.pq.cp):
            clustering.seed, clustering.niter = seed, ROUNDS
            clustering.min_points_per_centroid, clustering.max_points_per_centroid = 1, POINTS_A_CELL
        if width > dimension:
            cells = faiss.IndexPreTransform(faiss.RemapDimensionsTransform(dimension, width, False), cells)
        moved = on_gpu(cells)
        moved.train(vectors)
        moved.add(vectors)
        halves = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        halves.train(vectors)
        halves.add(vectors)
        return faiss.IndexRefine(on_cpu(moved), halves)

    def efforts(self, index: faiss.Index) -> list[Effort]:
        first = faiss.downcast_index(index.base_index)
        cells = faiss.downcast_index(first.index) if isinstance(first, faiss.IndexPreTransform) else first
        steps = dict.fromkeys((min(probed, cells.nlist), factor) for probed, factor in self.steps)
        return [{"nprobe": probed, "k_factor": factor} for probed, factor in steps]

    def parameters(self, effort: Effort, gone: np.ndarray) -> faiss.SearchParameters:
        cells = faiss.SearchParametersIVF(nprobe=effort["nprobe"])
        return faiss.IndexRefineSearchParameters(k_factor=effort["k_factor"], base_index_params=cells)

    def vectors(self, index: faiss.Index) -> np.ndarray:
        return faiss.downcast_index(index.refine_index).reconstruct_n(0, index.ntotal)

    def add(self, index: faiss.Index, vectors: np.ndarray) -> None:
        index.add(vectors)

    def remove(self, index: faiss.Index, rows: np.ndarray) -> None:
        first, halves = faiss.downcast_index(index.base_index), faiss.downcast_index(index.refine_index)
        stays = np.ones(index.ntotal, dtype=np.int64)
        stays[rows] = 0
        moved = np.cumsum(stays) - 1
        first.remove_ids(rows)
        halves.remove_ids(rows)
        cells = faiss.extract_index_ivf(first)
        for cell in range(cells.nlist):  # they hold rows, which have moved up
            if size := cells.invlists.list_size(cell):
                ids = faiss.rev_swig_ptr(cells.invlists.get_ids(cell), size)
                ids[:] = moved[ids]
        index.ntotal = halves.ntotal


KINDS: dict[str, Kind] = {"flat": Flat(), "hnsw": Graph(), "ivf_pq": Cells()}
"""From exact to coarse."""


def cells_of(items: int) -> int:
    """A power of two near 4 √items, as FAISS's guide has it, but no fewer items a cell than fit it well."""
    return 2 ** int(math.log2(min(4 * math.sqrt(items), items / POINTS_A_CELL)))


def code_bytes(dimension: int) -> int:
    """A byte for four dimensions; where there is a GPU, the most that it can search with, up to that."""
    parts = math.ceil(dimension / 4)
    return max(length for length in ON_GPU if length <= parts) if gpus() else parts
