"""Fill the lists of a block of users place by place, each with the best candidate that the rules leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nightshift.ranking.rerank.diversity import Score, Worth
from nightshift.ranking.rerank.rules import Limit, Rules


@dataclass(frozen=True)
class Slate:
    """What there is to choose from for each user of a block.

    Attributes:
        items: (users, n) positions; -1: none.
        relevance: (users, n).
        forced: (users) so many candidates, from the left, take the first places whatever their relevance and the caps.
        reserved: (users, n) candidates that get a place, whatever their relevance; the caps have room for them.
    """

    items: np.ndarray
    relevance: np.ndarray
    forced: np.ndarray
    reserved: np.ndarray | None = None

    def of(self, rows: np.ndarray) -> Slate:
        """That of some of the users."""
        reserved = None if self.reserved is None else self.reserved[rows]
        return Slate(self.items[rows], self.relevance[rows], self.forced[rows], reserved)


def fill(slate: Slate, rules: Rules, worth: Worth | None = None, places: np.ndarray | None = None) -> np.ndarray:
    """The lists.

    Args:
        worth: what a candidate adds to a list; None: its relevance.
        places: (users) so many of a list's places are filled; None: all.

    Returns:
        (users, size) positions, -1 behind the end of a list for which there was nothing more.
    """
    worth = worth or Score()
    users, (count, width) = np.arange(len(slate.items)), slate.items.shape
    places = np.full(count, rules.size) if places is None else places
    free = slate.items >= 0
    taken = _Taken.of(slate, rules.limits)
    chosen = np.full((count, rules.size), -1)
    for place in range(int(places.max(initial=0)) if width else 0):
        forced = place < slate.forced
        value = np.where(free & taken.admits(places - place), worth.of(slate.relevance), -np.inf)
        best = np.where(forced, min(place, width - 1), value.argmax(axis=1))
        found = (forced | (value[users, best] > -np.inf)) & (place < places)
        chosen[found, place] = slate.items[users, best][found]
        free[users[found], best[found]] = False
        taken.add(best, found)
        worth.take(best, found)
    return chosen


class _Taken:
    """How many of each candidate's values are in its user's list, and which candidates are sure of a place."""

    def __init__(self, values: list[tuple[np.ndarray, int]], reserved: np.ndarray | None) -> None:
        self.values, self.reserved = values, reserved
        self.counts = [np.zeros(value.shape, dtype=np.int32) for value, _ in values]

    @classmethod
    def of(cls, slate: Slate, limits: list[Limit]) -> _Taken:
        taken = cls([(limit.value[slate.items], limit.most) for limit in limits], None)
        if slate.reserved is None:
            return taken
        order = np.argsort(~slate.reserved, axis=1, kind="stable")
        for at in range(int(slate.reserved.sum(axis=1).max(initial=0))):  # they count before they have their places
            best = order[:, at]
            taken.add(best, slate.reserved[np.arange(len(best)), best])
        taken.reserved = slate.reserved.copy()
        return taken

    def admits(self, places: np.ndarray) -> np.ndarray:
        """(users, n): what may take the next of so many `places` (users) that are left."""
        admitted: np.ndarray | None = None
        for (_, most), count in zip(self.values, self.counts, strict=True):
            admitted = count < most if admitted is None else admitted & (count < most)
        if self.reserved is None:
            return np.array(True) if admitted is None else admitted
        roomy = (self.reserved.sum(axis=1) < places)[:, None]
        return self.reserved | (roomy if admitted is None else admitted & roomy)

    def add(self, best: np.ndarray, found: np.ndarray) -> None:
        """Count candidate `best` of each user, where one was found."""
        users = np.arange(len(best))
        if self.reserved is not None:
            sure = self.reserved[users, best] & found
            self.reserved[users[sure], best[sure]] = False
            found = found & ~sure  # which were counted from the beginning
        for (value, _), count in zip(self.values, self.counts, strict=True):
            taken = np.where(found, value[users, best], -1)
            count += (value == taken[:, None]) & (value >= 0)
