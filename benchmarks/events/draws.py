"""Random numbers by name, not by turn: any row of any day can be drawn alone, in any order, with the same result.

A state is 64 bits made of what the number is for (seed, day, basket, line); from a state come numbered draws.
Source: Steele, Lea, Flood (2014), Fast splittable pseudorandom number generators, OOPSLA (the mixer of SplitMix64).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

GOLDEN = 0x9E3779B97F4A7C15
UNIT = 2.0**-53


def state(*counters: int | Words | Ints) -> Words:
    """64 mixed bits for each combination of counters, which may be numbers or arrays that broadcast."""
    mixed = np.zeros(1, np.uint64)
    for counter in counters:
        mixed = _scramble(mixed + _spread(counter))
    return mixed


def draw(states: Words, number: int) -> Words:
    """The `number`th draw from each state: 64 random bits."""
    return _scramble(states + _spread(number))


def uniform(states: Words, number: int) -> Floats:
    """The same as a number in [0, 1)."""
    return (draw(states, number) >> np.uint64(11)).astype(np.float64) * UNIT


def _spread(counter: int | Words | Ints) -> Words | np.uint64:
    """Counter + 1 steps of the golden ratio, modulo 2**64."""
    if isinstance(counter, int):
        return np.uint64((counter + 1) * GOLDEN % 2**64)
    return (counter.astype(np.uint64) + np.uint64(1)) * np.uint64(GOLDEN)


def _scramble(x: Words) -> Words:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
