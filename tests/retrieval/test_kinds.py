from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.config.settings import Index
from nightshift.models.graph_filter import room_for
from nightshift.retrieval.changes import without
from nightshift.retrieval.files import load_index, save_index
from nightshift.retrieval.index import ItemIndex, tuned
from nightshift.retrieval.kinds import KINDS, code_bytes
from nightshift.retrieval.recall import Truth
from tests.retrieval.planted import HELD_OUT, IDS, ITEMS, TUNING


@given(items=st.integers(0, 2**30))
def test_a_catalogue_of_any_size_is_coded_in_a_byte_for_four_dimensions(items):
    """Vectors of 263 dimensions, as 1,016,801 items had, were coded in one byte."""
    dimension = room_for(items)
    assert (dimension % 32, code_bytes(dimension)) == (0, dimension // 4)


@given(dimension=st.integers(1, 4096))
def test_so_are_vectors_of_any_dimension_that_somebody_chooses(dimension):
    assert dimension / 4 <= code_bytes(dimension) < dimension / 4 + 1


@pytest.mark.parametrize("dimension", [23, 21, 3, 1])
def test_dimensions_that_do_not_divide_evenly_are_searched_and_changed_like_others(dimension, tmp_path):
    items, tuning, queries = (np.ascontiguousarray(some[:, :dimension]) for some in (ITEMS, TUNING, HELD_OUT))
    index, recall = tuned(ItemIndex(KINDS["ivf_pq"].build(items, 0), IDS, "ivf_pq"), [Truth.of(tuning, items)], 0.98)
    cells = faiss.extract_index_ivf(faiss.downcast_index(index.index.base_index))
    assert (recall >= 0.98, cells.code_size, index.index.d) == (True, code_bytes(dimension), dimension)
    save_index(without(index, IDS[:500].tolist(), Index(), tuning), tmp_path, {})
    left = load_index(tmp_path)
    assert left.item_ids.tolist() == IDS[500:].tolist()
    assert Truth.of(queries, items[500:]).recall(left.search(queries, 100)[0]) >= 0.95
