"""Two files that do not quite fit each other, and what is made of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from benchmarks.quality.baselines import Popularity
from benchmarks.quality.data import Split, load_split
from benchmarks.quality.held_out import foretold
from benchmarks.quality.models import Filtered

TRAIN = [[1, 1, 0], [0, 1, 1], [1, 0, 1]]
TEST = [[0, 0, 1], [1, 0, 0], [0, 0, 0]]


def split(folder: Path, train: list[list[float]], test: list[list[float]]) -> Split:
    for name, rows in (("train", train), ("test", test)):
        sparse.save_npz(folder / f"{name}.npz", sparse.csr_array(np.array(rows)))
    return load_split(folder / "train.npz", folder / "test.npz")


def test_files_that_fit_are_left_as_they_are(tmp_path: Path) -> None:
    found = split(tmp_path, TRAIN, TEST)
    assert (found.train.toarray().tolist(), found.test.toarray().tolist(), found.note) == (TRAIN, TEST, "")
    assert found.train.dtype == found.test.dtype == np.float32


@pytest.mark.parametrize("kept", [(2, 3), (3, 2), (1, 1)])
def test_the_smaller_file_is_filled_up_with_users_and_items_that_have_nothing(
    tmp_path: Path, kept: tuple[int, int]
) -> None:
    users, items = kept
    cut, full = [row[:items] for row in TRAIN[:users]], np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    padded = np.zeros((3, 3))
    padded[:users, :items] = cut
    found = split(tmp_path, cut, full.tolist())
    assert found.train.toarray().tolist() == padded.tolist()
    assert found.test.toarray().tolist() == full.tolist()
    assert found.note == f"train of {users} × {items} and test of 3 × 3 are filled up to each other"
    for model in (Popularity, Filtered):
        fitted = model.fit(found.train, 1)
        assert torch.isfinite(fitted.scores(np.arange(3))).all()
        figures = foretold(fitted.scores, found.train, found.test, 3)
        assert (figures.users, figures.recall) == (3, 1)
    found = split(tmp_path, full.tolist(), cut)
    assert found.train.toarray().tolist() == full.tolist()
    assert found.test.toarray().tolist() == padded.tolist()


def test_what_is_known_is_not_foretold(tmp_path: Path) -> None:
    found = split(tmp_path, TRAIN, [[0, 1, 1], [1, 1, 1], [0, 0, 0]])
    assert found.test.toarray().tolist() == TEST
    assert found.test.nnz == 2
    assert found.note == "3 pairs of test are in train, and not foretold"
    with pytest.raises(SystemExit, match="nothing to foretell"):
        split(tmp_path, TRAIN, TRAIN)


def test_any_value_but_0_counts_as_1(tmp_path: Path) -> None:
    found = split(tmp_path, [[5, 1, 0], [0, 0.5, -1], [1, 0, 1]], TEST)
    assert found.train.toarray().tolist() == TRAIN
    assert found.note == "3 values other than 1 count as 1"
    twice = sparse.csr_array((np.ones(3), (np.array([0, 0, 1]), np.array([2, 2, 0]))), shape=(3, 3))
    sparse.save_npz(tmp_path / "test.npz", twice)
    assert load_split(tmp_path / "train.npz", tmp_path / "test.npz").test.toarray().tolist() == TEST
