import hashlib

import faiss
import numpy as np
import pytest

from nightshift.retrieval.index import build_index, load_index
from tests import shop

RNG = np.random.default_rng(3)


def unit(rows: int, dimension: int = 24) -> np.ndarray:
    vectors = RNG.normal(size=(rows, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


ITEMS, QUERIES = unit(3000), unit(200)
IDS = np.array([f"item{number:04d}" for number in range(len(ITEMS))], dtype=object)


def built(kind: str):
    return build_index(IDS, ITEMS, shop.settings(index={"kind": kind}))


@pytest.mark.parametrize("kind", ["flat", "hnsw", "auto"])
def test_an_item_is_nearest_to_itself(kind):
    rows, scores = built(kind).search(ITEMS[:50], 5)
    assert rows[:, 0].tolist() == list(range(50))
    np.testing.assert_allclose(scores[:, 0], 1, atol=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_recall_is_measured_against_exact_search():
    assert built("flat").recall_at(100, QUERIES, ITEMS) == 1
    assert 0.95 < built("hnsw").recall_at(100, QUERIES, ITEMS) <= 1


def test_recall_sees_an_index_that_misses():
    half = built("flat")
    half.index.reset()
    half.index.add(ITEMS[:1500])
    assert 0.3 < half.recall_at(100, QUERIES, ITEMS) < 0.7


def test_auto_is_exact_until_there_are_many_items():
    few = build_index(IDS, ITEMS, shop.settings(index={"exact_up_to": 2999}))
    assert (built("auto").kind, few.kind) == ("flat", "hnsw")


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_an_index_is_written_alike_twice_and_read_as_it_was(kind, tmp_path):
    for name in "ab":
        built(kind).save(tmp_path / name, {"recall": 1.0})
    first, second = (hashlib.sha256((tmp_path / name / "items.faiss").read_bytes()).digest() for name in "ab")
    assert first == second
    read = load_index(tmp_path / "a")
    assert read.kind == kind
    for found, expected in zip(read.search(QUERIES, 20), built(kind).search(QUERIES, 20), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_with_a_gpu_the_exact_index_goes_there_and_comes_back_to_be_written(monkeypatch, tmp_path):
    class OnGpu(faiss.IndexFlatIP):
        """Stands for the GPU's index, which this machine's build lacks."""

    def to_gpu(resources, device, index):
        moved = OnGpu(index.d)
        moved.add(index.reconstruct_n(0, index.ntotal))
        return moved

    for name, value in {
        "get_num_gpus": lambda: 1,
        "StandardGpuResources": object,
        "GpuIndex": OnGpu,
        "index_cpu_to_gpu": to_gpu,
        "index_gpu_to_cpu": lambda index: faiss.IndexFlat(index.d, faiss.METRIC_INNER_PRODUCT),
    }.items():
        monkeypatch.setattr(faiss, name, value, raising=False)
    index = built("auto")
    assert isinstance(index.index, OnGpu)
    assert index.recall_at(100, QUERIES, ITEMS) == 1
    index.save(tmp_path, {})
    assert faiss.read_index(str(tmp_path / "items.faiss")).ntotal == 0  # what index_gpu_to_cpu gave


def test_fewer_items_than_asked_for_are_all_found():
    rows, _ = build_index(IDS[:3], ITEMS[:3], shop.settings()).search(QUERIES[:2], 10)
    assert sorted(rows[0].tolist()) == [0, 1, 2]


def test_no_items_are_no_neighbours():
    index = build_index(IDS[:0], ITEMS[:0], shop.settings())
    assert index.search(QUERIES, 10)[0].shape == (200, 0)


@pytest.mark.parametrize(("queries", "items"), [(200, 0), (0, 3000), (0, 0)])
def test_the_recall_of_nothing_is_not_given(queries, items):
    index = build_index(IDS[:items], ITEMS[:items], shop.settings())
    with pytest.raises(ValueError, match=f"the recall of {queries} queries among {items} vectors cannot be measured"):
        index.recall_at(100, QUERIES[:queries], ITEMS[:items])


def test_files_of_two_indexes_are_refused(tmp_path):
    built("flat").save(tmp_path, {})
    text = (tmp_path / "items.json").read_text().replace('"item0000",\n', "")
    (tmp_path / "items.json").write_text(text)
    with pytest.raises(ValueError, match=r"2999 items .* holds 3000"):
        load_index(tmp_path)
