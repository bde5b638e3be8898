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

from nightshift.models.attributes import NUMBERS, Bags
from nightshift.models.baskets import STEPS

USER_BUCKETS = 1024


@dataclass(frozen=True)
class ItemInputs:
    """What the item tower reads, of all items."""

    words: torch.Tensor
    starts: torch.Tensor
    numbers: torch.Tensor

    @classmethod
    def of(cls, words: Bags, numbers: np.ndarray, device: torch.device) -> ItemInputs:
        return cls(*(torch.from_numpy(part).to(device) for part in (words.words, words.starts, numbers)))


@dataclass(frozen=True)
class UserInputs:
    """What the user tower reads, of some users: see `Baskets.contexts` and `attributes.bags`."""

    items: torch.Tensor
    elapsed: torch.Tensor
    known: torch.Tensor
    words: torch.Tensor
    starts: torch.Tensor

    @classmethod
    def of(cls, context: tuple[np.ndarray, np.ndarray, np.ndarray], words: Bags, device: torch.device) -> UserInputs:
        return cls(*(torch.from_numpy(part).to(device) for part in (*context, words.words, words.starts)))


class Towers(nn.Module):
    """Item tower: id + title words and attributes + numbers. User tower: recent items, weighted, + attributes.

    No user has an embedding of its own: a new user, and a known one's newest event, count at once.
    """

    def __init__(self, items: int, dimension: int, title_buckets: int) -> None:
        super().__init__()
        self.item_id = nn.Embedding(items, dimension)
        self.item_words = nn.EmbeddingBag(title_buckets, dimension, mode="mean")
        self.item_numbers = nn.Linear(len(NUMBERS), dimension)
        self.gate = nn.Linear(dimension, 1)
        self.elapsed = nn.Embedding(STEPS, 1)
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
            self.item_numbers.weight.mul_(0.1)

    def items(self, inputs: ItemInputs) -> torch.Tensor:
        """(items, dimension), not normalised: the longer a vector, the more it says of a user who bought the item."""
        words = self.item_words(inputs.words, inputs.starts)
        return self.item_id.weight + words + self.item_numbers(inputs.numbers)

    def users(self, items: torch.Tensor, inputs: UserInputs) -> torch.Tensor:
        """(users, dimension), L2 normalised. Attention over recent items, by what they are and how long ago."""
        weight = F.embedding(inputs.items, self.gate(items))[..., 0] + self.elapsed(inputs.elapsed)[..., 0]
        weight = torch.softmax(weight.masked_fill(~inputs.known, -1e9), dim=1) * inputs.known
        taste = torch.bmm(weight.unsqueeze(1), F.embedding(inputs.items, items))[:, 0]
        count = (2 * torch.log2(1 + inputs.known.sum(dim=1).float())).long().clamp(max=STEPS - 1)
        last = torch.where(inputs.known[:, 0], inputs.elapsed[:, 0], STEPS - 1)
        about = self.user_words(inputs.words, inputs.starts) + self.count(count) + self.last(last)
        shift = self.narrow(F.gelu(self.widen(torch.cat([taste, about], dim=1))))
        return F.normalize(taste + shift, dim=1)
