"""Which baskets a step learns from: a function of the seed and of the step's number, and nothing besides.

So a fit that goes on at some step takes what it would have taken there, and so do several processes that share the
steps. Nothing is kept by basket: an epoch's order is a permutation that tells of any place what stands there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

from nightshift.models.baskets import Baskets

BLOCK = 1 << 16  # baskets at a time
ROUNDS = 6


@dataclass(frozen=True)
class Order:
    """Each epoch takes a basket with a chance that halves every half-life, in random order, in equal parts.

    Attributes:
        until: the last day whose baskets are taken, in days since 1970.
        half_life: in days.
        size: baskets of a step, about.
    """

    baskets: Baskets
    until: int
    half_life: float
    size: int
    epochs: int
    seed: int

    def __len__(self) -> int:
        """The steps of all epochs."""
        return self.ends[-1]

    def chance(self, which: np.ndarray | slice) -> np.ndarray:
        """Of each basket, to be taken in an epoch."""
        age = self.until - self.baskets.day[which]
        return np.where(age >= 0, np.exp2(-np.maximum(age, 0) / self.half_life), 0.0)

    @cached_property
    def taken(self) -> tuple[int, ...]:
        """How many baskets each epoch takes."""
        return tuple(sum(len(part) for part in self._taken(epoch)) for epoch in range(self.epochs))

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """The number of steps done at the end of each epoch."""
        return tuple(accumulate(max(round(taken / self.size), 1) if taken else 0 for taken in self.taken))

    def steps(self, first: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """The steps from `first` on: their numbers, and the baskets of each in the order of the files."""
        begin = 0
        for epoch, end in enumerate(self.ends):
            if max(first, begin) < end:  # an epoch of few old baskets may take none
                for number, which in enumerate(self._epoch(epoch, end - begin), begin):
                    if number >= first:
                        yield number, np.sort(which)
            begin = end

    def _epoch(self, epoch: int, steps: int) -> Iterator[np.ndarray]:
        size, longer = divmod(self.taken[epoch], steps)
        waiting, number = np.empty(0, dtype=np.int64), 0
        for part in self._taken(epoch):
            waiting = np.concatenate([waiting, part])
            while number < steps and len(waiting) >= (length := size + (number < longer)):
                yield waiting[:length]
                waiting, number = waiting[length:], number + 1

    def _taken(self, epoch: int) -> Iterator[np.ndarray]:
        """The baskets that an epoch takes, in its order."""
        keys = np.random.SeedSequence([self.seed, epoch]).generate_state(ROUNDS + 1, np.uint64)
        for begin in range(0, len(self.baskets), BLOCK):
            places = np.arange(begin, min(begin + BLOCK, len(self.baskets)), dtype=np.uint64)
            which = permuted(places, len(self.baskets), keys[:ROUNDS]).astype(np.int64)
            drawn = _mixed(which.astype(np.uint64) ^ keys[ROUNDS]) >> np.uint64(11)
            yield which[drawn * 2.0**-53 < self.chance(which)]
            self.baskets.release()


def permuted(places: np.ndarray, count: int, keys: np.ndarray) -> np.ndarray:
    """What stands at these places of a random permutation of range(count), which `keys` choose.

    A Feistel network over the next power of 4, walked until it is back in range: Black and Rogaway (2002), Ciphers with
    arbitrary finite domains.

    Args:
        places, keys: uint64.
    """
    half = np.uint64(max((count - 1).bit_length() + 1, 2) // 2)
    mask = np.uint64((1 << int(half)) - 1)
    found, walking = places.copy(), np.ones(len(places), dtype=bool)
    while walking.any():
        left, right = found[walking] >> half, found[walking] & mask
        for key in keys:
            left, right = right, left ^ (_mixed(right + key) & mask)
        found[walking] = (left << half) | right
        walking = found >= count
    return found


def _mixed(value: np.ndarray) -> np.ndarray:
    """A hash of 64 bits: the last steps of splitmix64 (Steele, Lea, Flood 2014, doi 10.1145/2660193.2660195)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
