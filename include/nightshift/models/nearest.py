"""What models have in common whose scores are inner products of user and item vectors."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from nightshift.features.snapshot import Snapshot
from nightshift.models.coded import Coded
from nightshift.models.recommender import NOTHING, Entries, lists_of, popular
from nightshift.models.rows import top_of_scores

BLOCK = 1024  # users at a time


class VectorModel(ABC):
    """A model that gives vectors. It may be older than a snapshot: it does not know every item of it then.

    Attributes:
        item_ids: the vocabulary, sorted; row r of every item matrix is item_ids[r].
        about: what made it, as in model.json.
    """

    kind: ClassVar[str]
    item_ids: np.ndarray
    about: dict[str, Any]

    @property
    def as_of(self) -> dt.date:
        """The last day it has learnt from."""
        return dt.date.fromisoformat(self.about["as_of"])

    @cached_property
    def vocabulary(self) -> pd.Index:
        return pd.Index(self.item_ids)

    @abstractmethod
    def item_vectors(self) -> tuple[np.ndarray, np.ndarray]:
        """Item ids, sorted, and their vectors: float32 (items, dimension)."""

    @abstractmethod
    def vectors_at(self, coded: Coded, users: np.ndarray, places: np.ndarray) -> np.ndarray:
        """`user_vectors` of the users at these positions (-1: unknown) of a snapshot whose items lie at `places`."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write it as files that hold no code; the same model gives the same bytes."""

    def user_vectors(self, snapshot: Snapshot, user_ids: Sequence[str]) -> np.ndarray:
        """Float32 (users, dimension), from what `snapshot` knows of each: nothing of a new user."""
        coded = Coded(snapshot)
        return self.vectors_at(coded, coded.user_positions(user_ids), self.places(coded))

    def places(self, coded: Coded) -> np.ndarray:
        """Where each item of a snapshot lies in the vocabulary; -1 for one that the model does not know."""
        return self.vocabulary.get_indexer(coded.items)

    def recommend(self, snapshot: Snapshot, user_ids: Sequence[str], k: int) -> pd.DataFrame:
        """See `Recommender`. Exact search, for comparisons; the nightly lists come from an index and a ranker."""
        return recommended(self, self.kind, snapshot, user_ids, k)


def recommended(model: VectorModel, source: str, snapshot: Snapshot, user_ids: Sequence[str], k: int) -> pd.DataFrame:
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
        row, column = top_of_scores(scores, k)
        found.append(Entries.of(rows[row], items[column], scores[row, column], source))
    return lists_of(coded, user_ids, Entries.joined(found), k, popular(coded))
