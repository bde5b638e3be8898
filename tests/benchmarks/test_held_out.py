"""The protocol of the benchmark, on lists whose figures can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from benchmarks.quality.held_out import foretold, hide


def matrix(*rows: list[int]) -> sparse.csr_array:
    dense = np.zeros((len(rows), 6), dtype=np.float32)
    for row, items in zip(dense, rows, strict=True):
        row[items] = 1
    return sparse.csr_array(dense)


def test_recall_and_ndcg_are_those_worked_out_by_hand() -> None:
    known, hidden = matrix([0], [5], [1]), matrix([1, 2], [0, 1, 2, 3], [])
    found = foretold(lambda users: torch.tensor([[9.0, 5, 4, 3, 2, 1]] * len(users)), known, hidden, 2)
    # The first sees 1, 2 (both right); the second 0, 1 (both right, of four); the third has nothing to foretell.
    assert found.users == 2
    assert found.recall == pytest.approx((1 + 0.5) / 2)
    assert found.ndcg == pytest.approx(1.0)
    assert found.coverage == pytest.approx(3 / 6)
    late = foretold(lambda users: torch.tensor([[9.0, 1, 4, 5, 2, 1]] * len(users)), known, matrix([2], [], []), 2)
    assert late.ndcg == pytest.approx(1 / np.log2(3))


def test_what_a_user_has_is_not_shown_again() -> None:
    known, hidden = matrix([0, 1, 2, 3]), matrix([4])
    found = foretold(lambda users: torch.tensor([[9.0, 8, 7, 6, 1, 2]]), known, hidden, 2)
    assert found.recall == 1


def test_each_user_hides_a_share_and_nothing_is_lost() -> None:
    rng = np.random.default_rng(1)
    whole = sparse.csr_array((rng.random((50, 40)) < 0.4).astype(np.float32))
    known, hidden = hide(whole, 0.2, seed=1)
    assert (known + hidden - whole).nnz == 0
    assert known.multiply(hidden).nnz == 0
    assert (np.diff(hidden.indptr) == np.floor(np.diff(whole.indptr) * 0.2)).all()
    again = hide(whole, 0.2, seed=1)[1]
    assert (again - hidden).nnz == 0
    assert (hide(whole, 0.2, seed=2)[1] - hidden).nnz


def test_of_fewer_items_than_places_all_are_shown() -> None:
    found = foretold(lambda users: torch.tensor([[1.0, 2, 3, 4, 5, 6]]), matrix([0]), matrix([2, 4]), 20)
    assert (found.recall, found.users) == (1, 1)
    assert found.ndcg == pytest.approx((1 / np.log2(3) + 1 / np.log2(5)) / (1 + 1 / np.log2(3)))
