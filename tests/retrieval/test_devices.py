"""The GPU here is a double: the build of FAISS that the tests run with has none.

It holds indexes in the CPU's memory, and knows which were moved. What a GPU answers is not tested, but that indexes
are fitted there, searched there and fetched back.
"""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from nightshift.retrieval import devices
from nightshift.retrieval.changes import with_items, without
from nightshift.retrieval.files import load_index, save_index
from nightshift.retrieval.recall import Truth
from tests.retrieval.planted import HELD_OUT, IDS, ITEMS, built, vectors


class Gpu:
    """A double of the GPU."""

    def __init__(self) -> None:
        self.there: dict[int, faiss.Index] = {}  # by the address of the index; kept, so that no address comes again
        self.trained = 0

    def holds(self, index: faiss.Index) -> bool:
        return int(index.this) in self.there

    def take(self, resources: object, device: int, index: faiss.Index) -> faiss.Index:
        self.trained += not index.is_trained
        moved = faiss.deserialize_index(faiss.serialize_index(index))
        self.there[int(moved.this)] = moved
        return moved

    def give(self, index: faiss.Index) -> faiss.Index:
        assert self.holds(index)
        return faiss.deserialize_index(faiss.serialize_index(index))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    double = Gpu()

    class Held(type):
        def __instancecheck__(cls, index: object) -> bool:
            return double.holds(index)

    for name, value in {
        "get_num_gpus": lambda: 1,
        "StandardGpuResources": object,
        "GpuIndex": Held("GpuIndex", (), {}),
        "index_cpu_to_gpu": double.take,
        "index_gpu_to_cpu": double.give,
    }.items():
        monkeypatch.setattr(faiss, name, value, raising=False)
    return double


def first_stage(index):
    return faiss.downcast_index(index.index.base_index) if index.kind == "ivf_pq" else index.index


@pytest.mark.parametrize("kind", ["flat", "ivf_pq"])
def test_an_index_is_searched_on_the_gpu_and_written_for_any_machine(gpu, kind, tmp_path):
    index = built(kind)
    assert gpu.holds(first_stage(index))
    assert gpu.trained == (kind == "ivf_pq")
    assert Truth.of(HELD_OUT, ITEMS).recall(index.search(HELD_OUT, 100)[0]) >= 0.97
    save_index(index, tmp_path, {})
    read = faiss.read_index(str(tmp_path / "items.faiss"))
    assert (type(read), read.ntotal) == ({"flat": faiss.IndexFlatIP, "ivf_pq": faiss.IndexRefine}[kind], 2500)
    loaded = load_index(tmp_path)
    assert gpu.holds(first_stage(loaded))
    for found, expected in zip(loaded.search(HELD_OUT, 20), index.search(HELD_OUT, 20), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["flat", "ivf_pq"])
def test_a_changed_index_is_on_the_gpu_too(gpu, kind):
    index = with_items(without(built(kind), IDS[:10].tolist()), ["new"], vectors(1))
    assert gpu.holds(first_stage(index))
    assert len(index) == 2491


def test_a_graph_stays_where_it_can_be_searched(gpu):
    index = built("hnsw")
    assert not gpu.there
    assert devices.on_cpu(index.index) is index.index


def test_without_a_gpu_nothing_moves():
    index = built("flat")
    assert devices.gpus() == 0
    assert devices.on_gpu(index.index) is index.index is devices.on_cpu(index.index)
