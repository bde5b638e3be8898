"""The most that the rules let a list have, where filling it with the best first has come to less.

With one cap the best first is exact. Caps that cross (by kind and by supplier) or several groups can lead it into a
dead end; for the few users of whom that is not ruled out, integer programming (HiGHS, Huangfu and Hall 2018, doi
10.1007/s12532-017-0130-5) finds a best set: the first group's minimum above the second's, these above a full list, and
that above relevance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from nightshift.ranking.rerank.greedy import Slate
from nightshift.ranking.rerank.rules import Group, Limit, Rules


def settled(chosen: np.ndarray, slate: Slate, users: np.ndarray, rules: Rules) -> tuple[np.ndarray, np.ndarray]:
    """The best sets of those whose lists may have less than they could.

    Args:
        chosen: (users, size) the lists, of which a group's minimum or a full length is missing.

    Returns:
        which rows of `chosen` they are, and (rows, size) the items besides the forced ones; -1: none.
    """
    rows, sets = [], []
    for row in range(len(chosen)):
        choice = _choice(row, slate, users, rules)
        if choice.reached(chosen[row][chosen[row] >= 0]) != choice.bounds():
            found = choice.best()
            rows.append(row)
            sets.append(np.pad(found, (0, rules.size - len(found)), constant_values=-1))
    return np.array(rows, dtype=int), np.array(sets, dtype=int).reshape(-1, rules.size)


@dataclass(frozen=True)
class _Choice:
    """One user's: items that are forced, others that are allowed, and how much each of these is preferred."""

    rules: Rules
    forced: np.ndarray
    others: np.ndarray
    preference: np.ndarray

    @property
    def places(self) -> int:
        return self.rules.size - len(self.forced)

    def reached(self, items: np.ndarray) -> list[int]:
        """Members of each group, as far as they are asked for, and the length of a list."""
        return [*(min(group.least, _count(group, items)) for group in self.rules.groups), len(items)]

    def bounds(self) -> list[int]:
        """What `reached` cannot exceed, looking at each figure and each cap alone."""
        found = []
        for group in self.rules.groups:
            members = self.others[group.member[self.others]]
            found.append(min(group.least, _count(group, self.forced) + self._most(members)))
        return [*found, len(self.forced) + self._most(self.others)]

    def best(self) -> np.ndarray:
        """The items to choose besides the forced ones."""
        items, preference = self._distinct()
        n, groups = len(items), self.rules.groups
        member = np.array([group.member[items] for group in groups], dtype=float).reshape(len(groups), n)
        one, none = np.eye(len(groups)), np.zeros((len(groups), n))  # behind the items: how many members are counted
        length, relevance = (np.append(row, np.zeros(len(groups)))[None, :] for row in (np.ones(n), preference))
        rows = [sparse.csr_array(np.vstack([np.hstack([-member, one]), length]))]
        most = [np.array([*(_count(group, self.forced) for group in groups), self.places], dtype=float)]
        for limit in self.rules.limits:
            value, room = limit.value[items], self._room(limit)
            kept = np.flatnonzero(value >= 0)
            shape = (len(room), n + len(groups))
            rows.append(sparse.csr_array((np.ones(len(kept)), (value[kept], kept)), shape=shape))
            most.append(room)
        bounds = Bounds(0, np.append(np.ones(n), [group.least for group in groups]))
        demands = [LinearConstraint(sparse.vstack(rows, format="csr"), ub=np.concatenate(most))]
        for goal in (*np.hstack([none, one]), length[0]):
            reached = goal @ _maximise(goal, bounds, demands)
            demands.append(LinearConstraint(goal[None, :], lb=reached))
        return items[_maximise(relevance[0], bounds, demands)[:n] > 0]

    def _most(self, items: np.ndarray) -> int:
        """At most so many of the items fit, by the cap that admits the fewest of them."""
        fit = [len(items), self.places]
        for limit in self.rules.limits:
            value, room = limit.value[items], self._room(limit)
            counts = np.bincount(value[value >= 0], minlength=len(room))
            fit.append(int((value < 0).sum() + np.minimum(counts, room).sum()))
        return min(fit)

    def _room(self, limit: Limit) -> np.ndarray:
        """(values): how many more the forced items leave room for."""
        value = limit.value[self.forced]
        counts = np.bincount(value[value >= 0], minlength=int(limit.value.max()) + 1)
        return np.maximum(limit.most - counts, 0)

    def _distinct(self) -> tuple[np.ndarray, np.ndarray]:
        """The items that can matter, and their preference: of those that no rule tells apart, the most preferred."""
        columns = [limit.value for limit in self.rules.limits] + [group.member for group in self.rules.groups]
        order = np.argsort(-self.preference, kind="stable")
        told = pd.DataFrame({at: column[self.others[order]] for at, column in enumerate(columns)})
        kept = order[told.groupby(list(told), sort=False).cumcount().to_numpy() < self.places]
        return self.others[kept], self.preference[kept]


def _choice(row: int, slate: Slate, users: np.ndarray, rules: Rules) -> _Choice:
    """What a user's list can be made of: candidates by relevance, then everything else by how popular it is."""
    forced = slate.items[row, : slate.forced[row]]
    others = rules.popular[rules.allowed_to(users[row : row + 1], rules.popular[None, :])[0]]
    others = others[~np.isin(others, forced)]
    preference = np.zeros(len(rules.allowed) + 1)
    preference[others] = 1 - (np.arange(len(others)) + 1) / (len(others) + 1)
    preference[slate.items[row]] = 2 + slate.relevance[row]
    return _Choice(rules, forced, others, preference[others])


def _maximise(goal: np.ndarray, bounds: Bounds, demands: list[LinearConstraint]) -> np.ndarray:
    """The whole numbers within the bounds, and as the demands ask, for which `goal` is greatest."""
    whole = np.ones(len(goal))
    found = milp(-goal, integrality=whole, bounds=bounds, constraints=demands, options={"mip_rel_gap": 0.0})
    if found.x is None:
        raise RuntimeError(f"HiGHS finds no best list among {len(goal)} items: {found.message}")
    return np.round(found.x)


def _count(group: Group, items: np.ndarray) -> int:
    return int(group.member[items].sum())
