"""The steps of a fit: alone or in several processes, from the start or from a checkpoint, to the same end."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from nightshift.config.settings import TwoTower
from nightshift.models import processes
from nightshift.models.batches import BatchMaker
from nightshift.models.checkpoints import Checkpoints, Progress, best_of
from nightshift.models.objective import Objective, compiled
from nightshift.models.order import Order
from nightshift.models.towers import Towers

log = logging.getLogger("nightshift.models")


def learn(
    objective: Objective,
    make: BatchMaker,
    order: Order,
    rate: float,
    checkpoints: Checkpoints | None = None,
    validation: Callable[[Towers], float] | None = None,
) -> Progress:
    """Take the steps of `order`; the weights of the towers are the result.

    With a validation, once an epoch: no more steps after `patience` epochs without a better one, and the weights of the
    best are the result.

    Args:
        rate: that Adam starts with; it falls to 0 over the steps.

    Raises:
        RuntimeError: processes that should go on from the same checkpoint have found different ones.
    """
    towers, config = objective.towers, objective.config
    optimizer = torch.optim.Adam(towers.parameters(), lr=rate, fused=True)
    progress = checkpoints.restore(towers, optimizer) if checkpoints else Progress()
    _same_everywhere(progress.steps)
    model = compiled(objective)
    if processes.count() > 1:
        model = DistributedDataParallel(model)
    for number, which in order.steps(progress.steps):
        if _stopped(progress, config):
            break
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - number / len(order))
        loss = _step(model, make, optimizer, number, which, config.accumulate)
        make.baskets.release()
        progress.steps = number + 1
        progress.curve.append((number, loss))
        if validation and progress.steps in order.ends:
            _validate(progress, towers, validation)
        if checkpoints and checkpoints.due(progress.steps):
            checkpoints.keep(progress, towers, optimizer)
        if progress.steps % 100 == 0 or progress.steps == len(order):
            log.info("two_tower: step %d of %d, loss %.3f", progress.steps, len(order), loss)
    if checkpoints:
        checkpoints.keep(progress, towers, optimizer)
    if progress.best is not None:
        towers.load_state_dict(progress.best)
    return progress


def _step(
    model: nn.Module,
    make: BatchMaker,
    optimizer: torch.optim.Optimizer,
    number: int,
    which: np.ndarray,
    accumulate: int,
) -> float:
    """One step in parts, this process's one after another. Returns the loss of the whole."""
    others = processes.count()
    parts = range(processes.rank(), others * accumulate, others)
    optimizer.zero_grad()
    loss = 0.0
    for part, batch in zip(parts, make.step(number, which, parts, others * accumulate), strict=True):
        last = part + others >= others * accumulate
        wait = isinstance(model, DistributedDataParallel) and not last
        with model.no_sync() if wait else contextlib.nullcontext():  # type: ignore[operator]
            of_part = model(batch)
            (of_part * others).backward()  # the gradients' mean over the processes is taken: this makes it their sum
        loss += of_part.detach().item()
    optimizer.step()
    return processes.total(loss)


def _validate(progress: Progress, towers: Towers, validation: Callable[[Towers], float]) -> None:
    figure = processes.agreed(validation(towers))
    progress.validation.append((progress.steps, figure))
    if best_of(progress.validation) == len(progress.validation) - 1:
        progress.best = {name: value.detach().cpu().clone() for name, value in towers.state_dict().items()}
    log.info("two_tower: step %d, validation %.4f", progress.steps, figure)


def _stopped(progress: Progress, config: TwoTower) -> bool:
    found = progress.validation
    return bool(found) and len(found) - 1 - best_of(found) >= config.patience


def _same_everywhere(steps: int) -> None:
    first = int(processes.agreed(steps))
    if processes.total(steps != first):
        raise RuntimeError(
            f"process {processes.rank()} goes on from step {steps}, the first from step {first}: "
            "all need the same night's folder, on a disk that they share"
        )
