import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from nightshift.models.rows import expand, find, ranked, top_of_rows, top_of_scores


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(0, 3)), max_size=40), st.integers(1, 5))
def test_ranked_is_a_sort_of_each_row(entries, k):
    rows, items, scores = np.array(entries, dtype=int).reshape(-1, 3).T
    order, rank = ranked(rows, items, scores, k)
    expected = [
        (row, place, entry[1], entry[2])
        for row in range(5)
        for place, entry in enumerate(sorted((e for e in entries if e[0] == row), key=lambda e: (-e[2], e[1]))[:k], 1)
    ]
    assert list(zip(rows[order], rank, items[order], scores[order], strict=True)) == expected


def test_top_of_rows_passes_over_columns_that_are_not_allowed():
    matrix = sparse.csr_array(np.array([[0.1, 0.9, 0.5, 0.5], [0, 0, 0, 0.2]]))
    found = top_of_rows(matrix, 2, np.array([True, False, True, True]))
    assert [column.tolist() for column in found[:2]] == [[0, 0, 1], [2, 3, 3]]
    assert found[3].tolist() == [1, 2, 1]


def test_expand_gives_the_places_of_groups_in_any_order_and_none_for_a_stranger():
    rows, places = expand(np.array([0, 2, 2, 5]), np.array([2, -1, 0, 1]), length=2)
    assert (rows.tolist(), places.tolist()) == ([0, 0, 2, 2], [2, 3, 0, 1])


@given(st.lists(st.integers(0, 30), unique=True), st.lists(st.integers(-3, 33)))
def test_find_tells_where_a_key_is(keys, wanted):
    place = find(np.array(keys, dtype=int), np.array(wanted, dtype=int))
    assert place.tolist() == [keys.index(key) if key in keys else -1 for key in wanted]


@given(arrays(np.int8, st.tuples(st.integers(0, 4), st.integers(0, 6)), elements=st.integers(-2, 2)), st.integers(1, 8))
def test_the_greatest_of_a_row_are_those_of_a_whole_sort_and_ties_go_to_the_first(scores, k):
    row, column = top_of_scores(scores, k)
    whole = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    assert row.tolist() == np.repeat(np.arange(len(scores)), whole.shape[1]).tolist()
    assert column.tolist() == whole.ravel().tolist()
