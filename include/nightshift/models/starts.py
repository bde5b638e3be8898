"""What the towers' weights are before the first step: in closed form, or those of a model of days before."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse

from nightshift.models.attributes import Bags
from nightshift.models.baskets import Baskets
from nightshift.models.order import BLOCK
from nightshift.models.spectral import item_factors, share_with_words
from nightshift.models.towers import Towers
from nightshift.models.two_tower import TwoTower


def start_spectral(towers: Towers, baskets: Baskets, until: int, words: Bags, seed: int) -> None:
    """Let ids and words start from who had bought what by the day `until`, in days since 1970."""
    items, dimension = towers.item_id.weight.shape
    factors = item_factors(bought(baskets, items, until), dimension, seed)
    of_id, of_word = share_with_words(factors, words, towers.item_words.num_embeddings)
    with torch.no_grad():
        towers.item_id.weight.copy_(torch.from_numpy(of_id))
        towers.item_words.weight.copy_(torch.from_numpy(of_word))


def bought(baskets: Baskets, items: int, until: int) -> sparse.csr_array:
    """(users, items): 1 where the user had bought the item by a day: how often is for the ranker."""
    parts = [np.empty(0, dtype=np.int64)]
    for begin in range(0, len(baskets), BLOCK):
        which = np.arange(begin, min(begin + BLOCK, len(baskets)))
        which = which[baskets.day[which] <= until]
        row, item = baskets.targets(which)
        parts.append(np.unique(baskets.user[which].astype(np.int64)[row] * items + item))
        baskets.release()
    user, item = np.divmod(np.unique(np.concatenate(parts)), items)
    return sparse.csr_array((np.ones(len(user)), (user, item)), shape=(user.max(initial=0) + 1, items))


def start_from(towers: Towers, item_ids: np.ndarray, old: TwoTower) -> None:
    """Take over every weight; items that the old model did not know start from their words alone."""
    weights = {name: value.cpu() for name, value in old.towers.state_dict().items()}
    place = old.vocabulary.get_indexer(item_ids)
    of_id = weights["item_id.weight"][torch.from_numpy(np.maximum(place, 0))]
    of_id[torch.from_numpy(place < 0)] = 0.0
    towers.load_state_dict({**weights, "item_id.weight": of_id})
