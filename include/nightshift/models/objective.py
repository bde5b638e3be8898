"""The loss that the towers learn by: sampled softmax over the candidates of a step, as a module to be wrapped."""

from __future__ import annotations

import contextlib

import torch
from torch import nn
from torch.nn import functional as F

from nightshift.config.settings import TwoTower
from nightshift.models.batches import Batch
from nightshift.models.towers import ItemInputs, Towers


class Objective(nn.Module):
    """What `torch.compile` and DistributedDataParallel take for the model: from a batch to its loss."""

    def __init__(self, towers: Towers, inputs: ItemInputs, config: TwoTower) -> None:
        super().__init__()
        self.towers, self.inputs, self.config = towers, inputs, config

    def forward(self, batch: Batch) -> torch.Tensor:
        with half_precision(self.config, self.inputs.words.device):
            return loss_of(self.towers, self.inputs, batch, self.config.temperature)


def loss_of(towers: Towers, inputs: ItemInputs, batch: Batch, temperature: float) -> torch.Tensor:
    """Softmax cross-entropy of each target against the candidates that are not in its basket, weighted."""
    items = towers.items(inputs)
    users = towers.users(items, batch.users)
    nearness = users @ F.normalize(F.embedding(batch.candidates, items), dim=1).T
    logits = nearness.float() / temperature - batch.log_chance
    in_basket = torch.zeros_like(logits, dtype=torch.bool)
    in_basket[batch.row, batch.column] = True
    others = torch.logsumexp(logits.masked_fill(in_basket, -1e9), dim=1)
    losses = F.softplus(others[batch.row] - logits[batch.row, batch.column])
    return (losses * batch.weight).sum()


def half_precision(config: TwoTower, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Matrix products in bfloat16, which has the range of float32 and so needs no scaling of the loss."""
    wanted = config.precision == "bfloat16" or (config.precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, torch.bfloat16) if wanted else contextlib.nullcontext()


def compiled(objective: Objective) -> nn.Module:
    """The same, compiled where the settings want it: steps differ in size, so for any size at once."""
    config = objective.config
    wanted = config.compile == "on" or (config.compile == "auto" and objective.inputs.words.device.type == "cuda")
    return torch.compile(objective, dynamic=True) if wanted else objective  # type: ignore[return-value]
