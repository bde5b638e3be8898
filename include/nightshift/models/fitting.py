"""Fit a two-tower model, or refresh one with what has happened since.

An epoch takes each basket with a chance that halves every `half_life_days`, so that a night costs the same after years
of events, and old habits fade. A fit from the beginning learns until the last days before its cut-off are foretold no
better, and then from those days as well.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch

from nightshift.config import Settings
from nightshift.features.snapshot import Snapshot
from nightshift.models import processes
from nightshift.models.attributes import bags, text_columns
from nightshift.models.basket_files import write_baskets
from nightshift.models.baskets import Baskets, baskets_of
from nightshift.models.batches import BatchMaker
from nightshift.models.checkpoints import Checkpoints, Curve, Progress, best_of
from nightshift.models.loop import learn
from nightshift.models.objective import Objective
from nightshift.models.order import BLOCK, Order
from nightshift.models.starts import start_from, start_spectral
from nightshift.models.stopping import Validation, left_out
from nightshift.models.towers import ItemInputs, Towers, room_for
from nightshift.models.two_tower import TwoTower, best_device
from nightshift.models.warm_start import SHAPE_NO_WEIGHT, encoding
from nightshift.runs import code_version

Interactions: TypeAlias = pd.DataFrame | Callable[[dt.date], Iterable[pd.DataFrame]]
"""Positive events in memory; or, of a day, what was known by its end: frames of whole users, in order of user id."""


class NothingToLearnError(ValueError):
    """There are no events, or no labels, to learn a model from: too early a day, or too short a history."""


def fit(
    snapshot: Snapshot,
    interactions: Interactions,
    settings: Settings,
    warm_start: TwoTower | None = None,
    folder: Path | None = None,
) -> tuple[TwoTower, Curve]:
    """Learn from the events known by the end of `snapshot.as_of`.

    Args:
        interactions: positive events; later ones are not looked at. See `baskets_of`.
        warm_start: go on from this model with `refresh_epochs`; items new since start from their titles' words.
        folder: for checkpoints, from which a fit that was killed goes on, and for baskets that do not lie in memory.

    Returns:
        the model, and its training loss by step. The same input gives the same bytes on CPU, with the same threads.

    Raises:
        NothingToLearnError: nothing was bought by then.
        ValueError: the warm start has learnt from later days.
    """
    if warm_start and warm_start.as_of > snapshot.as_of:
        raise ValueError(f"the warm start has seen {warm_start.as_of}, the fit may know {snapshot.as_of}")
    with _baskets(snapshot, interactions, folder) as baskets:
        if not len(baskets):
            raise NothingToLearnError(f"nothing was bought by {snapshot.as_of}, so there is no taste to learn")
        return _Fit(snapshot, baskets, settings, folder).model(warm_start)


class _Fit:
    """What the phases of a fit have in common."""

    def __init__(self, snapshot: Snapshot, baskets: Baskets, settings: Settings, folder: Path | None) -> None:
        self.snapshot, self.baskets, self.settings, self.folder = snapshot, baskets, settings, folder
        self.config, self.device = settings.two_tower, best_device()
        self.item_ids = snapshot.items["item_id"].to_numpy(dtype=object)
        self.attributes = text_columns(snapshot.items, "item_id")
        self.words = bags(snapshot.items, self.attributes, self.config.title_buckets)
        self.last = (snapshot.as_of - dt.date(1970, 1, 1)).days
        self.length = min(self.config.context_items, settings.features.sequence_length)

    def model(self, warm_start: TwoTower | None) -> tuple[TwoTower, Curve]:
        config, snapshot = self.config, self.snapshot
        with reproducible(self.settings.seed, self.settings.threads, self.device, config.tf32):
            items = len(self.item_ids)
            dimension = warm_start.about["dimension"] if warm_start else min(config.dimension, room_for(items))
            self.towers = Towers(items, dimension, config.title_buckets)
            self.inputs = self._inputs(self.last)
            if warm_start:
                start_from(self.towers, self.item_ids, warm_start)
                phases = [self._refresh()]
            else:
                phases = self._first()
            with torch.no_grad():
                raw_items = self.towers.eval().items(self.inputs)
        found = phases[0].validation
        about = {
            "kind": TwoTower.kind,
            "as_of": snapshot.as_of.isoformat(),
            "refreshed_from": warm_start.about["as_of"] if warm_start else None,
            "begun": warm_start.about["begun"] if warm_start else snapshot.as_of.isoformat(),
            "refreshes": warm_start.about["refreshes"] + 1 if warm_start else 0,
            "lineage": snapshot.lineage,
            "encoding": encoding(config.title_buckets),
            "baskets": len(self.baskets),
            "validation": found,
            "best_step": found[best_of(found)][0] if found else None,
            "item_attributes": self.attributes,
            "user_attributes": text_columns(snapshot.users, "user_id"),
            "dimension": dimension,
            "title_buckets": config.title_buckets,
            "context_items": self.length,
            "history_half_life_days": config.history_half_life_days,
            "settings": config.model_dump(mode="json"),
            "judged_at": self.settings.evaluation.k,
            "seed": self.settings.seed,
            "processes": processes.count(),
            "made_by": {"code": code_version(), "torch": torch.__version__.split("+")[0]},
        }
        losses = [loss for phase in phases for _, loss in phase.curve]
        return TwoTower(self.item_ids, self.towers, raw_items, about), list(enumerate(losses))

    def _first(self) -> list[Progress]:
        """From the spectral start; what was left out to know when to stop is learnt from at the end."""
        config, until = self.config, self.last - self.config.validation_days
        order = self._order(until, config.epochs)
        which = left_out(order, self.last)
        if not len(which) or not len(order):
            return [self._learn("first", self._order(self.last, config.epochs), config.learning_rate, self.inputs)]
        return [self._learn("first", order, config.learning_rate, self._inputs(until), which), self._refresh()]

    def _refresh(self) -> Progress:
        order = self._order(self.last, self.config.refresh_epochs)
        return self._learn("refresh", order, self.config.learning_rate * self.config.refresh_rate, self.inputs)

    def _order(self, until: int, epochs: int) -> Order:
        size = self.config.batch_baskets * self.config.accumulate * processes.count()
        return Order(self.baskets, until, self.config.half_life_days, size, epochs, self.settings.seed)

    def _inputs(self, until: int) -> ItemInputs:
        """What the item tower reads while nothing is known that happened after a day."""
        bought = bought_by(self.baskets, len(self.item_ids), until)
        return ItemInputs.of(self.words, bought, self.device)

    def _learn(
        self, phase: str, order: Order, rate: float, inputs: ItemInputs, foretold: np.ndarray | None = None
    ) -> Progress:
        config, objective = self.config, Objective(self.towers, inputs, self.config)
        if phase == "first":
            start_spectral(self.towers, self.baskets, order.until, self.words, self.settings.seed)
        self.towers.to(self.device)
        make = BatchMaker(order, self.snapshot.users, len(self.item_ids), config, self.length, self.device)
        checkpoints = None
        if self.folder:
            writes, of = processes.rank() == 0, self._identity(phase, objective, make)
            checkpoints = Checkpoints(self.folder / phase, of, config.checkpoint_steps, writes)
        validation = None
        if foretold is not None:
            validation = Validation(foretold, make, inputs, self.settings.evaluation.k)
        return learn(objective, make, order, rate, checkpoints, validation)

    def _identity(self, phase: str, objective: Objective, make: BatchMaker) -> str:
        """A hash of all that decides how the fit ends: with the same, any checkpoint of one is one of the other."""
        about = {
            "phase": phase,
            "as_of": self.snapshot.as_of.isoformat(),
            "settings": self.config.model_dump(mode="json", exclude=SHAPE_NO_WEIGHT),
            "context_items": self.length,
            "judged_at": self.settings.evaluation.k,
            "seed": self.settings.seed,
            "threads": torch.get_num_threads(),
            "processes": processes.count(),
            "device": self.device.type,
            "made_by": {"code": code_version(), "torch": torch.__version__},
        }
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
        weights = [value.cpu().numpy() for value in objective.towers.state_dict().values()]
        given = [value.cpu().numpy() for value in vars(objective.inputs).values()]
        for array in (*weights, *given, make.words.words, make.words.starts):
            digest.update(array.tobytes())
        for name in Baskets.__dataclass_fields__:
            array = getattr(self.baskets, name)
            for begin in range(0, len(array), BLOCK):
                digest.update(array[begin : begin + BLOCK].tobytes())
                self.baskets.release()
        return digest.hexdigest()


@contextlib.contextmanager
def _baskets(snapshot: Snapshot, interactions: Interactions, folder: Path | None) -> Iterator[Baskets]:
    """The baskets known by then: in memory if the events are, else in files of this process's own."""
    ids = (snapshot.users["user_id"].to_numpy(dtype=object), snapshot.items["item_id"].to_numpy(dtype=object))
    if isinstance(interactions, pd.DataFrame):
        yield baskets_of(interactions, *ids, snapshot.as_of)
        return
    if folder is None:
        raise ValueError("events that do not lie in memory need a folder for the baskets made of them")
    files = folder / f"baskets-{processes.rank()}"
    try:
        yield write_baskets(interactions(snapshot.as_of), *ids, snapshot.as_of, files)
    finally:
        shutil.rmtree(files, ignore_errors=True)


