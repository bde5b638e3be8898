"""How good settings are, by what had happened by the test cut-off: the validation of a search.

    ranker cut-off        test cut-off          run date
    ------ T1 ----------------- T0 ---------------- R
    fit vectors | labels: the search | never looked at

Vectors and candidates know nothing after T1; the labels are of (T1, T0]. A hash of a user's id says what the user is
for. Three fifths are to choose by: a ranker is fitted to two thirds of these users and tried on the others, three
times, so that each of them is tried once. Two fifths are to confirm with: the search never sees them, and what it has
chosen is held against what was in force on them alone.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nightshift.config import Settings
from nightshift.evaluation.metrics import by_user
from nightshift.features.snapshot import Snapshot
from nightshift.models.coded import Coded
from nightshift.models.fitting import NothingToLearnError, fit
from nightshift.models.graph_model import fit_graph
from nightshift.models.nearest import VectorModel
from nightshift.models.recommender import Entries, Popular, lists_of
from nightshift.models.rows import ranked
from nightshift.ranking.features import assemble
from nightshift.ranking.ranker import Ranker, fit_ranker
from nightshift.ranking.training import came_true
from nightshift.ranking.two_stage import brought_by, retriever_for
from nightshift.runs import code_version
from nightshift.tuning.space import UselessError, Values, overridden

log = logging.getLogger("nightshift.tuning")

BUCKETS = 70  # of users, by hash
FOLDS = 3
CHOOSING = 42  # the first buckets; the others confirm. 14 a fold: with 13 pairs the pruner's test could take long

Fit = Callable[[Snapshot, pd.DataFrame, Settings], VectorModel]

FITS: dict[str, Fit] = {
    "graph_filter": lambda snapshot, _, settings: fit_graph(snapshot, settings),
    "two_tower": lambda snapshot, interactions, settings: fit(snapshot, interactions, settings)[0],
}
"""How the models that give vectors are fitted, by the name of their source and of their settings' section."""


@dataclass(frozen=True)
class Rows:
    """Candidates of all the users, as of T1, and whether they came true."""

    candidates: pd.DataFrame
    features: pd.DataFrame
    relevant: np.ndarray
    fill: Popular


