"""The nightly model: candidates from four sources, scored by the ranker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from nightshift.config import Settings
from nightshift.config.settings import Candidates
from nightshift.features.snapshot import Snapshot
from nightshift.models.coded import Coded
from nightshift.models.recommender import SOURCES, lists_of
from nightshift.models.rows import ranked
from nightshift.models.two_tower import TwoTower, load_two_tower
from nightshift.ranking.candidates import Retriever
from nightshift.ranking.features import assemble
from nightshift.ranking.ranker import Ranker, load_ranker
from nightshift.retrieval.index import ItemIndex, build_index

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

    def recommend(self, snapshot: Snapshot, user_ids: Sequence[str], k: int) -> pd.DataFrame:
        """See `Recommender`. The snapshot may be newer than the model."""
        coded = Coded(snapshot)
        retriever = Retriever(
            coded, self.two_tower, self.index or index_for(self.two_tower, coded, self.settings), self.candidates
        )
        found = [self._block(retriever, positions, begin, k) for begin, positions in _blocks(coded, user_ids)]
        row, item, score, source = (np.concatenate(column) for column in zip(*found, strict=True))
        return lists_of(coded, user_ids, row, item, score, source, k, fill=retriever.popular)

    def save(self, folder: Path) -> None:
        """Write the model as serving: `two_tower/` and `ranker/`; `training.save` adds what was tested."""
        self.two_tower.save(folder / FOLDERS["serving"])
        self.ranker.save(folder / "ranker")

    def _block(self, retriever: Retriever, users: np.ndarray, begin: int, k: int) -> tuple[np.ndarray, ...]:
        known = np.flatnonzero(users >= 0)
        candidates = retriever.candidates(users[known])
        features = assemble(candidates, retriever.coded, users[known])
        row, item = candidates["row"].to_numpy(), candidates["item"].to_numpy()
        score = self.ranker.score(features) if len(features) else np.empty(0)
        best, _ = ranked(row, item, score, k)
        return known[row[best]] + begin, item[best], score[best], brought_by(candidates.iloc[best])


def brought_by(candidates: pd.DataFrame) -> np.ndarray:
    """The source that ranked each candidate best: its place in `SOURCES`."""
    ranks = candidates[[f"{source}_rank" for source in SOURCES]].to_numpy()
    return np.where(np.isnan(ranks), np.inf, ranks).argmin(axis=1)


def index_for(two_tower: TwoTower, coded: Coded, settings: Settings) -> ItemIndex:
    """An index over the items that the model knows and the snapshot can sell."""
    place = two_tower.vocabulary.get_indexer(coded.items)
    items = np.flatnonzero(coded.sellable & (place >= 0))
    return build_index(coded.item_ids[items], two_tower.item_vectors()[1][place[items]], settings)


def load_two_stage(
    folder: Path, settings: Settings, which: Which = "serving", index: ItemIndex | None = None
) -> TwoStage:
    """Read a model that `training.save` wrote: as it serves, or as it was before it had seen its test days.

    Raises:
        FileNotFoundError: a file is missing.
        ModelFileError: files do not fit each other or this code.
    """
    ranker = load_ranker(folder / "ranker", settings.threads)
    candidates = Candidates.model_validate(ranker.about["candidates"])
    return TwoStage(load_two_tower(folder / FOLDERS[which]), ranker, candidates, settings, index)


def _blocks(coded: Coded, user_ids: Sequence[str]) -> Iterator[tuple[int, np.ndarray]]:
    positions = coded.user_positions(user_ids)
    for begin in range(0, max(len(positions), 1), BLOCK):
        yield begin, positions[begin : begin + BLOCK]
