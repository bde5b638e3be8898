"""What every model can do, so that a gate can compare them, a registry hold them and a night serve any of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd

from nightshift.features.snapshot import Snapshot
from nightshift.models.coded import Coded

COLUMNS = ["user_id", "rank", "item_id", "score", "source"]
SOURCES = ("repeat", "cooccurrence", "two_tower", "trending")
"""Where an entry of a list can come from; of two that rank it alike, the one named first here is given."""

RECENT_DAYS = 28  # "this month", in `trending` and in the recent popularity baseline


@runtime_checkable
class Recommender(Protocol):
    """A model. Its lists hold sellable items only, none twice, the best first, and are the same for the same input."""

    kind: str

    def recommend(self, snapshot: Snapshot, user_ids: Sequence[str], k: int) -> pd.DataFrame:
        """The best `k` items a user, fewer where fewer can be sold; for a user that is not known, the popular ones.

        Returns:
            `COLUMNS`: users in the order given, `rank` from 1 (int32), `score` (float64, falling with rank) and
            `source` (one of `SOURCES`).
        """
        ...

    def save(self, folder: Path) -> None:
        """Write the model as files that hold no code: JSON, safetensors, text."""
        ...


def popular(coded: Coded, days: int | None = RECENT_DAYS) -> tuple[np.ndarray, np.ndarray]:
    """Every sellable item, the most bought in the last `days` (None: ever) first.

    Returns:
        item positions, and a score in (0, 1) that falls with the rank: ties go to the item bought more often ever, then
        to the one whose id sorts first.
    """
    ever = coded.item_column("events_all")
    events = ever if days is None else coded.item_column(coded.window("events", days))
    where = np.flatnonzero(coded.sellable)
    order = where[np.lexsort((where, -ever[where], -events[where]))]
    return order, 1 - (np.arange(len(order)) + 1) / (len(order) + 1)


def lists_of(
    coded: Coded, user_ids: Sequence[str], rows: np.ndarray, items: np.ndarray, scores: np.ndarray, sources: np.ndarray,
    k: int, fill: tuple[np.ndarray, np.ndarray] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Lists from scored entries: per user the best `k`, each item once, ties to the item whose id sorts first.

    Args:
        rows: which of `user_ids` an entry is for; any order.
        items, scores, sources: position in `coded.items`, score, and position in `SOURCES` of an entry.
        fill: what `popular` returned: completes lists that are short, with scores below the user's others.
    """
    if fill is not None:
        rows, items, scores, sources = _filled(rows, items, scores, sources, len(user_ids), k, fill)
    best = np.lexsort((sources, -scores, items, rows))
    first = np.ones(len(best), dtype=bool)
    first[1:] = (np.diff(rows[best]) != 0) | (np.diff(items[best]) != 0)
    rows, items, scores, sources = (column[best[first]] for column in (rows, items, scores, sources))
    order, rank = ranked(rows, items, scores, k)
    return pd.DataFrame(
        {
            "user_id": np.asarray(user_ids, dtype=object)[rows[order]],
            "rank": rank.astype(np.int32),
            "item_id": coded.item_ids[items[order]],
            "score": scores[order].astype(np.float64),
            "source": np.asarray(SOURCES, dtype=object)[sources[order]],
        }
    )


def ranked(rows: np.ndarray, items: np.ndarray, scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The best `k` entries of each row: which they are, by row and rank, and their ranks from 1."""
    order = np.lexsort((items, -scores, rows))
    sorted_rows = rows[order]
    starts = np.flatnonzero(np.diff(sorted_rows, prepend=-1)) if len(rows) else np.empty(0, dtype=np.int64)
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order))) + 1
    return order[rank <= k], rank[rank <= k]


def _filled(
    rows: np.ndarray, items: np.ndarray, scores: np.ndarray, sources: np.ndarray, users: int, k: int,
    fill: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, ...]:  # fmt: skip
    """The entries and, for users with fewer than `k`, the first 2k of `fill`: enough, as at most k are there already."""
    short = np.flatnonzero(np.bincount(rows, minlength=users) < k)
    fill_items, fill_scores = (column[: 2 * k] for column in fill)
    lowest = np.zeros(users)
    np.minimum.at(lowest, rows, scores)
    return (
        np.concatenate([rows, np.repeat(short, len(fill_items))]),
        np.concatenate([items, np.tile(fill_items, len(short))]),
        np.concatenate([scores, (lowest[short][:, None] + fill_scores[None, :] - 1).ravel()]),
        np.concatenate([sources, np.full(len(short) * len(fill_items), SOURCES.index("trending"))]),
    )
