"""Retrieval in closed form: a low-pass filter over the graph of users and items, fitted in seconds without a gradient.

The leading singular directions of the degree-normalised matrix are the smooth signals on that graph (Shen et al. 2021,
How powerful is graph convolution for recommendation?, arXiv:2108.07567). How many of them are worth something depends
on the data: purchases by chance have directions too, whose strength follows from the matrix's size and energy, and a
direction counts by how far it rises above those. Each item counts by its degree on both sides: what having it tells of
a user, and how readily it is shown. Scores are inner products, so that an index of items serves them, and a user is a
sum over items: a new one counts at once.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

from nightshift.models.dimensions import STEP, that_fit

ROWS = 65_536  # users at a time: beside 24 bytes an entry of the matrix, and items × dimension, memory is bounded by it
OVERSAMPLING = 32
PASSES = 3
FEWEST, ITEMS_A_DIRECTION, MOST_NUMBERS = 64, 4, 2**28
MOST_NOISE = 0.9  # of the first direction's squared strength, which so counts for something whatever chance would give


@dataclass(frozen=True)
class Shape:
    """What a filter lets through: of a direction of squared strength x, the first having 1, where chance would give c,
    x^slope * max(0, 1 - noise * c * (1 + 3 * c) / x) * (1 - sharpening * x). Where this is from: docs/quality.md.

    Attributes:
        dimension: how many singular directions are looked at, at most; see `room_for`.
        user_degree, item_degree: exponents of the normalisation; 0.5 and 0.5 is the symmetric one.
        history: exponent by which a user's frequent items tell less.
        popularity: exponent by which frequent items are shown more readily.
        slope: a direction counts with its squared strength to this power; 0: all alike.
        noise: how much of what chance would give is taken off; 0: every direction is taken for knowledge.
        sharpening: share that is taken from the strongest directions again, which everybody has in common.
    """

    dimension: int = 1536
    user_degree: float = 0.3
    item_degree: float = 0.45
    history: float = 0.2
    popularity: float = 0.4
    slope: float = 0.15
    noise: float = 0.3
    sharpening: float = 0.4


@dataclass(frozen=True)
class Directions:
    """The leading singular values of a normalised matrix, the first being 1, and its right singular vectors.

    Attributes:
        strength: (rank), falling.
        vectors: (items, rank), orthonormal columns.
        degree: (items), at least 1.
        chance: squared strength that the first direction would have, had the same entries come about independently.
    """

    strength: torch.Tensor
    vectors: torch.Tensor
    degree: torch.Tensor
    chance: float


@dataclass(frozen=True)
class GraphFilter:
    """A fitted filter: the score of an item is `users` · `items`.

    Attributes:
        taste: (items, dimension) what having an item adds to a user's vector.
        items: (items, dimension) the items' own vectors.
    """

    taste: torch.Tensor
    items: torch.Tensor

    def users(self, matrix: sparse.csr_array) -> torch.Tensor:
        """(rows, dimension) of users, from the items they have."""
        return _tensor(matrix) @ self.taste

    def scores(self, matrix: sparse.csr_array) -> torch.Tensor:
        """(rows, items)."""
        return self.users(matrix) @ self.items.T


def fit_filter(matrix: sparse.csr_array, shape: Shape, seed: int) -> GraphFilter:
    """Fit in one go.

    Args:
        matrix: (users, items), weights >= 0.
    """
    dimension = min(shape.dimension, room_for(matrix.shape[1]))
    return shaped(directions(matrix, dimension, shape.user_degree, shape.item_degree, seed), shape)


def room_for(items: int) -> int:
    """Directions that are looked at for so many items: one for each 4 of them, up to a whole step; at least 64, and at
    most the whole steps that 1 GiB holds.
    """
    worth = -(-items // (ITEMS_A_DIRECTION * STEP)) * STEP
    return max(FEWEST, min(worth, that_fit(MOST_NUMBERS, items)))


def shaped(known: Directions, shape: Shape) -> GraphFilter:
    """The filter of a shape upon directions: of the first `shape.dimension` those that count, up to a whole step."""
    squares = known.strength[: shape.dimension].square()
    noise = min(shape.noise * known.chance * (1 + 3 * known.chance), MOST_NOISE)
    response = squares.pow(shape.slope) * (1 - noise / squares).clamp_min(0) * (1 - shape.sharpening * squares)
    kept = min(len(response), -(-max(1, int(response.count_nonzero())) // STEP) * STEP)
    vectors, degree = known.vectors[:, :kept], known.degree[:, None]
    return GraphFilter(vectors * degree.pow(-shape.history) * response[:kept], vectors * degree.pow(shape.popularity))


def directions(matrix: sparse.csr_array, rank: int, user_degree: float, item_degree: float, seed: int) -> Directions:
    """Randomised subspace iteration (Halko, Martinsson, Tropp 2011, arXiv:0909.4061), in blocks of users.

    What chance would give is the norm of a matrix of independent entries with as large a sum of squares, E: about
    √(E / users) + √(E / items) (after Bandeira and van Handel 2016, arXiv:1408.6185), of users and items with entries.
    """
    totals = [np.asarray(matrix.sum(axis=axis)).ravel() for axis in (1, 0)]
    users, items = (np.maximum(total, 1.0) for total in totals)
    over_users, over_items = sparse.diags_array(users**-user_degree).tocsr(), sparse.diags_array(items**-item_degree)
    pairs, energy = [], 0.0
    for begin in range(0, matrix.shape[0], ROWS):
        rows = slice(begin, begin + ROWS)
        block = sparse.csr_array(over_users[rows, rows] @ matrix[rows] @ over_items)
        energy += float(np.square(block.data, dtype=np.float64).sum())
        pairs.append((_tensor(block), _tensor(sparse.csr_array(block.T))))
    width = min(rank + OVERSAMPLING, *matrix.shape)
    basis = torch.randn(matrix.shape[1], width, generator=torch.Generator().manual_seed(seed))
    for _ in range(PASSES):
        basis = _orthonormal(_sum(back @ (block @ basis) for block, back in pairs))
    gram = _sum(_gram(block @ basis) for block, _ in pairs)
    squares, rotation = torch.linalg.eigh(gram)
    squares, rotation = squares.flip(0)[:rank], rotation.flip(1)[:, :rank]
    strength = squares.clamp_min(1e-12).sqrt()
    found = (basis.double() @ rotation).float()
    by_chance = energy * sum(max(float(np.count_nonzero(total)), 1.0) ** -0.5 for total in totals) ** 2
    chance = float(by_chance / strength[0].square())
    return Directions((strength / strength[0]).float(), found, torch.from_numpy(items.astype(np.float32)), chance)


def _sum(parts: Iterable[torch.Tensor]) -> torch.Tensor:
    return functools.reduce(torch.Tensor.add_, parts)


def _gram(block: torch.Tensor) -> torch.Tensor:
    return (block.T @ block).double()


def _orthonormal(basis: torch.Tensor) -> torch.Tensor:
    """The same space by orthonormal columns: Cholesky QR, twice, which is all matrix products, as long as it can be."""
    found = basis
    for _ in range(2):
        gram = _gram(found)
        gram.diagonal().add_(gram.diagonal().mean() * 1e-7)
        triangle, failed = torch.linalg.cholesky_ex(gram)
        if failed:  # columns that are nearly of one direction
            return torch.linalg.qr(basis)[0]
        found = torch.linalg.solve_triangular(triangle.float(), found.T, upper=False).T.contiguous()
    return found


def _tensor(matrix: sparse.csr_array) -> torch.Tensor:
    begins, columns = (torch.from_numpy(part.astype(np.int64)) for part in (matrix.indptr, matrix.indices))
    values = torch.from_numpy(matrix.data.astype(np.float32))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")  # its products are all that is used
        return torch.sparse_csr_tensor(begins, columns, values, size=list(matrix.shape), check_invariants=False)
