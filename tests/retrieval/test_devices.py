"""The GPU here is a double: the build of FAISS that the tests run with has none.

It holds indexes in the CPU's memory, and knows which were moved. What a GPU answers is not tested, but that indexes
are fitted there, searched there and fetched back.
"""

from __future__ import annotations

from types import SimpleNamespace

import faiss
import numpy as np
import pytest

from nightshift.config.settings import Index
from nightshift.retrieval import devices
from nightshift.retrieval.changes import with_items, without
from nightshift.retrieval.files import load_index, save_index
from nightshift.retrieval.index import ItemIndex
from nightshift.retrieval.kinds import KINDS, ON_GPU
from nightshift.retrieval.recall import Truth
from tests.retrieval.planted import HELD_OUT, IDS, ITEMS, built, vectors


class Gpu:
    """A double of the GPU."""

    def __init__(self) -> None:
        self.there: dict[int, faiss.Index] = {}  # by the address of the index; kept, so that no address comes again
        self.trained = 0

    def holds(self, index: faiss.Index) -> bool:
        return int(index.this) in self.there

    def take(self, resources: object, device: int, index: faiss.Index, options: SimpleNamespace) -> faiss.Index:
        """Refuses what FAISS's GpuIndexIVFPQ refuses."""
        if cells := faiss.try_extract_index_ivf(index):
            if cells.code_size not in ON_GPU or (2 if options.useFloat16 else 4) * cells.code_size * 256 > 48 * 1024:
                raise RuntimeError(f"{cells.code_size} sub-quantizers are not supported")
        else:
            assert not options.useFloat16, "what is exact stays so"
        self.trained += not index.is_trained
        moved = faiss.deserialize_index(faiss.serialize_index(index))
        self.there[int(moved.this)] = moved
        return moved

    def give(self, index: faiss.Index) -> faiss.Index:
        assert self.holds(index) or isinstance(index, faiss.IndexPreTransform)
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
        "GpuClonerOptions": SimpleNamespace,
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
    fewer = without(built(kind), IDS[:10].tolist(), Index(), HELD_OUT)
    index = with_items(fewer, ["new"], vectors(1), Index(), HELD_OUT)
    assert gpu.holds(first_stage(index))
    assert len(index) == 2491


@pytest.mark.parametrize("dimension", [24, 26, 256, 263, 1536])
def test_codes_of_any_dimension_go_to_the_gpu(gpu, dimension):
    """FAISS searches there with codes of some lengths only."""
    index = ItemIndex(KINDS["ivf_pq"].build(wide(dimension), seed=0), IDS[:500], "ivf_pq")
    moved = devices.on_gpu(index.index)
    assert gpu.holds(faiss.downcast_index(moved.base_index))
    assert gpu.trained
    assert faiss.extract_index_ivf(faiss.downcast_index(index.index.base_index)).code_size >= min(dimension / 8, 96)


def test_codes_that_were_made_elsewhere_and_that_the_gpu_refuses_stay_on_the_cpu_and_it_is_said(
    gpu, monkeypatch, tmp_path, caplog
):
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(faiss, "get_num_gpus", lambda: 0)
        made = ItemIndex(KINDS["ivf_pq"].build(wide(512), seed=0), IDS[:500], "ivf_pq", {"nprobe": 4, "k_factor": 4})
        save_index(made, tmp_path, {})
    loaded = load_index(tmp_path)
    assert not gpu.there
    assert "index: on the CPU, since FAISS refuses it on the GPU: 128 sub-quantizers" in caplog.text
    np.testing.assert_array_equal(loaded.search(wide(512)[:9], 5)[0], made.search(wide(512)[:9], 5)[0])
    save_index(loaded, tmp_path / "again", {})


def wide(dimension: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(500, dimension)).astype(np.float32)


def test_a_graph_stays_where_it_can_be_searched(gpu):
    index = built("hnsw")
    assert not gpu.there
    assert devices.on_cpu(index.index) is index.index


def test_without_a_gpu_nothing_moves():
    index = built("flat")
    assert devices.gpus() == 0
    assert devices.on_gpu(index.index) is index.index is devices.on_cpu(index.index)
