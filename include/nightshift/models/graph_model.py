"""The graph filter as a night's model: fitted to who has bought what, and how long ago, as of a snapshot.

A purchase counts half as much after each half-life. A user's vector is a sum over what the snapshot knows of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from scipy import sparse

from nightshift.config import Settings
from nightshift.features.snapshot import Snapshot
from nightshift.models.coded import Coded
from nightshift.models.fitting import NothingToLearnError, reproducible
from nightshift.models.graph_filter import GraphFilter, Shape, fit_filter
from nightshift.models.nearest import VectorModel
from nightshift.models.recommender import ModelFileError
from nightshift.models.rows import expand
from nightshift.models.weights import read_weights
from nightshift.runs import code_version


@dataclass(frozen=True)
class GraphModel(VectorModel):
    """A fitted model.

    Attributes:
        item_ids: the vocabulary, sorted; row r of the filter's matrices is item_ids[r].
        about: what made it, as in model.json.
    """

    item_ids: np.ndarray
    fitted: GraphFilter
    about: dict[str, Any]

    kind = "graph_filter"

    def item_vectors(self) -> tuple[np.ndarray, np.ndarray]:
        """Item ids, sorted, and their vectors: float32 (items, dimension), of any length."""
        return self.item_ids, self.fitted.items.numpy()

    def vectors_at(self, coded: Coded, users: np.ndarray, places: np.ndarray) -> np.ndarray:
        """`user_vectors` of the users at these positions (-1: unknown) of a snapshot whose items lie at `places`."""
        matrix = purchases(coded, users, places, len(self.item_ids), self.about["half_life_days"])
        return self.fitted.users(matrix).numpy()

    def save(self, folder: Path) -> None:
        """Write `weights.safetensors` and `model.json`; the same model gives the same bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {"taste": self.fitted.taste.contiguous(), "items": self.fitted.items.contiguous()}
        save_file(weights, folder / "weights.safetensors")
        value = {**self.about, "item_ids": self.item_ids.tolist()}
        (folder / "model.json").write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def fit_graph(snapshot: Snapshot, settings: Settings) -> GraphModel:
    """Fit to the pairs of users and items of a snapshot. The same snapshot gives the same bytes, with the same threads.

    Raises:
        NothingToLearnError: nobody had bought anything by then.
    """
    coded, config = Coded(snapshot), settings.graph_filter
    if not len(snapshot.pairs):
        raise NothingToLearnError(f"nothing was bought by {snapshot.as_of}, so there is no taste to learn")
    everybody, items = np.arange(len(coded.users)), len(coded.items)
    matrix = purchases(coded, everybody, np.arange(items), items, config.half_life_days)
    shape = Shape(**config.model_dump(exclude={"half_life_days"}))
    with reproducible(settings.seed, settings.threads, torch.device("cpu")):
        fitted = fit_filter(matrix, shape, settings.seed)
    about = {
        "kind": GraphModel.kind,
        "as_of": snapshot.as_of.isoformat(),
        "users": len(everybody),
        "pairs": int(matrix.nnz),
        "half_life_days": config.half_life_days,
        "settings": config.model_dump(mode="json"),
        "seed": settings.seed,
        "made_by": {"code": code_version(), "torch": torch.__version__.split("+")[0]},
    }
    return GraphModel(coded.item_ids, fitted, about)


def purchases(coded: Coded, users: np.ndarray, places: np.ndarray, items: int, half_life: float) -> sparse.csr_array:
    """(users, items): 2^(-days since the last purchase / half life) of the users at these positions; of -1, nothing.

    Args:
        places: where each item of the snapshot lies among the `items`; -1: nowhere.
    """
    rows, at = expand(coded.pair_start, users)
    column = places[coded.pair_item[at]]
    days = coded.snapshot.pairs["days_since_last"].to_numpy(dtype=np.float64)[at]
    known = column >= 0
    weights = np.exp2(-days[known] / half_life).astype(np.float32)
    return sparse.csr_array((weights, (rows[known], column[known])), shape=(len(users), items))


def load_graph(folder: Path) -> GraphModel:
    """Read what `save` wrote.

    Raises:
        FileNotFoundError: a file is missing.
        ModelFileError: the files do not fit each other or this code.
    """
    about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    if about.get("kind") != GraphModel.kind:
        raise ModelFileError(f"{folder}/model.json: kind is {about.get('kind')!r}, expected {GraphModel.kind!r}")
    item_ids = np.array(about.pop("item_ids"), dtype=object)
    weights = read_weights(folder / "weights.safetensors")
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    if set(shapes) != {"taste", "items"} or len(set(shapes.values())) != 1 or shapes["items"][0] != len(item_ids):
        told = f"{len(item_ids)} items in model.json, {shapes} in weights.safetensors"
        raise ModelFileError(f"{folder}: model.json and weights.safetensors do not fit: {told}")
    return GraphModel(item_ids, GraphFilter(weights["taste"], weights["items"]), about)
