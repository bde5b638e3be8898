import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from nightshift.models.recommender import ModelFileError
from nightshift.ranking.network import Inputs, Networks, fit_networks, load_networks

USERS, CANDIDATES = 80, 25


def planted() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidates of which those come true that are about the middle of the first feature; the second is noise."""
    rng = np.random.default_rng(11)
    wanted, noise = np.exp(rng.normal(0, 3, (2, USERS, CANDIDATES)))
    near = -np.abs(np.log(wanted))
    relevant = near >= np.sort(near, axis=1)[:, -4:-3]
    matrix = np.stack([wanted.ravel(), noise.ravel()], axis=1).astype(np.float32)
    return matrix, relevant.ravel().astype(np.int8), np.full(USERS, CANDIDATES)


@pytest.fixture(scope="module")
def networks() -> Networks:
    return fit_networks(*planted(), count=2, seed=3)


def test_each_learns_an_order_that_no_line_has(networks):
    matrix, relevant, _ = planted()
    for scores in networks.scores(matrix):
        best = scores.reshape(USERS, -1).argsort(axis=1)[:, -4:]
        assert np.take_along_axis(relevant.reshape(USERS, -1), best, axis=1).mean() > 0.6  # at random: 0.16


def test_they_differ_and_each_is_the_same_again_by_any_number_of_threads(networks):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        again = fit_networks(*planted(), count=2, seed=3)
    finally:
        torch.set_num_threads(before)
    one, other = networks.scores(planted()[0])
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal([one, other], again.scores(planted()[0]))


def test_a_row_scores_the_same_whatever_is_scored_beside_it(networks):
    matrix = np.random.default_rng(2).normal(size=(500, 2)).astype(np.float32)
    alone = [networks.scores(matrix[row : row + 1])[:, 0] for row in range(500)]
    np.testing.assert_array_equal(networks.scores(matrix), np.transpose(alone))


def test_what_is_missing_is_told_from_what_is_in_the_middle():
    inputs = Inputs.of(np.arange(101, dtype=np.float32)[:, None])
    np.testing.assert_allclose(inputs(np.array([[50], [np.nan]])), [[0, 0], [0, 1]], atol=1e-9)


def test_values_beyond_those_of_the_fit_are_as_its_ends():
    inputs = Inputs.of(np.array([[1, 7, np.nan], [2, 7, np.nan], [3, 7, np.nan]], dtype=np.float32))
    found = inputs(np.array([[-9, 7, 4], [np.inf, 9, np.nan]]))
    np.testing.assert_array_equal(found, [[-1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 1]])


def test_they_are_what_they_were_when_read_again(networks, tmp_path):
    networks.save(tmp_path)
    matrix = planted()[0]
    np.testing.assert_array_equal(load_networks(tmp_path).scores(matrix), networks.scores(matrix))


def test_half_a_file_is_refused(networks, tmp_path):
    networks.save(tmp_path)
    file = tmp_path / "networks.safetensors"
    save_file({name: value for name, value in load_file(file).items() if name != "0.1.bias"}, file)
    with pytest.raises(ModelFileError, match=r"0\.1\.bias"):
        load_networks(tmp_path)
