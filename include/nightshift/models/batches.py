"""What a step is computed from: its baskets' contexts and targets, and the items that the targets are held against.

The candidates of a step are its own items, and some drawn evenly from the catalogue, so that what few have bought is
held against as well (mixed negatives: Yang et al. 2020, doi 10.1145/3366424.3386195). What the choice favours is taken
back by the log of each candidate's chance to be among them (log-Q: Bengio and Senécal 2008, doi
10.1109/TNN.2007.912312; Yi et al. 2019). What nobody has bought yet is not drawn: it would learn that nobody likes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from nightshift.config.settings import TwoTower
from nightshift.models.attributes import Bags, bags, text_columns
from nightshift.models.order import BLOCK, Order
from nightshift.models.towers import USER_BUCKETS, UserInputs


@dataclass(frozen=True)
class Batch:
    """Baskets to foretell from what came before them: a step, or a part of one."""

    users: UserInputs
    candidates: torch.Tensor  # items, of the whole step
    log_chance: torch.Tensor  # of each candidate to be in a step
    row: torch.Tensor  # of each target: its basket
    column: torch.Tensor  # of each target: its candidate
    weight: torch.Tensor  # of each target; those of a step sum to 1


class BatchMaker:
    """Gathers batches out of the baskets.

    Args:
        order: how likely a basket is to be in a step; that of the fit.
        length: recent items of a context.
    """

    def __init__(
        self, order: Order, users: pd.DataFrame, items: int, config: TwoTower, length: int, device: torch.device
    ) -> None:
        self.baskets, self.device, self.length, self.config = order.baskets, device, length, config
        self.seed = order.seed
        self.words = bags(users, text_columns(users, "user_id"), USER_BUCKETS)
        share = _share(order, items)
        self.log_absent, self.catalogue = np.log1p(-np.minimum(share, 0.999)), np.flatnonzero(share)

    def step(self, number: int, which: np.ndarray, parts: Sequence[int], of: int) -> Iterator[Batch]:
        """A step's baskets, in some of `of` parts. Each basket counts with the root of its size, shared by its items.

        All parts have the step's candidates, so the losses of all parts sum to that of the step as a whole.
        """
        row, item = self.baskets.targets(which)
        drawn = self._drawn(number)
        candidates, place = np.unique(np.concatenate([item, drawn]), return_inverse=True)
        column = place[: len(item)]
        absent = np.exp(len(which) * np.minimum(self.log_absent[candidates], -1e-9)) * (
            1 - len(drawn) / len(self.catalogue)
        )
        weight = (self.baskets.size(which) ** -0.5)[row]
        weight /= weight.sum()
        shared = candidates, np.log1p(-absent).astype(np.float32)
        bounds = np.linspace(0, len(which), of + 1).astype(np.int64)
        for part in parts:
            begin, end = bounds[part], bounds[part + 1]
            own = (row >= begin) & (row < end)
            targets = row[own] - begin, column[own], weight[own].astype(np.float32)
            tensors = (torch.from_numpy(array).to(self.device) for array in (*shared, *targets))
            yield Batch(self.users(which[begin:end]), *tensors)

    def users(self, which: np.ndarray) -> UserInputs:
        """What the user tower reads before the baskets `which`."""
        row, item, days = self.baskets.bought(which)
        return UserInputs.of(
            self.baskets.contexts(which, self.length),
            faded(row, item, days, len(which), self.config.history_half_life_days),
            _rows(self.words, self.baskets.user[which]),
            self.device,
        )

    def _drawn(self, number: int) -> np.ndarray:
        """Items drawn evenly for the step, none twice."""
        count = min(self.config.random_negatives, len(self.catalogue))
        return np.random.default_rng([self.seed, number]).choice(self.catalogue, count, replace=False, shuffle=False)


def faded(
    row: np.ndarray, item: np.ndarray, days: np.ndarray, rows: int, half_life: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What users have bought as weighted bags: an item counts half as much after each half-life, a user's sum to 1.

    Args:
        row, item, days: of each user's items, by user: the user's row, the item, the days since it last was bought.

    Returns:
        items, weights (float32) and where each row's begin.
    """
    weight = np.exp2(-days / half_life)
    sums = np.bincount(row, weight, rows)
    starts = np.searchsorted(row, np.arange(rows))
    return item, (weight / np.maximum(sums, 1e-30)[row]).astype(np.float32), starts


def _share(order: Order, items: int) -> np.ndarray:
    """The chance of each item to be in a basket that is taken."""
    baskets, found, all_chance = order.baskets, np.zeros(items), 0.0
    for begin in range(0, len(baskets), BLOCK):
        block = slice(begin, min(begin + BLOCK, len(baskets)))
        bounds = baskets.start[block.start : block.stop + 1]
        chance = order.chance(block)
        found += np.bincount(baskets.target[bounds[0] : bounds[-1]], np.repeat(chance, np.diff(bounds)), items)
        all_chance += chance.sum()
        baskets.release()
    return found / max(all_chance, 1e-9)


def _rows(words: Bags, which: np.ndarray) -> Bags:
    """The bags of the rows `which`."""
    lengths = words.lengths[which]
    starts = np.cumsum(lengths) - lengths
    within = np.arange(lengths.sum()) - np.repeat(starts, lengths)
    return Bags(words.words[np.repeat(words.starts[which], lengths) + within], starts)
