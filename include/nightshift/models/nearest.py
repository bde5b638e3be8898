"""What models have in common whose scores are inner products of user and item vectors."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pandas as pd

from nightshift.features.snapshot import Snapshot
from nightshift.models.coded import Coded
from nightshift.models.recommender import NOTHING, Entries, Recommender, lists_of, popular
from nightshift.models.rows import ranked

BLOCK = 1024  # users at a time


class Embedding(Protocol):
    """A model that gives vectors. It may be older than a snapshot: it does not know every item of it then."""

    @property
    def as_of(self) -> dt.date:
        """The last day it has learnt from."""
        ...

    def item_vectors(self) -> tuple[np.ndarray, np.ndarray]:
        """The ids of all items it knows, sorted, and their vectors: float32 (items, dimension)."""
        ...

    def places(self, coded: Coded) -> np.ndarray:
        """Where each item of a snapshot lies among those it knows; -1 for one that it does not."""
        ...

    def vectors_at(self, coded: Coded, users: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Float32 (users, dimension) of the users at these positions (-1: unknown) of a snapshot."""
        ...


class VectorModel(Embedding, Recommender, Protocol):
    """One that recommends by itself as well, and can be kept."""

    @property
    def as_of(self) -> dt.date:
        """See `Embedding`."""
        ...


def recommended(model: Embedding, source: str, snapshot: Snapshot, user_ids: Sequence[str], k: int) -> pd.DataFrame:
    """Lists by exact search; see `Recommender`."""
    coded = Coded(snapshot)
    places = model.places(coded)
    items = np.flatnonzero(coded.sellable & (places >= 0))
    vectors = model.item_vectors()[1][places[items]]
    users = coded.user_positions(user_ids)
    known = np.flatnonzero(users >= 0)
    found = [NOTHING]
    for begin in range(0, len(known) if len(items) else 0, BLOCK):
        rows = known[begin : begin + BLOCK]
        scores = model.vectors_at(coded, users[rows], places) @ vectors.T
        best, _ = ranked(np.repeat(rows, len(items)), np.tile(items, len(rows)), scores.ravel(), k)
        row, column = np.divmod(best, len(items))
        found.append(Entries.of(rows[row], items[column], scores[row, column], source))
    return lists_of(coded, user_ids, Entries.joined(found), k, popular(coded))
