"""The two networks: items and users as vectors whose inner product says how well they fit.

Yi et al. (2019), Sampling-bias-corrected neural modeling for large corpus item recommendations,
doi 10.1145/3298689.3346996.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from nightshift.models.attributes import Bags
from nightshift.models.baskets import STEPS
from nightshift.models.dimensions import that_fit

USER_BUCKETS = 1024
FEWEST, MOST_NUMBERS = 32, 2**26
LONG_TERM = 0.3  # of the mean of all purchases, beside that of the recent ones, to begin with


@dataclass(frozen=True)
class ItemInputs:
    """What the item tower reads, of all items.

    Nothing of when and how an item sells: it is read as of one day for baskets of all days, which would then be
    foretold from what came after them.
    """

    words: torch.Tensor
    starts: torch.Tensor
    bought: torch.Tensor  # (items, 1) float: 1 if anybody has bought it by then, else 0

    @classmethod
    def of(cls, words: Bags, bought: np.ndarray, device: torch.device) -> ItemInputs:
        parts = words.words, words.starts, bought.astype(np.float32)[:, None]
        return cls(*(torch.from_numpy(part).to(device) for part in parts))


@dataclass(frozen=True)
class UserInputs:
    """What the user tower reads, of some users: see `Baskets.contexts`, `batches.faded` and `attributes.bags`."""

    items: torch.Tensor
    elapsed: torch.Tensor
    known: torch.Tensor
    bought: torch.Tensor
    bought_weight: torch.Tensor
    bought_starts: torch.Tensor
    words: torch.Tensor
    starts: torch.Tensor

    @classmethod
    def of(
        cls,
        context: tuple[np.ndarray, np.ndarray, np.ndarray],
        bought: tuple[np.ndarray, np.ndarray, np.ndarray],
        words: Bags,
        device: torch.device,
    ) -> UserInputs:
        return cls(*(torch.from_numpy(part).to(device) for part in (*context, *bought, words.words, words.starts)))


def room_for(items: int) -> int:
    """Dimensions that so many items may have: whole steps, as many as 256 MiB hold, but at least 32.

    A fit holds some five times that: weights, their gradients, what Adam remembers of them, and the best so far.
    """
    return max(FEWEST, that_fit(MOST_NUMBERS, items))


class Towers(nn.Module):
    """Item tower: id + title words and attributes. User tower: recent items, weighted, + all + attributes.

    No user has an embedding of its own: a new user, and a known one's newest event, count at once.
    """

    def __init__(self, items: int, dimension: int, title_buckets: int) -> None:
        super().__init__()
        self.item_id = nn.Embedding(items, dimension)
        self.item_words = nn.EmbeddingBag(title_buckets, dimension, mode="mean")
        self.gate = nn.Linear(dimension, 1, bias=False)  # softmax has no use for one: only rounding would move it
        self.elapsed = nn.Embedding(STEPS, 1)
        self.long_term = nn.Parameter(torch.full((dimension,), LONG_TERM))
        self.user_words = nn.EmbeddingBag(USER_BUCKETS, dimension, mode="mean")
        self.count = nn.Embedding(STEPS, dimension)
        self.last = nn.Embedding(STEPS, dimension)
        self.widen, self.narrow = nn.Linear(2 * dimension, 2 * dimension), nn.Linear(2 * dimension, dimension)
        for table in (self.item_id, self.item_words):
            nn.init.normal_(table.weight, std=0.02)
        for table in (self.user_words, self.count, self.last):
            nn.init.normal_(table.weight, std=0.1)
        nn.init.zeros_(self.elapsed.weight)
        with torch.no_grad():  # a user starts as the mean of recent items: a good start for items is one for users
            self.narrow.weight.mul_(0.1)

    def items(self, inputs: ItemInputs) -> torch.Tensor:
        """(items, dimension), not normalised: the longer a vector, the more it says of a user who bought the item.

        An item that nobody has bought is what its attributes say, and its id stays as it is.
        """
        return self.item_id.weight * inputs.bought + self.item_words(inputs.words, inputs.starts)

    def users(self, items: torch.Tensor, inputs: UserInputs) -> torch.Tensor:
        """(users, dimension), L2 normalised. Attention over recent items, by what they are and how long ago.

        Beside it stands the mean of all that the user has bought: tastes older than the recent items.
        """
        gate = (items * self.gate.weight).sum(dim=1, keepdim=True)  # as a product, its last bit depends on alignment
        weight = F.embedding(inputs.items, gate)[..., 0] + self.elapsed(inputs.elapsed)[..., 0]
        weight = torch.softmax(weight.masked_fill(~inputs.known, -1e9), dim=1) * inputs.known
        recent = torch.bmm(weight.unsqueeze(1), F.embedding(inputs.items, items))[:, 0]
        everything = F.embedding_bag(
            inputs.bought, items, inputs.bought_starts, mode="sum", per_sample_weights=inputs.bought_weight
        )
        taste = recent + self.long_term * everything
        count = (2 * torch.log2(1 + inputs.known.sum(dim=1).float())).long().clamp(max=STEPS - 1)
        last = torch.where(inputs.known[:, 0], inputs.elapsed[:, 0], STEPS - 1)
        about = self.user_words(inputs.words, inputs.starts) + self.count(count) + self.last(last)
        shift = self.narrow(F.gelu(self.widen(torch.cat([taste, about], dim=1))))
        return F.normalize(taste + shift, dim=1)
