"""Fit a two-tower model, or refresh one with what has happened since: sampled softmax over the items of a batch.

An epoch takes each basket with a chance that halves every `half_life_days`, so that a night costs the same after years
of events, and old habits fade. The candidates of a batch are its own items; what that favours is taken back by
subtracting the log of each item's chance to be there (log-Q: Bengio and Senécal 2008, doi 10.1109/TNN.2007.912312;
Yi et al. 2019).
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch.nn import functional as F

from nightshift.config import Settings
from nightshift.features.snapshot import Snapshot
from nightshift.models.attributes import Bags, Scale, bags, text_columns
from nightshift.models.baskets import Baskets, baskets_of
from nightshift.models.spectral import item_factors, share_with_words
from nightshift.models.towers import USER_BUCKETS, ItemInputs, Towers, UserInputs
from nightshift.models.two_tower import TwoTower, best_device
from nightshift.runs import code_version

log = logging.getLogger("nightshift.models")

Curve = list[tuple[int, float]]


class NothingToLearnError(ValueError):
    """There are no events, or no labels, to learn a model from: too early a day, or too short a history."""


@dataclass(frozen=True)
class Batch:
    """Baskets to foretell from what came before them."""

    users: UserInputs
    candidates: torch.Tensor  # items
    log_chance: torch.Tensor  # of each candidate to be in a batch
    row: torch.Tensor  # of each target: its basket
    column: torch.Tensor  # of each target: its candidate
    weight: torch.Tensor  # of each target


def fit(
    snapshot: Snapshot, interactions: pd.DataFrame, settings: Settings, warm_start: TwoTower | None = None
) -> tuple[TwoTower, Curve]:
    """Learn from the events known by the end of `snapshot.as_of`.

    Args:
        interactions: positive events; later ones are not looked at. See `baskets_of`.
        warm_start: go on from this model with `refresh_epochs`; items new since start from their titles' words.

    Returns:
        the model, and its training loss by step. The same input gives the same bytes on CPU, with the same threads.

    Raises:
        NothingToLearnError: nothing was bought by then.
    """
    config = settings.two_tower
    device = best_device()
    item_ids = snapshot.items["item_id"].to_numpy(dtype=object)
    baskets = baskets_of(interactions, item_ids, snapshot.as_of)
    if not len(baskets):
        raise NothingToLearnError(f"nothing was bought by {snapshot.as_of}, so there is no taste to learn")
    attributes = text_columns(snapshot.items, "item_id")
    words = bags(snapshot.items, attributes, config.title_buckets)
    with reproducible(settings.seed, settings.threads, device):
        towers = Towers(len(item_ids), config.dimension, config.title_buckets)
        if warm_start is None:
            scale = Scale.of(snapshot.items)
            _start_spectral(towers, baskets, words, settings.seed)
        else:
            scale = warm_start.scale
            _start_from(towers, item_ids, warm_start)
        inputs = ItemInputs.of(words, scale.numbers(snapshot.items), device)
        curve = _train(towers.to(device), inputs, baskets, snapshot, settings, refresh=warm_start is not None)
        with torch.no_grad():
            raw_items = towers.eval().items(inputs)
    about = {
        "kind": TwoTower.kind,
        "as_of": snapshot.as_of.isoformat(),
        "refreshed_from": warm_start.about["as_of"] if warm_start else None,
        "baskets": len(baskets),
        "item_attributes": attributes,
        "user_attributes": text_columns(snapshot.users, "user_id"),
        "scale": {"mean": list(scale.mean), "deviation": list(scale.deviation)},
        "dimension": config.dimension,
        "title_buckets": config.title_buckets,
        "context_items": _context_items(settings),
        "settings": config.model_dump(mode="json"),
        "seed": settings.seed,
        "made_by": {"code": code_version(), "torch": torch.__version__.split("+")[0]},
    }
    return TwoTower(item_ids, towers, raw_items, scale, about), curve


def loss_of(towers: Towers, inputs: ItemInputs, batch: Batch, temperature: float) -> torch.Tensor:
    """Softmax cross-entropy of each target against the candidates that are not in its basket."""
    items = towers.items(inputs)
    users = towers.users(items, batch.users)
    logits = users @ F.normalize(F.embedding(batch.candidates, items), dim=1).T / temperature - batch.log_chance
    in_basket = torch.zeros_like(logits, dtype=torch.bool)
    in_basket[batch.row, batch.column] = True
    others = torch.logsumexp(logits.masked_fill(in_basket, -1e9), dim=1)
    losses = F.softplus(others[batch.row] - logits[batch.row, batch.column])
    return (losses * batch.weight).sum() / batch.weight.sum()


def _train(
    towers: Towers, inputs: ItemInputs, baskets: Baskets, snapshot: Snapshot, settings: Settings, refresh: bool
) -> Curve:
    config = settings.two_tower
    rng = np.random.default_rng(settings.seed)
    chance = np.exp2(-baskets.age(snapshot.as_of) / config.half_life_days)
    orders = [
        _epoch(chance, config.batch_baskets, rng) for _ in range(config.refresh_epochs if refresh else config.epochs)
    ]
    batches = [batch for order in orders for batch in order]
    rate = config.learning_rate * (config.refresh_rate if refresh else 1.0)
    optimizer = torch.optim.Adam(towers.parameters(), lr=rate, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=max(len(batches), 1))
    make = _BatchMaker(baskets, snapshot, chance, settings, inputs.numbers.device)
    curve: Curve = []
    for step, which in enumerate(batches):
        loss = loss_of(towers, inputs, make(which), config.temperature)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        curve.append((step, loss.detach().item()))
        if (step + 1) % 100 == 0 or step + 1 == len(batches):
            log.info(
                "two_tower: as of %s, step %d of %d, loss %.3f", snapshot.as_of, step + 1, len(batches), curve[-1][1]
            )
    return curve


def _epoch(chance: np.ndarray, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Baskets drawn by their chance, in random order, in equal batches of about `size`."""
    drawn = rng.permutation(np.flatnonzero(rng.random(len(chance)) < chance))
    return [np.sort(part) for part in np.array_split(drawn, max(round(len(drawn) / size), 1)) if len(part)]


