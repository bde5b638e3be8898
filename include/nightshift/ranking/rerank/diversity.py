"""What an item is worth to a list, given what is in it already.

Both ways see the same likeness: the cosine of two titles' words, and whether two items are of one kind. They are asked
and told for a block of users at once, a place of the lists at a time.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from nightshift.ranking.rerank.rules import Rules

KIND = 0.3  # share of the kind in the likeness that a determinant is taken of; the titles' words have the rest
NOTHING_NEW = 1e-6  # of an item's length 1, outside of what the list spans: less is rounding


class Likeness:
    """How alike the candidates (users, n; -1: none) of each user are.

    The cosines of a small catalogue are worked out once; of a large one, those of each user's candidates.
    """

    def __init__(self, rules: Rules, items: np.ndarray) -> None:
        self.items, self.kind, self.all = items, rules.kind[items], rules.cosine
        words = rules.words[items if self.all is None else items[:0]]
        self.own = np.matmul(words, words.transpose(0, 2, 1))

    def to(self, best: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(users, n), each candidate against its user's `best`: the cosine of the titles, and whether of a kind."""
        users = np.arange(len(best))
        same = (self.kind == self.kind[users, best][:, None]) & (self.kind >= 0)
        if self.all is None:
            return self.own[users, best], same
        return self.all[self.items[users, best][:, None], self.items], same


class Worth(Protocol):
    def of(self, relevance: np.ndarray) -> np.ndarray:
        """What each candidate (users, n) of that relevance adds to its user's list."""
        ...

    def take(self, best: np.ndarray, found: np.ndarray) -> None:
        """Put candidate `best` (users) into each list, where one was `found` (users)."""
        ...


class Score:
    """By relevance alone."""

    def of(self, relevance: np.ndarray) -> np.ndarray:
        return relevance

    def take(self, best: np.ndarray, found: np.ndarray) -> None:
        pass


class MarginalRelevance:
    """Maximal marginal relevance (Carbonell and Goldstein 1998, doi 10.1145/290941.291025).

    An item loses by the one in the list that it is most like; two of a kind are wholly alike. `weight` is 1 - lambda.
    """

    def __init__(self, weight: float, likeness: Likeness) -> None:
        self.weight, self.likeness = weight, likeness
        self.nearest = np.zeros(likeness.kind.shape, dtype=np.float32)

    def of(self, relevance: np.ndarray) -> np.ndarray:
        return (1 - self.weight) * relevance - self.weight * self.nearest

    def take(self, best: np.ndarray, found: np.ndarray) -> None:
        cosine, same = self.likeness.to(best)
        alike = np.where(same, 1.0, cosine)
        self.nearest = np.maximum(self.nearest, alike * found[:, None])


class Determinant:
    """A determinantal point process, by fast greedy MAP inference (Chen, Zhang, Zhou 2018, arXiv:1709.05135).

    A list is worth (1 - weight) * its relevance + weight * log det S, the paper's trade-off (its theta is 1 - weight),
    with S the likeness of its items: the titles' cosine and whether they are of a kind, added by shares, which keeps S
    positive semidefinite. An item adds the logarithm of its squared distance from what the list spans; that is kept up
    to date by a row of the Cholesky factor a place. Where nothing new is left, relevance decides.
    """

    def __init__(self, weight: float, likeness: Likeness, size: int) -> None:
        self.weight, self.likeness = weight, likeness
        self.distance = np.ones(likeness.kind.shape)
        self.factor = np.zeros((*likeness.kind.shape, size))
        self.place = 0

    def of(self, relevance: np.ndarray) -> np.ndarray:
        new = np.log(np.maximum(self.distance, NOTHING_NEW))
        return (1 - self.weight) * relevance + self.weight * new

    def take(self, best: np.ndarray, found: np.ndarray) -> None:
        users = np.arange(len(best))
        cosine, same = self.likeness.to(best)
        alike = (1 - KIND) * cosine + KIND * same
        alike[users, best] = 1.0
        known = self.factor[:, :, : self.place]
        left = self.distance[users, best]
        row = alike - np.einsum("unt,ut->un", known, known[users, best])
        row /= np.sqrt(np.maximum(left, NOTHING_NEW))[:, None]
        row *= (found & (left > NOTHING_NEW))[:, None]
        self.factor[:, :, self.place] = row
        self.distance -= row**2
        self.place += 1


def worth(rules: Rules, items: np.ndarray) -> Worth:
    """How the rules have candidates (users, n; -1: none) judged."""
    rule = rules.diversity
    if rule is None:
        return Score()
    likeness = Likeness(rules, items)
    if rule.method == "mmr":
        return MarginalRelevance(rule.weight, likeness)
    return Determinant(rule.weight, likeness, rules.size)
