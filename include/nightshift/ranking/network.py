"""Small networks beside the ranker's trees: they see the same features, and err differently.

A feature goes in by its quantile among the candidates of the fit, so that no scale or outlier matters, and what is
missing by a flag. They learn the softmax cross entropy over a user's candidates, each user counting alike: Cao et al.
(2007), Learning to rank, from pairwise approach to listwise approach, doi 10.1145/1273496.1273513.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from nightshift.models.fitting import reproducible
from nightshift.models.recommender import ModelFileError

FILE = "networks.safetensors"
QUANTILES = 100
HIDDEN, DROPOUT = (64, 32), 0.2
EPOCHS, BATCH, LEARNING_RATE, DECAY = 8, 16, 3e-3, 1e-4  # a batch is so many users
ROWS = 16_384  # that are scored at a time


@dataclass(frozen=True)
class Inputs:
    """From features to what a network reads: of each feature its quantile in [-1, 1], and whether it is missing.

    Attributes:
        points: the quantiles of all features, end to end; each feature's rise.
        starts: (features + 1): where each feature's begin.
    """

    points: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, matrix: np.ndarray) -> Inputs:
        """Of the features that a fit sees: (rows, features), NaN where there is none."""
        steps = np.linspace(0, 1, QUANTILES)
        known = [column[np.isfinite(column)] for column in matrix.T]
        found = [np.unique(np.quantile(values, steps)) if len(values) else np.zeros(1) for values in known]
        return cls(np.concatenate(found), np.cumsum([0, *map(len, found)]))

    def __call__(self, matrix: np.ndarray) -> np.ndarray:
        """Float64 (rows, 2 * features)."""
        missing = np.isnan(matrix)
        placed = np.zeros(matrix.shape)
        for number, (begin, end) in enumerate(pairwise(self.starts)):
            if end - begin > 1:
                points = self.points[begin:end]
                placed[:, number] = np.interp(matrix[:, number], points, np.linspace(-1, 1, end - begin))
        return np.concatenate([np.where(missing, 0.0, placed), missing], axis=1)


@dataclass(frozen=True)
class Networks:
    """Fitted networks, which differ by their random numbers only.

    Attributes:
        layers: of each network, its layers' weights (in, out) and biases (out).
    """

    inputs: Inputs
    layers: tuple[tuple[tuple[np.ndarray, np.ndarray], ...], ...]

    @property
    def shape(self) -> tuple[int, int]:
        """How many networks, over how many features."""
        return len(self.layers), len(self.inputs.starts) - 1

    def scores(self, matrix: np.ndarray) -> np.ndarray:
        """(networks, rows), float64 rounded to float32: what is scored beside a row does not show in it."""
        found = np.zeros((len(self.layers), len(matrix)))
        for begin in range(0, len(matrix), ROWS):
            inputs = self.inputs(matrix[begin : begin + ROWS])
            for number, layers in enumerate(self.layers):
                found[number, begin : begin + ROWS] = _forward(inputs, layers)
        return found.astype(np.float32).astype(np.float64)

    def save(self, folder: Path) -> None:
        """Write `networks.safetensors`; the same networks give the same bytes."""
        weights = {"points": self.inputs.points, "starts": self.inputs.starts}
        for number, layers in enumerate(self.layers):
            for depth, (weight, bias) in enumerate(layers):
                weights |= {f"{number}.{depth}.weight": weight, f"{number}.{depth}.bias": bias}
        save_file(weights, folder / FILE)


def _forward(inputs: np.ndarray, layers: tuple[tuple[np.ndarray, np.ndarray], ...]) -> np.ndarray:
    values = inputs
    for depth, (weight, bias) in enumerate(layers):
        values = (values if depth == 0 else np.maximum(values, 0)) @ weight.astype(np.float64) + bias
    return values[:, 0]


def fit_networks(matrix: np.ndarray, relevant: np.ndarray, groups: np.ndarray, count: int, seed: int) -> Networks:
    """Learn the order of candidates, `count` times; see `fit_ranker`. By one thread: the same input, the same bytes."""
    inputs = Inputs.of(matrix)
    blocks = [matrix[begin : begin + ROWS] for begin in range(0, len(matrix), ROWS)]
    read = torch.from_numpy(np.concatenate([inputs(block).astype(np.float32) for block in blocks]))
    true = torch.from_numpy(relevant.astype(np.float32))
    layers = []
    for number in range(count):
        with reproducible(seed + number, 1, torch.device("cpu")):
            layers.append(_fitted(read, true, groups, np.random.default_rng(seed + number)))
    return Networks(inputs, tuple(layers))


def _fitted(
    inputs: torch.Tensor, true: torch.Tensor, groups: np.ndarray, rng: np.random.Generator
) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    widths = (inputs.shape[1], *HIDDEN, 1)
    linear = [torch.nn.Linear(*pair) for pair in pairwise(widths)]
    between = [torch.nn.Sequential(layer, torch.nn.ReLU(), torch.nn.Dropout(DROPOUT)) for layer in linear[:-1]]
    network = torch.nn.Sequential(*between, linear[-1])
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=DECAY)
    steps = EPOCHS * -(-len(groups) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=max(steps, 2))
    for rows, group in _batches(groups, rng):
        loss = _listwise(network(inputs[rows])[:, 0], true[rows], group)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return tuple((one.weight.detach().numpy().T.copy(), one.bias.detach().numpy()) for one in linear)


def _batches(groups: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The rows of some users, and which of these each is of; all users an epoch, in another order each."""
    starts = np.cumsum(groups) - groups
    for _ in range(EPOCHS):
        order = rng.permutation(len(groups))
        for begin in range(0, len(order), BATCH):
            users = order[begin : begin + BATCH]
            rows = np.concatenate([np.arange(starts[user], starts[user] + groups[user]) for user in users])
            yield torch.from_numpy(rows), torch.from_numpy(np.repeat(np.arange(len(users)), groups[users]))


def _listwise(scores: torch.Tensor, true: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
    """Mean over the groups of the mean over their true entries of -log softmax."""
    users = int(group[-1]) + 1
    highest = torch.full((users,), -torch.inf).scatter_reduce(0, group, scores.detach(), "amax")
    shifted = scores - highest[group]
    total = torch.zeros(users).index_add(0, group, shifted.exp())
    count = torch.zeros(users).index_add(0, group, true)
    return -((shifted - total.log()[group]) * true / count[group]).sum() / users


def load_networks(folder: Path) -> Networks:
    """Read what `save` wrote.

    Raises:
        FileNotFoundError: there is no `networks.safetensors` in `folder`.
        ModelFileError: it holds no whole networks.
    """
    weights = load_file(folder / FILE)
    try:
        inputs = Inputs(weights.pop("points"), weights.pop("starts"))
        depth = len(HIDDEN) + 1
        count = len(weights) // (2 * depth)
        layers = tuple(
            tuple((weights.pop(f"{n}.{d}.weight"), weights.pop(f"{n}.{d}.bias")) for d in range(depth))
            for n in range(count)
        )
    except KeyError as error:
        raise ModelFileError(f"{folder / FILE} has no {error}") from None
    return Networks(inputs, layers)
