"""The two-tower model: vectors for items and users, kept as safetensors, with a JSON that says what made it."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from nightshift.models.attributes import bags
from nightshift.models.baskets import steps
from nightshift.models.batches import faded
from nightshift.models.coded import Coded
from nightshift.models.nearest import BLOCK, VectorModel
from nightshift.models.recommender import ModelFileError
from nightshift.models.rows import expand
from nightshift.models.towers import USER_BUCKETS, Towers, UserInputs
from nightshift.models.weights import read_weights


@dataclass(frozen=True)
class TwoTower(VectorModel):
    """A fitted model.

    Attributes:
        item_ids: the vocabulary, sorted; row r of every item matrix is item_ids[r].
        towers: the networks.
        raw_items: (items, dimension) what the item tower gave when it was fitted, before normalisation.
        about: what made it, as in model.json.
    """

    item_ids: np.ndarray
    towers: Towers
    raw_items: torch.Tensor
    about: dict[str, Any]

    kind = "two_tower"

    @property
    def device(self) -> torch.device:
        return self.raw_items.device

    def item_vectors(self) -> tuple[np.ndarray, np.ndarray]:
        """Item ids, sorted, and their vectors: float32 (items, dimension), L2 normalised."""
        return self.item_ids, F.normalize(self.raw_items, dim=1).cpu().numpy()

    def vectors_at(self, coded: Coded, users: np.ndarray, places: np.ndarray) -> np.ndarray:
        """`user_vectors` of the users at these positions (-1: unknown) of a snapshot whose items lie at `places`."""
        towers, raw_items = self._precise
        parts = [np.empty((0, self.raw_items.shape[1]), dtype=np.float32)]
        with torch.inference_mode():
            for begin in range(0, len(users), BLOCK):
                inputs = self._inputs(coded, users[begin : begin + BLOCK], places)
                inputs = replace(inputs, bought_weight=inputs.bought_weight.to(raw_items.dtype))
                parts.append(towers.users(raw_items, inputs).float().cpu().numpy())
        return np.concatenate(parts)

    def save(self, folder: Path) -> None:
        """Write `weights.safetensors` and `model.json`; the same model gives the same bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {f"towers.{name}": value for name, value in self.towers.state_dict().items()}
        weights["raw_items"] = self.raw_items
        save_file({name: value.cpu().contiguous() for name, value in weights.items()}, folder / "weights.safetensors")
        value = {**self.about, "item_ids": self.item_ids.tolist()}
        (folder / "model.json").write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    @cached_property
    def _precise(self) -> tuple[Towers, torch.Tensor]:
        """The towers and `raw_items`; on a CPU in double precision, rounded at the end.

        A product's last bits depend on how many users it is of and on how many threads it is made by: this way they are
        lost, and a user's vector is the same in any block.
        """
        if self.device.type != "cpu":
            return self.towers, self.raw_items
        return copy.deepcopy(self.towers).double(), self.raw_items.double()

    def _inputs(self, coded: Coded, users: np.ndarray, places: np.ndarray) -> UserInputs:
        length = self.about["context_items"]
        starts, items, days = coded.sequences
        rows, at = expand(starts, users, length)
        column = at - starts[users[rows]]
        context = np.zeros((len(users), length), dtype=np.int64)
        elapsed, known = np.zeros_like(context), np.zeros(context.shape, dtype=bool)
        item = np.where(items[at] >= 0, places[items[at]], -1)
        context[rows, column], elapsed[rows, column], known[rows, column] = (
            np.maximum(item, 0),
            steps(days[at] + 1),  # the first basket to foretell is of the day after, as in `Baskets.contexts`
            item >= 0,
        )
        row, at = expand(coded.pair_start, users)
        bought, ago = places[coded.pair_item[at]], coded.snapshot.pairs["days_since_last"].to_numpy(dtype=np.int64)[at]
        there = bought >= 0
        half_life = self.about["history_half_life_days"]
        history = faded(row[there], bought[there], ago[there], len(users), half_life)
        attributes = self.about["user_attributes"]
        about = coded.snapshot.users.reindex(columns=attributes).iloc[np.maximum(users, 0)].astype(object)
        about[users < 0] = None
        return UserInputs.of((context, elapsed, known), history, bags(about, attributes, USER_BUCKETS), self.device)


def load_two_tower(folder: Path, device: torch.device | None = None) -> TwoTower:
    """Read what `save` wrote.

    Raises:
        FileNotFoundError: a file is missing.
        ModelFileError: the files do not fit each other or this code.
    """
    about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    if about.get("kind") != TwoTower.kind:
        raise ModelFileError(f"{folder}/model.json: kind is {about.get('kind')!r}, expected {TwoTower.kind!r}")
    item_ids = np.array(about.pop("item_ids"), dtype=object)
    towers = Towers(len(item_ids), about["dimension"], about["title_buckets"])
    expected = {f"towers.{name}": value.shape for name, value in towers.state_dict().items()}
    expected["raw_items"] = torch.Size((len(item_ids), about["dimension"]))
    weights = read_weights(folder / "weights.safetensors")
    found = {name: value.shape for name, value in weights.items()}
    if found != expected:
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        shapes = "; ".join(f"{name}: expected {expected.get(name)}, found {found.get(name)}" for name in wrong)
        raise ModelFileError(f"{folder}: model.json and weights.safetensors do not fit: {shapes}")
    raw_items = weights.pop("raw_items").to(device or best_device())
    towers.load_state_dict({name.removeprefix("towers."): value for name, value in weights.items()})
    return TwoTower(item_ids, towers.to(raw_items.device).eval(), raw_items, about)


def best_device() -> torch.device:
    """The GPU where there is one; of several processes that `torchrun` has started, each has its own."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
