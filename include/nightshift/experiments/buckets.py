"""Which buckets of users each variant has.

A layer sees its users in 65,536 buckets. A slot is a run of them. Within its slot an experiment shuffles the buckets by
a hash of its own name, gives each variant its part of that order, and takes the first `ramp` of every part in. So more
ramp adds users to each variant and moves none; and those who shared a variant of the experiment before, in the same
slot, are spread over all variants of this one. A user's bucket is uniform: who gets a variant is a binomial draw.

Tang, Agarwal, O'Brien and Meyer (2010), Overlapping experiment infrastructure, KDD.
"""

from __future__ import annotations

import hashlib
from itertools import accumulate, pairwise

from nightshift.config.settings import Experiment, Layer

BUCKETS = 2**16


def hashed_with(salt: str) -> hashlib.blake2b:
    """The beginning of every hash here, 32 bytes long. Who does not know the salt cannot tell who gets what.

    It fills BLAKE2b's own fields for a salt and a person, which cost nothing where a key costs a second block.
    """
    secret = hashlib.blake2b(salt.encode(), digest_size=32).digest()
    return hashlib.blake2b(digest_size=32, salt=secret[:16], person=secret[16:])


def buckets_of(experiment: Experiment, salt: str) -> dict[str, list[int]]:
    """Variant -> the buckets of the users who get it."""
    first, last = (round(edge * BUCKETS) for edge in experiment.slot)
    begun = hashed_with(salt)

    def drawn(bucket: int) -> bytes:
        draw = begun.copy()
        draw.update(f"{experiment.name}/{bucket}".encode())
        return draw.digest()

    order = sorted(range(first, last), key=drawn)
    weights = [variant.weight for variant in experiment.variants]
    ends = [round(len(order) * upto / sum(weights)) for upto in accumulate(weights, initial=0.0)]
    taken = {}
    for variant, (start, end) in zip(experiment.variants, pairwise(ends), strict=True):
        taken[variant.name] = order[start : start + round((end - start) * experiment.ramp)]
    return taken


def held_out(layer: Layer) -> range:
    """The buckets of the users who are in none of the layer's experiments."""
    return range(round((1 - layer.holdout) * BUCKETS), BUCKETS)
