"""Places kept for the members of a group, so that a list has as many as it must."""

from __future__ import annotations

import numpy as np

from nightshift.ranking.rerank.greedy import Slate, fill
from nightshift.ranking.rerank.rules import MOST_FILLERS, Group, Rules


def lacking(chosen: np.ndarray, rules: Rules) -> np.ndarray:
    """Which lists (users, size) have too few members of a group."""
    lacks = np.zeros(len(chosen), dtype=bool)
    for group in rules.groups:
        lacks |= group.member[chosen].sum(axis=1) < group.least
    return lacks


def members(slate: Slate, users: np.ndarray, rules: Rules) -> np.ndarray:
    """What to keep places for: group by group, as many members as are missing and as the caps admit.

    Of a user's candidates the most relevant ones, then what is popular in the group.

    Returns:
        (users, size) positions, the forced ones left out; -1: none.
    """
    sure = _forced(slate, rules.size)
    for group in rules.groups:
        sure = _with_members(sure, slate, users, group, rules)
    place = np.arange(rules.size)
    return np.where(place < slate.forced[:, None], -1, sure)


def keeping(slate: Slate, wanted: np.ndarray, rules: Rules) -> Slate:
    """The slate with a place reserved for each wanted item (users, n; -1: none), candidate or not."""
    extra = packed(np.where(within(wanted, slate.items, rules), -1, wanted))
    items = np.hstack([slate.items, extra])
    relevance = np.hstack([slate.relevance, np.full(extra.shape, -1.0)])  # below every candidate's
    return Slate(items, relevance, slate.forced, within(items, wanted, rules))


def within(items: np.ndarray, others: np.ndarray, rules: Rules) -> np.ndarray:
    """(users, n): which of a user's items (users, n) are among their others (users, m); -1 never is."""
    rows = np.arange(len(items))[:, None]
    there = np.zeros((len(items), len(rules.allowed) + 1), dtype=bool)
    there[rows, others] = True
    there[:, -1] = False
    return there[rows, items]


def packed(items: np.ndarray) -> np.ndarray:
    """The items from the left, without columns that hold none."""
    order = np.argsort(items < 0, axis=1, kind="stable")
    return np.take_along_axis(items, order, axis=1)[:, : int((items >= 0).sum(axis=1).max(initial=0))]


def _with_members(sure: np.ndarray, slate: Slate, users: np.ndarray, group: Group, rules: Rules) -> np.ndarray:
    """What is sure of a place, and the members of a group that are missing behind it."""
    forced = (sure >= 0).sum(axis=1)
    missing = np.maximum(group.least - group.member[sure].sum(axis=1), 0)
    own = np.where(group.member[slate.items] & ~within(slate.items, sure, rules), slate.items, -1)
    popular = np.tile(rules.popular[group.member[rules.popular]][:MOST_FILLERS], (len(users), 1))
    known = within(popular, np.hstack([sure, slate.items]), rules)
    popular = np.where(rules.allowed_to(users, popular) & ~known, popular, -1)
    order = np.broadcast_to(-1.0 - np.arange(popular.shape[1]), popular.shape)
    relevance = np.hstack([np.zeros(sure.shape), slate.relevance, order])
    places = np.minimum(forced + missing, rules.size)
    return fill(Slate(np.hstack([sure, own, popular]), relevance, forced), rules, places=places)


def _forced(slate: Slate, size: int) -> np.ndarray:
    """(users, size): the items that are forced."""
    width = min(size, slate.items.shape[1])
    forced = np.full((len(slate.items), size), -1)
    forced[:, :width] = np.where(np.arange(width) < slate.forced[:, None], slate.items[:, :width], -1)
    return forced
