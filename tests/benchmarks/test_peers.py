"""How the settings of a peer are chosen, by a peer whose best settings are planted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from benchmarks.quality.held_out import hide, validation
from benchmarks.quality.peers import Factors, chosen

GRID = {"alpha": (1.0, 10.0, 100.0), "factors": (8, 16, 32)}


@pytest.fixture
def train() -> sparse.csr_array:
    rng = np.random.default_rng(1)
    return sparse.csr_array((rng.random((60, 50)) < 0.4).astype(np.float32))


class Peer:
    """Knows what is hidden, and tells the less of it the further its settings are from the best."""

    def __init__(self, train: sparse.csr_array, best: dict[str, float]) -> None:
        self.hidden = hide(train, 0.1, 1)[1].toarray()
        self.best = best
        self.asked: list[dict[str, float]] = []
        self.saw: list[sparse.csr_array] = []

    def fit(self, matrix: sparse.csr_array, **settings: float) -> Factors:
        self.asked.append(settings)
        self.saw.append(matrix)
        wrong = sum(abs(np.log(value / self.best[name])) for name, value in settings.items())
        noise = np.random.default_rng(2).standard_normal(self.hidden.shape)
        items = self.hidden + wrong * noise
        return Factors(torch.eye(len(items)), torch.from_numpy(items.T.copy()).float())


@pytest.mark.parametrize("best", [{"alpha": 10.0, "factors": 8}, {"alpha": 1.0, "factors": 32}])
def test_the_best_of_each_setting_is_chosen_in_few_fits(train: sparse.csr_array, best: dict[str, float]) -> None:
    peer = Peer(train, best)
    assert chosen(peer.fit, train, 1, GRID) == best
    assert len(peer.asked) == 5
    assert len({tuple(settings.items()) for settings in peer.asked}) == 5


def test_what_it_is_judged_by_is_hidden_from_it(train: sparse.csr_array) -> None:
    peer = Peer(train, {"alpha": 10.0, "factors": 8})
    chosen(peer.fit, train, 1, GRID)
    known, hidden, users = validation(train, 1)
    assert hidden.nnz > 0
    assert len(users) == 60
    for saw in peer.saw:
        assert (saw - known).nnz == 0
        assert saw.multiply(hidden).nnz == 0


def test_with_nothing_to_hide_the_first_values_are_taken() -> None:
    few = sparse.csr_array(np.eye(5, dtype=np.float32))
    peer = Peer(few, {"alpha": 100.0, "factors": 32})
    assert chosen(peer.fit, few, 1, GRID) == {"alpha": 1.0, "factors": 8}
    assert not peer.asked
