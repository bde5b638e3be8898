"""The nightly model: candidates from several sources, scored by the ranker."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from nightshift.models.graph_model import load_graph
from nightshift.models.nearest import VectorModel
from nightshift.models.recommender import NOTHING, SOURCES, Entries, ModelFileError, lists_of
from nightshift.models.rows import ranked
from nightshift.models.two_tower import load_two_tower
from nightshift.ranking.calibration import Calibration, load_calibration
from nightshift.ranking.candidates import Retriever
from nightshift.ranking.features import assemble
from nightshift.ranking.ranker import Ranker, load_ranker
from nightshift.retrieval.index import ItemIndex, index_for

BLOCK = 512  # users at a time: memory is bounded by it, not by how many there are

Which = Literal["serving", "holdout"]
FOLDERS: dict[Which, str] = {"serving": ".", "holdout": "holdout"}  # of the embeddings, in a model's

EMBEDDINGS: dict[str, Callable[[Path], VectorModel]] = {"graph_filter": load_graph, "two_tower": load_two_tower}
"""How the models that give vectors are read, by the name of the source that they are."""


@dataclass(frozen=True)
class TwoStage:
    """The models that give vectors, and the ranker over what they and the other sources find.

    Attributes:
        embeddings: by source, as in `EMBEDDINGS`; all have learnt from the same days.
        candidates: how many each source may bring; as when the ranker was fitted.
        indexes: over each embedding's items; None: they are built from the sellable items of the snapshot.
        calibration: what a score means; None: that is not known, and scores say no more than the order.
    """

    embeddings: Mapping[str, VectorModel]
    ranker: Ranker
    candidates: Candidates
    settings: Settings
    indexes: Mapping[str, ItemIndex] | None = None
    calibration: Calibration | None = None

    kind = "two_stage"

    @property
    def as_of(self) -> dt.date:
        """The last day it has learnt from."""
        return max(model.as_of for model in self.embeddings.values())

    def indexed(self, snapshot: Snapshot) -> TwoStage:
        """With indexes over what the snapshot can sell: built once, for whatever it will be asked about it."""
        coded = Coded(snapshot)
        indexes = {source: index_for(model, coded, self.settings) for source, model in self.embeddings.items()}
        return replace(self, indexes=indexes)

    def recommend(self, snapshot: Snapshot, user_ids: Sequence[str], k: int) -> pd.DataFrame:
        """See `Recommender`. The snapshot may be newer than the model."""
        coded = Coded(snapshot)
        retriever = retriever_for(self.embeddings, coded, self.settings, self.candidates, self.indexes)
        users = coded.user_positions(user_ids)
        known = np.flatnonzero(users >= 0)
        blocks = [known[begin : begin + BLOCK] for begin in range(0, len(known), BLOCK)]
        found = [self._best(retriever, users, rows, k) for rows in blocks]
        return lists_of(coded, user_ids, Entries.joined([NOTHING, *found]), k, retriever.popular)

    def save(self, folder: Path) -> None:
        """Write the model as serving: a folder an embedding, and `ranker/`; `training.save` adds what was tested."""
        save_embeddings(self.embeddings, folder / FOLDERS["serving"])
        self.ranker.save(folder / "ranker")
        if self.calibration:
            self.calibration.save(folder / "ranker")

    def _best(self, retriever: Retriever, users: np.ndarray, rows: np.ndarray, k: int) -> Entries:
        """The best `k` candidates of the users at `rows`."""
        candidates = retriever.candidates(users[rows])
        score = self.ranker.score(assemble(candidates, retriever.coded, users[rows]))
        row, item = candidates["row"].to_numpy(), candidates["item"].to_numpy()
        best, _ = ranked(row, item, score, k)
        return Entries(rows[row[best]], item[best], score[best], brought_by(candidates.iloc[best]))


def retriever_for(
    embeddings: Mapping[str, VectorModel],
    coded: Coded,
    settings: Settings,
    counts: Candidates | None = None,
    indexes: Mapping[str, ItemIndex] | None = None,
) -> Retriever:
    """The sources over a snapshot; indexes that are not given are built.

    Co-occurrence starts from as many recent items as the two-tower model was fitted to read, whatever the settings say
    by now: the ranker has learnt from such candidates.
    """
    indexes = indexes or {source: index_for(model, coded, settings) for source, model in embeddings.items()}
    context = embeddings["two_tower"].about["context_items"]
    return Retriever(coded, embeddings, indexes, counts or settings.candidates, context)


def save_embeddings(embeddings: Mapping[str, VectorModel], folder: Path) -> None:
    for source, model in embeddings.items():
        model.save(folder / source)


def load_embeddings(folder: Path, which: Which = "serving") -> dict[str, VectorModel]:
    """The models that give vectors, of a model's folder.

    Raises:
        FileNotFoundError: a file is missing.
        ModelFileError: files do not fit each other or this code.
    """
    return {source: load(folder / FOLDERS[which] / source) for source, load in EMBEDDINGS.items()}


def brought_by(candidates: pd.DataFrame) -> np.ndarray:
    """The source that ranked each candidate best: its place in `SOURCES`."""
    ranks = candidates[[f"{source}_rank" for source in SOURCES]].to_numpy()
    return np.where(np.isnan(ranks), np.inf, ranks).argmin(axis=1)


def load_two_stage(folder: Path, settings: Settings, which: Which = "serving") -> TwoStage:
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
    calibration = load_calibration(folder / "ranker")
    return TwoStage(load_embeddings(folder, which), ranker, candidates, settings, calibration=calibration)
