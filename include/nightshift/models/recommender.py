"""What every model can do, so that a gate can compare them, a registry hold them and a night serve any of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd

from nightshift.features.snapshot import Snapshot
from nightshift.models.coded import Coded
from nightshift.models.rows import ranked

COLUMNS = ["user_id", "rank", "item_id", "score", "source"]
SOURCES = ("repeat", "cooccurrence", "graph_filter", "two_tower", "trending")
"""Where an entry of a list can come from; of two that rank it alike, the one named first here is given."""

RECENT_DAYS = 28  # "this month", in `trending` and in the recent popularity baseline


class ModelFileError(ValueError):
    """A model's folder does not hold what this code can load: the message says what was expected and what was found."""


@runtime_checkable
class Recommender(Protocol):
    """A model. Its lists hold sellable items only, none twice, the best first, and are the same for the same input."""

    @property
    def kind(self) -> str:
        """What it is called in a registry."""
        ...

    @property
    def as_of(self) -> dt.date | None:
        """The last day it has learnt from; None: it learns nothing, and goes by the snapshot alone."""
        ...

    def recommend(self, snapshot: Snapshot, user_ids: Sequence[str], k: int) -> pd.DataFrame:
        """The best `k` items a user, fewer where fewer can be sold; for a user that is not known, the popular ones.

        Returns:
            `COLUMNS`: users in the order given, `rank` from 1 (int32), `score` (float64, never rising with rank) and
            `source` (one of `SOURCES`).
        """
        ...

    def save(self, folder: Path) -> None:
        """Write the model as files that hold no code: JSON, safetensors, text."""
        ...


@dataclass(frozen=True)
class Around:
    """What makes other lists of a model's: it is called as the model is, knows what that knows, and is kept as that."""

    model: Recommender

    @property
    def kind(self) -> str:
        return self.model.kind

    @property
    def as_of(self) -> dt.date | None:
        return self.model.as_of

    def save(self, folder: Path) -> None:
        """Write the model."""
        self.model.save(folder)


@dataclass(frozen=True)
class Entries:
    """Items for users, in any order: row of the user, item position, score, and position in `SOURCES`."""

    row: np.ndarray
    item: np.ndarray
    score: np.ndarray
    source: np.ndarray

    @classmethod
    def of(cls, row: np.ndarray, item: np.ndarray, score: np.ndarray, source: str) -> Entries:
        """Entries that all come from one source."""
        return cls(row, item, score.astype(np.float64), np.full(len(row), SOURCES.index(source)))

    @classmethod
    def joined(cls, parts: Sequence[Entries]) -> Entries:
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__annotations__))

    def take(self, which: np.ndarray) -> Entries:
        return Entries(*(getattr(self, name)[which] for name in self.__annotations__))


NOTHING = Entries.of(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0), SOURCES[0])


@dataclass(frozen=True)
class Popular:
    """Sellable items, the most popular first, and scores in (0, 1) that fall with the rank."""

    items: np.ndarray
    scores: np.ndarray

    def by_item(self, count: int) -> np.ndarray:
        """The score of each of all `count` items; 0 of what cannot be sold."""
        found = np.zeros(count)
        found[self.items] = self.scores
        return found


def popular(coded: Coded, days: int | None = RECENT_DAYS) -> Popular:
    """Every sellable item, the most bought in the last `days` (None: ever) first.

    Ties go to the item bought more often ever, then to the one whose id sorts first.
    """
    ever = coded.item_column("events_all")
    events = ever if days is None else coded.item_column(coded.window("events", days))
    where = np.flatnonzero(coded.sellable)
    order = where[np.lexsort((where, -ever[where], -events[where]))]
    return Popular(order, 1 - (np.arange(len(order)) + 1) / (len(order) + 1))


def lists_of(coded: Coded, user_ids: Sequence[str], entries: Entries, k: int, fill: Popular) -> pd.DataFrame:
    """Each user's best `k` entries as rows; an item that is there twice counts once, with its higher score.

    Args:
        fill: completes lists that are short, with scores below the user's others.

    Returns:
        `COLUMNS`; see `Recommender`.
    """
    entries = Entries.joined([entries, _fillers(entries, len(user_ids), k, fill)])
    best = np.lexsort((entries.source, -entries.score, entries.item, entries.row))
    first = np.ones(len(best), dtype=bool)
    first[1:] = (np.diff(entries.row[best]) != 0) | (np.diff(entries.item[best]) != 0)
    entries = entries.take(best[first])
    order, rank = ranked(entries.row, entries.item, entries.score, k)
    entries = entries.take(order)
    return pd.DataFrame(
        {
            "user_id": np.asarray(user_ids, dtype=object)[entries.row],
            "rank": rank.astype(np.int32),
            "item_id": coded.item_ids[entries.item],
            "score": entries.score,
            "source": np.asarray(SOURCES, dtype=object)[entries.source],
        }
    )


def _fillers(entries: Entries, users: int, k: int, fill: Popular) -> Entries:
    """The first 2k popular items for each user with fewer than `k` entries: enough, since fewer than k are there."""
    short = np.flatnonzero(np.bincount(entries.row, minlength=users) < k)
    lowest = np.zeros(users)
    np.minimum.at(lowest, entries.row, entries.score)
    items, scores = fill.items[: 2 * k], fill.scores[: 2 * k]
    score = (lowest[short][:, None] - 1 + scores).ravel()
    return Entries.of(np.repeat(short, len(items)), np.tile(items, len(short)), score, "trending")
