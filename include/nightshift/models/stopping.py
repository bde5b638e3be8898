"""When a first fit has learnt enough: the last days before its cut-off are foretold after each epoch, not learnt."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from nightshift.models.batches import BatchMaker
from nightshift.models.order import Order
from nightshift.models.towers import ItemInputs, Towers

BASKETS = 4096  # that are foretold, at most
FEWEST = 50  # fewer would decide by luck
BLOCK = 128  # baskets at a time: each is held against every item


class Validation:
    """NDCG of the baskets of the days that the fit leaves out, each foretold from all that came before it.

    Args:
        which: the baskets.
        k: places of a list.
    """

    def __init__(self, which: np.ndarray, make: BatchMaker, inputs: ItemInputs, k: int) -> None:
        self.which, self.make, self.inputs, self.k = which, make, inputs, k

    def __call__(self, towers: Towers) -> float:
        """The mean over baskets, in [0, 1]."""
        with torch.no_grad():
            items = towers.items(self.inputs)
            found = [
                self._ndcg(towers, items, part) for part in np.array_split(self.which, -(-len(self.which) // BLOCK))
            ]
        self.make.baskets.release()
        return float(np.concatenate(found).mean())

    def _ndcg(self, towers: Towers, items: torch.Tensor, which: np.ndarray) -> np.ndarray:
        users = towers.users(items, self.make.users(which))
        best = torch.topk(users @ F.normalize(items, dim=1).T, min(self.k, len(items)), dim=1).indices.cpu().numpy()
        row, item = self.make.baskets.targets(which)
        hits = np.isin(np.arange(len(which))[:, None] * len(items) + best, row * len(items) + item)
        discounts = 1 / np.log2(np.arange(best.shape[1]) + 2)
        ideal = np.cumsum(discounts)[np.minimum(self.make.baskets.size(which), best.shape[1]) - 1]
        return hits @ discounts / ideal


def left_out(order: Order, until: int) -> np.ndarray:
    """The baskets after the order's last day and up to `until`, evenly thinned; none where they are too few."""
    days = order.baskets.day
    which = np.flatnonzero((days > order.until) & (days <= until))
    if len(which) < FEWEST:
        return which[:0]
    return which[np.linspace(0, len(which) - 1, min(BASKETS, len(which))).astype(np.int64)]