def bought_by(baskets: Baskets, items: int, until: int) -> np.ndarray:
    """(items): whether it is in any basket up to a day, in days since 1970."""
    found = np.zeros(items, dtype=bool)
    for begin in range(0, len(baskets), BLOCK):
        which = np.arange(begin, min(begin + BLOCK, len(baskets)))
        found[baskets.targets(which[baskets.day[which] <= until])[1]] = True
        baskets.release()
    return found


@contextlib.contextmanager
def reproducible(seed: int, threads: int, device: torch.device, tf32: bool = False) -> Iterator[None]:
    """Seeded, and on CPU with deterministic kernels only; what was set before is set again afterwards.

    Args:
        threads: 0: all cores, shared among the processes that work together on this machine.
        tf32: let a GPU round the factors of float32 products to 10 bits.
    """
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    products = torch.get_float32_matmul_precision()
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    torch.set_num_threads(threads or max(len(os.sched_getaffinity(0)) // processes.on_this_machine(), 1))
    torch.use_deterministic_algorithms(device.type == "cpu")
    torch.set_float32_matmul_precision("high" if tf32 and device.type == "cuda" else "highest")
    memory.fill_uninitialized_memory = False  # a debugging aid that costs a tenth of a step
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        torch.set_float32_matmul_precision(products)
        memory.fill_uninitialized_memory = fill
