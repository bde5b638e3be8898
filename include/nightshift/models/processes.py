"""The processes that `torchrun` starts for one fit, and what they agree on. Without it there is one, which is alone."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Iterator

import torch
from torch import distributed

PATIENCE = dt.timedelta(hours=6)  # that one waits for the others, which may be fitting a ranker meanwhile


@contextlib.contextmanager
def joined() -> Iterator[int]:
    """Join the others that `torchrun` has started, over NCCL between GPUs and over gloo between CPUs.

    Returns:
        this one's rank: 0 is the first, which alone writes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield 0
        return
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if gpu else "gloo", timeout=PATIENCE)
    try:
        yield distributed.get_rank()
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """This process's number among those that have joined, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def count() -> int:
    """How many have joined."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def on_this_machine() -> int:
    """How many of them share this machine's cores."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if distributed.is_initialized() else 1


def agreed(value: float) -> float:
    """The first process's value, for all."""
    return _exchanged(value, lambda told: distributed.broadcast(told, 0))


def total(value: float) -> float:
    """The sum of all processes' values."""
    return _exchanged(value, distributed.all_reduce)


def _exchanged(value: float, exchange: object) -> float:
    if not distributed.is_initialized():
        return value
    place = torch.device("cuda", torch.cuda.current_device()) if distributed.get_backend() == "nccl" else "cpu"
    told = torch.tensor([value], dtype=torch.float64, device=place)
    exchange(told)  # type: ignore[operator]
    return float(told.item())
