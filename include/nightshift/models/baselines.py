"""What a shop would do without a model. They learn nothing, so a folder of them is one small JSON file.

A model is worth its cost only where it beats these on the same users; a first night without such a model serves the
best of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from nightshift.features.snapshot import Snapshot
from nightshift.models.coded import Coded
from nightshift.models.recommender import NOTHING, RECENT_DAYS, Entries, ModelFileError, Popular, lists_of, popular
from nightshift.models.rows import expand, top_of_rows

FILE = "baseline.json"


class _Saved:
    """Kind and parameters as JSON."""

    kind: ClassVar[str]
    as_of: ClassVar[None] = None

    def save(self, folder: Path) -> None:
        """Write `baseline.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        value = {"kind": self.kind, "parameters": asdict(self)}  # type: ignore[call-overload]
        (folder / FILE).write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Popularity(_Saved):
    """The items bought most often in the last `days` (None: ever), the same for everybody."""

    kind: ClassVar[str] = "popularity"
    days: int | None = None

    def recommend(self, snapshot: Snapshot, user_ids: Sequence[str], k: int) -> pd.DataFrame:
        """See `Recommender`."""
        coded = Coded(snapshot)
        return lists_of(coded, user_ids, NOTHING, k, popular(coded, self.days))


@dataclass(frozen=True)
class RecentPopularity(Popularity):
    """The items bought most often lately."""

    kind: ClassVar[str] = "recent_popularity"
    days: int | None = RECENT_DAYS


@dataclass(frozen=True)
class Repeat(_Saved):
    """What the user has bought most often, of equals what is popular of late first; then what is popular."""

    kind: ClassVar[str] = "repeat"

    def recommend(self, snapshot: Snapshot, user_ids: Sequence[str], k: int) -> pd.DataFrame:
        """See `Recommender`."""
        coded = Coded(snapshot)
        late = popular(coded)
        own = Entries.of(*bought(coded, coded.user_positions(user_ids), late), "repeat")
        return lists_of(coded, user_ids, own, k, late)


@dataclass(frozen=True)
class ItemItem(_Saved):
    """What is bought together with the user's recent items (cosine over baskets); then what is popular.

    Sarwar et al. (2001), Item-based collaborative filtering recommendation algorithms, doi 10.1145/371920.372071.
    """

    kind: ClassVar[str] = "item_item"
    length: int = 50
    half_life_days: float = 90.0

    def recommend(self, snapshot: Snapshot, user_ids: Sequence[str], k: int) -> pd.DataFrame:
        """See `Recommender`."""
        coded = Coded(snapshot)
        recent = coded.recent(coded.user_positions(user_ids), self.length, self.half_life_days)
        row, item, score, _ = top_of_rows(recent @ coded.cooccurrence, k, coded.sellable)
        return lists_of(coded, user_ids, Entries.of(row, item, score, "cooccurrence"), k, popular(coded))


BASELINES: tuple[type[Popularity | Repeat | ItemItem], ...] = (Popularity, RecentPopularity, Repeat, ItemItem)


def bought(coded: Coded, users: np.ndarray, late: Popular) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What each user has bought and can buy: row in `users`, item position, score.

    The score is affinity (purchases less cancellations), and of equal affinities what is more popular of late has the
    higher: that foretells more than when the user bought it (docs/quality.md). What popularity adds is less than the
    least step between two affinities of the user, and than 1, so that it decides between equal ones alone.
    """
    pairs = coded.snapshot.pairs
    rows, places = expand(coded.pair_start, users)
    keep = coded.sellable[coded.pair_item[places]]
    rows, places = rows[keep], places[keep]
    affinity = pairs["affinity"].to_numpy(dtype=np.float64)[places]
    item = coded.pair_item[places]
    order = np.lexsort((affinity, rows))
    step = np.diff(affinity[order])
    apart = (np.diff(rows[order]) == 0) & (step > 0)
    least = np.ones(len(users))
    np.minimum.at(least, rows[order][1:][apart], step[apart])
    return rows, item, affinity + least[rows] * late.by_item(len(coded.items))[item]


def load_baseline(folder: Path) -> Popularity | Repeat | ItemItem:
    """Read what `save` wrote.

    Raises:
        FileNotFoundError: there is no `baseline.json` in `folder`.
        ModelFileError: it names a kind that does not exist.
    """
    value = json.loads((folder / FILE).read_text(encoding="utf-8"))
    kinds = {baseline.kind: baseline for baseline in BASELINES}
    if value["kind"] not in kinds:
        raise ModelFileError(f"{folder / FILE}: kind {value['kind']!r} is none of {', '.join(kinds)}")
    return kinds[value["kind"]](**value["parameters"])