class _BatchMaker:
    """Gathers batches out of the baskets."""

    def __init__(
        self, baskets: Baskets, snapshot: Snapshot, chance: np.ndarray, settings: Settings, device: torch.device
    ) -> None:
        self.baskets, self.device, self.length = baskets, device, _context_items(settings)
        users = snapshot.users
        self.words = bags(users, text_columns(users, "user_id"), USER_BUCKETS)
        self.user = pd.Index(users["user_id"]).get_indexer(baskets.user_id)
        of_event = np.repeat(chance, baskets.size)
        share = np.bincount(baskets.target, of_event, len(snapshot.items)) / max(chance.sum(), 1e-9)
        self.log_absent = np.log1p(-np.minimum(share, 0.999))

    def __call__(self, which: np.ndarray) -> Batch:
        """Each basket counts with the root of its size, shared by its items."""
        row, item = self.baskets.targets(which)
        candidates, column = np.unique(item, return_inverse=True)
        size = self.baskets.size[which]
        log_chance = np.log(-np.expm1(len(which) * np.minimum(self.log_absent[candidates], -1e-9)))
        users = UserInputs.of(
            self.baskets.contexts(which, self.length), _rows(self.words, self.user[which]), self.device
        )
        arrays = candidates, log_chance.astype(np.float32), row, column, (size**-0.5)[row].astype(np.float32)
        return Batch(users, *(torch.from_numpy(array).to(self.device) for array in arrays))


def _rows(words: Bags, which: np.ndarray) -> Bags:
    """The bags of the rows `which`."""
    lengths = words.lengths[which]
    starts = np.cumsum(lengths) - lengths
    within = np.arange(lengths.sum()) - np.repeat(starts, lengths)
    return Bags(words.words[np.repeat(words.starts[which], lengths) + within], starts)


def _start_spectral(towers: Towers, baskets: Baskets, words: Bags, seed: int) -> None:
    items, dimension = towers.item_id.weight.shape
    user = np.repeat(pd.factorize(baskets.user_id)[0], baskets.size)
    matrix = sparse.csr_array((np.ones(len(user)), (user, baskets.target)), shape=(user.max(initial=0) + 1, items))
    matrix.data[:] = 1.0  # bought or not: how often is for the ranker
    factors = item_factors(matrix, dimension, seed)
    of_id, of_word = share_with_words(factors, words, towers.item_words.num_embeddings)
    with torch.no_grad():
        towers.item_id.weight.copy_(torch.from_numpy(of_id))
        towers.item_words.weight.copy_(torch.from_numpy(of_word))


def _start_from(towers: Towers, item_ids: np.ndarray, old: TwoTower) -> None:
    """Take over every weight; items that the old model did not know start from their words alone."""
    weights = {name: value.cpu() for name, value in old.towers.state_dict().items()}
    place = old.vocabulary.get_indexer(item_ids)
    of_id = weights["item_id.weight"][torch.from_numpy(np.maximum(place, 0))]
    of_id[torch.from_numpy(place < 0)] = 0.0
    towers.load_state_dict({**weights, "item_id.weight": of_id})


def _context_items(settings: Settings) -> int:
    return min(settings.two_tower.context_items, settings.features.sequence_length)


@contextlib.contextmanager
def reproducible(seed: int, threads: int, device: torch.device) -> Iterator[None]:
    """Seeded, and on CPU with deterministic kernels only; what was set before is set again afterwards."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    torch.use_deterministic_algorithms(device.type == "cpu")
    memory.fill_uninitialized_memory = False  # a debugging aid that costs a tenth of a step
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        memory.fill_uninitialized_memory = fill
