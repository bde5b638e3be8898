"""The configuration's rules, by item position of a snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import duckdb
import numpy as np
import pandas as pd
import sqlglot

from nightshift.config.settings import AlreadyBought, Cap, Diversity, Exposure, Freshness, Lists
from nightshift.models.coded import Coded
from nightshift.models.recommender import popular
from nightshift.ranking.rerank.repurchase import held_back
from nightshift.runs import StepError

MOST_FILLERS = 2000  # popular items that a short list is completed from


@dataclass(frozen=True)
class Limit:
    """At most so many of a value. `value` numbers each item's, -1 for one without; the last is of no item."""

    value: np.ndarray
    most: int


@dataclass(frozen=True)
class Group:
    """At least so many members, where there are. `member` says it of each item; the last is of no item."""

    member: np.ndarray
    least: int


@dataclass(frozen=True)
class Rules:
    """What the rules mean for the items and users of a snapshot.

    Raises:
        StepError: a group's condition cannot be evaluated over the items.
    """

    coded: Coded
    settings: Lists

    @property
    def size(self) -> int:
        return self.settings.size

    @cached_property
    def allowed(self) -> np.ndarray:
        """Which items may be in a list."""
        return self.coded.sellable & ~np.isin(self.coded.item_ids.astype(str), sorted(self.settings.banned) or [""])

    def allowed_to(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(users, n) bool: which of the items (users, n; -1: none) may be in the list of each user (-1: not known)."""
        allowed = (items >= 0) & self.allowed[items]
        if not len(self.held):
            return allowed
        keys = np.where(users[:, None] < 0, -1, users[:, None] * len(self.coded.items) + items)
        at = np.minimum(np.searchsorted(self.held, keys), len(self.held) - 1)
        return allowed & (self.held[at] != keys)

    @cached_property
    def held(self) -> np.ndarray:
        """Keys `user * items + item`, rising, of what users have and are not to be offered."""
        rule = next((rule for rule in self.settings.of(AlreadyBought) if rule.mode != "keep"), None)
        if rule is None:
            return np.empty(0, dtype=np.int64)
        users = np.repeat(np.arange(len(self.coded.users)), np.diff(self.coded.pair_start))
        keys = users * len(self.coded.items) + self.coded.pair_item
        return keys[held_back(self.coded.snapshot, rule)]

    @cached_property
    def pinned(self) -> np.ndarray:
        """The pinned items that are allowed, in their order."""
        at = self.coded.items.get_indexer(np.array(self.settings.pinned, dtype=object))
        at = at[at >= 0]
        return at[self.allowed[at]]

    @cached_property
    def limits(self) -> list[Limit]:
        return [Limit(self._value(rule.by), rule.most) for rule in self.settings.of(Cap)]

    @cached_property
    def groups(self) -> list[Group]:
        """Those that the allowed items have members of."""
        members = [(self._where(rule.where), rule.least) for rule in self.settings.of(Exposure)]
        groups = [Group(np.append(member, False), min(least, int(member.sum()))) for member, least in members]
        return [group for group in groups if group.least]

    @cached_property
    def boost(self) -> np.ndarray:
        age = self.coded.item_column("days_since_first")
        return sum((rule.boost * (age < rule.days) for rule in self.settings.of(Freshness)), np.zeros(len(age)))

    @cached_property
    def diversity(self) -> Diversity | None:
        """The rule, where there is one that changes something."""
        return next((rule for rule in self.settings.of(Diversity) if rule.weight), None)

    @cached_property
    def kind(self) -> np.ndarray:
        """A number for each item's kind, as in `Limit`."""
        return self._value("kind")

    @property
    def words(self) -> np.ndarray:
        """See `CodedItems`."""
        return self.coded.of_items.words

    @property
    def cosine(self) -> np.ndarray | None:
        """See `CodedItems`."""
        return self.coded.of_items.cosine

    @cached_property
    def popular(self) -> np.ndarray:
        """The allowed items, the most bought of late first."""
        items = popular(self.coded).items
        return items[self.allowed[items]]

    @cached_property
    def fillers(self) -> np.ndarray:
        return self.popular[:MOST_FILLERS]

    def _value(self, attribute: str) -> np.ndarray:
        items = self.coded.snapshot.items
        value = pd.factorize(items[attribute])[0] if attribute in items else np.full(len(items), -1)
        return np.append(value, -1)

    def _where(self, condition: str) -> np.ndarray:
        """Which of the allowed items a condition holds for."""
        items = self.coded.snapshot.items
        query = f"select item_id from items where {sqlglot.transpile(condition, read='spark', write='duckdb')[0]}"
        try:
            with duckdb.connect(config={"threads": 1}) as database:
                database.register("items", items)
                found = database.sql(query).df()["item_id"]
        except duckdb.Error as error:
            raise StepError(
                f"lists.rules: exposure where {condition!r} cannot be evaluated over the items: "
                f"{str(error).splitlines()[0]}. They have {', '.join(items.columns)}"
            ) from error
        member = np.zeros(len(items), dtype=bool)
        member[self.coded.items.get_indexer(found)] = True
        return self.allowed & member
