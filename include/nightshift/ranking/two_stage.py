"""The nightly model: candidates from four sources, scored by the ranker."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from nightshift.config import Settings
from nightshift.config.settings import Candidates
from nightshift.features.definitions import all_features
from nightshift.features.snapshot import Snapshot
from nightshift.features.versions import changed_since
from nightshift.models.coded import Coded
from nightshift.models.recommender import NOTHING, SOURCES, Entries, ModelFileError, lists_of
from nightshift.models.rows import ranked
from nightshift.models.two_tower import TwoTower, load_two_tower
from nightshift.ranking.candidates import Retriever
from nightshift.ranking.features import assemble
from nightshift.ranking.ranker import Ranker, load_ranker
from nightshift.retrieval.index import ItemIndex, index_for

BLOCK = 512  # users at a time: memory is bounded by it, not by how many there are

Which = Literal["serving", "holdout"]
FOLDERS: dict[Which, str] = {"serving": "two_tower", "holdout": "holdout/two_tower"}


@dataclass(frozen=True)
class TwoStage:
    """A two-tower model and the ranker over its candidates.

    Attributes:
        candidates: how many each source may bring; as when the ranker was fitted.
        index: over the two-tower model's items; None: one is built from the sellable items of the snapshot.
    """

    two_tower: TwoTower
    ranker: Ranker
    candidates: Candidates
    settings: Settings
    index: ItemIndex | None = None

    kind = "two_stage"

    @property
    def as_of(self) -> dt.date:
        """The last day it has learnt from."""
        return self.two_tower.as_of

    def recommend(self, snapshot: Snapshot, user_ids: Sequence[str], k: int) -> pd.DataFrame:
        """See `Recommender`. The snapshot may be newer than the model."""
        coded = Coded(snapshot)
        index = self.index or index_for(self.two_tower, coded, self.settings)
        retriever = Retriever(coded, self.two_tower, index, self.candidates)
        users = coded.user_positions(user_ids)
        known = np.flatnonzero(users >= 0)
        blocks = [known[begin : begin + BLOCK] for begin in range(0, len(known), BLOCK)]
        found = [self._best(retriever, users, rows, k) for rows in blocks]
        return lists_of(coded, user_ids, Entries.joined([NOTHING, *found]), k, retriever.popular)

    def save(self, folder: Path) -> None:
        """Write the model as serving: `two_tower/` and `ranker/`; `training.save` adds what was tested."""
        self.two_tower.save(folder / FOLDERS["serving"])
        self.ranker.save(folder / "ranker")

    def _best(self, retriever: Retriever, users: np.ndarray, rows: np.ndarray, k: int) -> Entries:
        """The best `k` candidates of the users at `rows`."""
        candidates = retriever.candidates(users[rows])
        score = self.ranker.score(assemble(candidates, retriever.coded, users[rows]))
        row, item = candidates["row"].to_numpy(), candidates["item"].to_numpy()
        best, _ = ranked(row, item, score, k)
        return Entries(rows[row[best]], item[best], score[best], brought_by(candidates.iloc[best]))


def brought_by(candidates: pd.DataFrame) -> np.ndarray:
    """The source that ranked each candidate best: its place in `SOURCES`."""
    ranks = candidates[[f"{source}_rank" for source in SOURCES]].to_numpy()
    return np.where(np.isnan(ranks), np.inf, ranks).argmin(axis=1)


def load_two_stage(
    folder: Path, settings: Settings, which: Which = "serving", index: ItemIndex | None = None
) -> TwoStage:
    """Read a model that `training.save` wrote: as it serves, or as it was before it had seen its test days.

    Raises:
        FileNotFoundError: a file is missing.
        ModelFileError: files do not fit each other or this code, or a feature is defined otherwise than it was.
    """
    ranker = load_ranker(folder / "ranker", settings.threads)
    if "definitions" not in ranker.about:
        raise ModelFileError(f"{folder} does not say which definitions of features it has learnt from. Train anew")
    if changed := changed_since(ranker.about["definitions"], all_features(settings)):
        raise ModelFileError(f"{folder} has learnt from other features: {'; '.join(changed)}. Train anew")
    candidates = Candidates.model_validate(ranker.about["candidates"])
    return TwoStage(load_two_tower(folder / FOLDERS[which]), ranker, candidates, settings, index)