class Bench:
    """Tries settings on the same users and days.

    Attributes:
        user_ids: that have labels, sorted; of more than `tuning.max_users` those whose hash is the smallest.
        bucket: of each.
    """

    def __init__(
        self, snapshot: Snapshot, interactions: pd.DataFrame, labels: pd.DataFrame, settings: Settings
    ) -> None:
        """Of a snapshot as of T1.

        Args:
            interactions: positive events; those after T1 are not learnt from.
            labels: user_id, item_id that came together in (T1, T0].

        Raises:
            NothingToLearnError: too few users have labels to choose by, or to confirm with.
        """
        hashes = {user: _hash(user) for user in labels["user_id"].unique()}
        chosen = sorted(hashes, key=lambda user: (hashes[user] // BUCKETS, user))[: settings.tuning.max_users]
        self.user_ids = np.array(sorted(chosen), dtype=object)
        self.bucket = np.array([hashes[user] % BUCKETS for user in self.user_ids], dtype=np.int64)
        self.labels = labels[labels["user_id"].isin(set(chosen))].reset_index(drop=True)
        self.snapshot, self.interactions, self.settings = snapshot, interactions, settings
        self.coded = Coded(snapshot)
        self._vectors = {source: _Memory(2) for source in FITS}
        self._rows = _Memory(1)
        least = settings.evaluation.min_users
        for users, what in ((self.choosing, "to choose by"), (~self.choosing, "to confirm with")):
            if users.sum() < least:
                raise NothingToLearnError(
                    f"{users.sum()} users {what} got anything in the days after {snapshot.as_of}, "
                    f"evaluation.min_users asks for {least}: search with a later night"
                )

    @property
    def choosing(self) -> np.ndarray:
        """Whether each user is to choose by."""
        return self.bucket < CHOOSING

    def content(self) -> str:
        """A hash of what is validated on and by which code: of another content, figures are not comparable."""
        digest = hashlib.sha256(code_version().encode())
        known = self.interactions[["user_id", "item_id", "basket_id", "event_time"]]
        for frame in (self.labels, known, self.snapshot.items, self.snapshot.users, self.snapshot.pairs):
            digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
        return digest.hexdigest()

    def tried(self, overrides: Values) -> Iterator[dict[int, np.ndarray]]:
        """The metric of the users to choose by, fold for fold: bucket -> a value a user.

        Raises:
            UselessError: no candidate came true.
        """
        settings = overridden(self.settings, overrides)
        rows, fold = self._candidates(settings), self.bucket // (CHOOSING // FOLDS)
        for number in range(FOLDS):
            ours = fold == number
            if not ours.any():
                continue
            try:
                ranker = self._ranker(rows, self.choosing & ~ours, settings)
            except NothingToLearnError as error:
                raise UselessError(str(error)) from None
            values = self._values(rows, ranker, ours, settings)
            buckets = self.bucket[ours]
            yield {int(bucket): values[buckets == bucket] for bucket in np.unique(buckets)}

    def confirmed(self, overrides: Values) -> np.ndarray:
        """The metric of the users to confirm with, by a ranker fitted to all those to choose by."""
        settings = overridden(self.settings, overrides)
        rows = self._candidates(settings)
        return self._values(rows, self._ranker(rows, self.choosing, settings), ~self.choosing, settings)

    def _candidates(self, settings: Settings) -> Rows:
        vectors = {source: self._fitted(source, settings) for source in FITS}
        key = (settings.candidates, *(getattr(settings, source) for source in FITS))
        return self._rows.get(key, lambda: self._made(vectors, settings))

    def _fitted(self, source: str, settings: Settings) -> VectorModel:
        made = self._vectors[source]
        return made.get(getattr(settings, source), lambda: FITS[source](self.snapshot, self.interactions, settings))

    def _made(self, vectors: dict[str, VectorModel], settings: Settings) -> Rows:
        users = self.coded.users.get_indexer(self.user_ids)
        retriever = retriever_for(vectors, self.coded, settings)
        candidates = retriever.candidates(users)
        relevant = came_true(candidates, self.coded, users, self.labels)
        log.info("search: %d users, %d candidates, %d came true", len(users), len(candidates), relevant.sum())
        return Rows(candidates, assemble(candidates, self.coded, users), relevant, retriever.popular)

    def _ranker(self, rows: Rows, users: np.ndarray, settings: Settings) -> Ranker:
        """Fitted to the candidates of these users, as `train_ranker` does it."""
        row = rows.candidates["row"].to_numpy()
        hits = np.bincount(row, rows.relevant, len(self.user_ids))
        keep = users[row] & (hits[row] > 0)
        groups = np.bincount(row[keep], minlength=len(self.user_ids))
        return fit_ranker(rows.features[keep], rows.relevant[keep].astype(np.int8), groups[groups > 0], settings)

    def _values(self, rows: Rows, ranker: Ranker, users: np.ndarray, settings: Settings) -> np.ndarray:
        """The metric of each of these users, by the lists that `TwoStage` would give."""
        row = rows.candidates["row"].to_numpy()
        which, k = users[row], settings.evaluation.k
        place, ids = (np.cumsum(users) - 1)[row[which]], self.user_ids[users]
        candidates, score = rows.candidates[which], ranker.score(rows.features[which])
        item = candidates["item"].to_numpy()
        best, _ = ranked(place, item, score, k)
        entries = Entries(place[best], item[best], score[best], brought_by(candidates.iloc[best]))
        lists = lists_of(self.coded, ids.tolist(), entries, k, rows.fill)
        truth = self.labels[self.labels["user_id"].isin(set(ids))]
        return by_user(lists, truth, k)[settings.evaluation.metric].to_numpy()


class _Memory:
    """What was made for the last few keys."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.made: dict[Hashable, Any] = {}

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if key not in self.made:
            while len(self.made) >= self.size:
                self.made.pop(next(iter(self.made)))
            self.made[key] = make()
        self.made[key] = self.made.pop(key)  # the last that was asked for is the last to go
        return self.made[key]


def _hash(user: str) -> int:
    return int.from_bytes(hashlib.blake2b(user.encode(), digest_size=8).digest(), "big")
