import numpy as np
import pytest

from nightshift.retrieval.recall import QUERIES, Truth, split_queries
from tests.retrieval.planted import HELD_OUT, ITEMS, shared


def test_exact_search_finds_all():
    truth = Truth.of(HELD_OUT, ITEMS)
    assert truth.recall(shared("flat").search(HELD_OUT, 100)[0]) == 1


def test_what_is_missed_is_seen():
    """An index of every second item finds about half."""
    truth, rows = Truth.of(HELD_OUT, ITEMS), shared("flat").search(HELD_OUT, 100)[0]
    assert truth.recall(np.where(rows % 2 == 0, rows, -1)) == pytest.approx((rows % 2 == 0).mean())
    assert truth.recall(np.full_like(rows, -1)) == 0


def test_a_row_that_is_given_again_counts_once():
    truth, rows = Truth.of(HELD_OUT, ITEMS), shared("flat").search(HELD_OUT, 100)[0]
    assert truth.recall(np.repeat(rows[:, :1], 100, axis=1)) == pytest.approx(0.01)


def test_of_items_that_score_alike_any_will_do():
    items = np.repeat(ITEMS[:10], 20, axis=0)
    truth, rows = Truth.of(HELD_OUT, items, 10), np.tile(np.arange(200), (100, 1))
    best = (HELD_OUT @ items.T).argmax(axis=1) // 20 * 20
    assert truth.recall(rows[:, :10] % 10 + 10 + best[:, None]) == 1
    assert truth.recall(rows[:, :10] + (best[:, None] + 20) % 200) == 0


def test_a_query_that_scores_all_items_alike_says_nothing():
    truth = Truth.of(np.concatenate([HELD_OUT, np.zeros_like(HELD_OUT)]), ITEMS)
    assert len(truth.queries) == len(HELD_OUT)


@pytest.mark.parametrize(("queries", "items"), [(100, 0), (0, 2500), (0, 0)])
def test_the_recall_of_nothing_is_not_given(queries, items):
    with pytest.raises(ValueError, match=f"the recall of {queries} queries among {items} vectors cannot be measured"):
        Truth.of(HELD_OUT[:queries], ITEMS[:items])


@pytest.mark.parametrize("users", [0, 1, 2, 3, 60, QUERIES * 2, 12345])
def test_users_to_measure_with_are_others_than_those_to_tune_with(users):
    tuning, held_out = split_queries(users)
    assert not np.intersect1d(tuning, held_out).size
    assert len(tuning) + len(held_out) == min(users, 2 * QUERIES)
    assert len(held_out) >= min(users, 1)
    assert set(tuning) | set(held_out) <= set(range(users))
