from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.retrieval import exact
from nightshift.retrieval.devices import set_threads
from nightshift.retrieval.exact import longest_of, search_exactly
from nightshift.retrieval.files import load_index, save_index
from tests.retrieval.planted import HELD_OUT, ITEMS, shared, vectors


def flat(items: np.ndarray) -> faiss.IndexFlat:
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    return index


def found(items: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    index = flat(items)
    return search_exactly(index, queries, k, longest_of(index))


def one_by_one(items: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Inner products by FAISS's function for a single pair."""
    index = flat(items)
    distances = [index.get_distance_computer() for _ in queries]
    for distance, query in zip(distances, queries, strict=True):
        distance.set_query(faiss.swig_ptr(query))
    return np.array([[distance(row) for row in range(len(items))] for distance in distances], dtype=np.float32)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    items=st.integers(1, 400),
    queries=st.integers(0, 40),
    dimension=st.integers(1, 70),
    largest=st.integers(0, 3),
    k=st.integers(1, 400),
)
def test_what_is_found_is_the_head_of_a_stable_sort(seed, items, queries, dimension, largest, k):
    """Of whole numbers, whose inner products are exact: so many of them are equal."""
    rng, k = np.random.default_rng(seed), min(k, items)
    among = rng.integers(-largest, largest + 1, (items, dimension)).astype(np.float32)
    asked = rng.integers(-largest, largest + 1, (queries, dimension)).astype(np.float32)
    rows, scores = found(among, asked, k)
    products = asked @ among.T
    expected = np.argsort(-products, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(scores, np.take_along_axis(products, expected, axis=1))


def test_what_differs_by_rounding_alone_is_put_in_the_order_of_single_pairs():
    """Hundreds of items whose products with a query differ by their last bits."""
    rng = np.random.default_rng(5)
    queries = rng.normal(size=(20, 48)).astype(np.float32)
    items = (rng.normal(size=48) + rng.normal(size=(600, 48)) * 3e-8).astype(np.float32)
    rows, scores = found(items, queries, 20)
    products = one_by_one(items, queries)
    expected = np.argsort(-products, axis=1, kind="stable")[:, :20]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(scores, np.take_along_axis(products, expected, axis=1))


QUERIES = vectors(300)
WHOLE = shared("flat").search(QUERIES, 100)


@pytest.mark.parametrize("threads", [1, 2])
@settings(max_examples=10, deadline=None, derandomize=True)
@given(cuts=st.lists(st.integers(1, len(QUERIES) - 1), unique=True, max_size=6))
def test_however_queries_are_cut_the_bytes_are_the_same(threads, cuts):
    """Parts of few queries are scored pair by pair by FAISS, others by a product."""
    set_threads(threads)
    try:
        parts = [shared("flat").search(part, 100) for part in np.split(QUERIES, sorted(cuts))]
    finally:
        set_threads(0)
    for together, whole in zip(zip(*parts, strict=True), WHOLE, strict=True):
        assert np.concatenate(together).tobytes() == whole.tobytes()


def test_the_same_is_found_in_little_memory(monkeypatch):
    monkeypatch.setattr(exact, "FETCHED", 200)
    for parts, whole in zip(shared("flat").search(QUERIES, 100), WHOLE, strict=True):
        assert parts.tobytes() == whole.tobytes()


def test_a_query_of_zeros_gets_the_first_rows_and_one_that_is_no_number_gets_none():
    queries = HELD_OUT[:3].copy()
    queries[0], queries[1, 5] = 0, np.nan
    rows, scores = shared("flat").search(queries, 4)
    assert rows[:2].tolist() == [[0, 1, 2, 3], [-1] * 4]
    assert scores[:2].tolist() == [[0] * 4, [-np.inf] * 4]
    assert (rows[2] == shared("flat").search(HELD_OUT[2:3], 4)[0]).all()


def test_an_index_that_is_mapped_finds_the_same(tmp_path):
    save_index(shared("flat"), tmp_path, {})
    for read, whole in zip(load_index(tmp_path).search(QUERIES, 100), WHOLE, strict=True):
        assert read.tobytes() == whole.tobytes()


def test_the_longest_vector_is_known():
    assert longest_of(flat(ITEMS)) == pytest.approx(np.linalg.norm(ITEMS, axis=1).max())
    assert longest_of(flat(ITEMS[:0])) == 0
