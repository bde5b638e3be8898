"""What is planted: who likes what, what is bought together, how the catalogue and the seasons turn, and what drifts.

Users and items follow Zipf's law. Each has one of `groups` latent groups; a share of a user's lines is of the group's
items, a share of the user's own favourites, the rest of what is popular. Every second item has a complement that is
bought with it. All of it is a function of the seed, so nothing has to be kept to know the truth later.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
from dataclasses import dataclass, field

import numpy as np

from benchmarks.events.draws import Floats, Ints, Words, draw, state, uniform

FAVOURITES = 6  # of a user
GROWN_AFTER = 730  # days until the catalogue is whole
STOCKED_AT_FIRST = 0.65  # of the catalogue
LIFE_DAYS = (120, 1500)  # of an item, before another takes its place on the shelf
GENERATIONS = 64  # of a shelf, that item ids have room for
WEEK = (1.05, 0.95, 0.95, 1.0, 1.15, 1.25, 0.65)  # from Monday
LARGEST_BASKET = 40
COUNTRIES = ("GB", "DE", "FR", "IE", "ES", "NL", "BE", "CH", "PT", "IT", "NO", "JP")
ADJECTIVES = ("RED", "BLUE", "GREEN", "WHITE", "SMALL", "LARGE", "VINTAGE", "PAPER", "WOODEN", "GLASS")
NOUNS = ("LANTERN", "MUG", "RIBBON", "CANDLE", "FRAME", "BAG", "CLOCK", "BOWL", "CARD", "SIGN", "TOY", "TRAY")

USER, ITEM, FAVOURITE = 1, 2, 3  # what a state is for


@dataclass(frozen=True)
class Drift:
    """What changes on the day `start`; by default nothing ever does."""

    start: dt.date | None = None
    taste: float = 0.5  # share of the users who turn to the next group
    price: float = 1.2  # factor on all prices
    volume: float = 1.5  # factor on the number of baskets


@dataclass(frozen=True)
class Flaws:
    """What is wrong with a company's files: shares of a day's rows."""

    late: float = 0.01  # delivered one to three days after their day
    repeated: float = 0.005  # delivered again, that day or the next
    broken: float = 0.002  # no event can be made of them


@dataclass(frozen=True)
class Shop:
    """One imagined shop.

    Attributes:
        events_a_day: rows that are sound and new, on a mean day.
        users, items: how many there are; items is the size of the grown catalogue.
        zipf_users, zipf_items: exponents of the popularity by rank.
        taste, favourites, complements: shares of the lines that follow them.
    """

    seed: int = 7
    first_day: dt.date = dt.date(2022, 1, 1)
    events_a_day: int = 100_000
    users: int = 200_000
    items: int = 20_000
    groups: int = 20
    zipf_users: float = 0.7
    zipf_items: float = 0.9
    taste: float = 0.5
    favourites: float = 0.2
    complements: float = 0.25
    lines_a_basket: float = 4.0
    returns: float = 0.02
    drift: Drift = field(default_factory=Drift)
    flaws: Flaws = field(default_factory=Flaws)

    # how many

    def baskets(self, day: dt.date) -> int:
        """Baskets of a day, by season and drift; none before the first day."""
        if day < self.first_day:
            return 0
        turn = 2 * math.pi * (day.timetuple().tm_yday - 1) / 365.25
        christmas = 0.5 * math.exp(-(((day.timetuple().tm_yday - 335) / 18) ** 2))
        season = WEEK[day.weekday()] * (0.94 + 0.08 * math.cos(turn) + christmas)
        volume = self.drift.volume if self._drifted(day) else 1.0
        return max(1, round(self.events_a_day / self.lines_a_basket * season * volume))

    # users

    @functools.cached_property
    def user_popularity(self) -> Floats:
        """Cumulative shares of baskets by user rank."""
        return _cumulative(_zipf(self.users, self.zipf_users))

    @functools.cached_property
    def user_of_rank(self) -> Ints:
        """User numbers by popularity, so that a number says nothing of it."""
        return np.argsort(draw(state(self.seed, USER, np.arange(self.users)), 0), kind="stable")

    def group_of_user(self, users: Ints, day: dt.date) -> Ints:
        """The latent group whose items each user prefers on that day."""
        states = state(self.seed, USER, users)
        groups = (draw(states, 1) % np.uint64(self.groups)).astype(np.int64)
        if not self._drifted(day):
            return groups
        turned = uniform(states, 2) < self.drift.taste
        return np.where(turned, (groups + 1) % self.groups, groups)

    def country_of_user(self, users: Ints) -> Ints:
        """A place in `COUNTRIES`; the first is the most frequent."""
        return (uniform(state(self.seed, USER, users), 3) ** 2 * len(COUNTRIES)).astype(np.int64)

    # items: a shelf holds one item at a time

    @functools.cached_property
    def _shelves(self) -> Words:
        return state(self.seed, ITEM, np.arange(self.items))

    @functools.cached_property
    def group_of_shelf(self) -> Ints:
        """A shelf and its complement, the next one, are of one group."""
        pair = state(self.seed, ITEM, np.arange(self.items) // 2)
        return (draw(pair, 1) % np.uint64(self.groups)).astype(np.int64)

    def generation_of_shelf(self, day: dt.date) -> Ints:
        """Which of its items a shelf holds on that day; -1 while it is not there yet."""
        age = (day - self.first_day).days
        shortest, longest = LIFE_DAYS
        life = shortest + uniform(self._shelves, 2) * (longest - shortest)
        phase = uniform(self._shelves, 3) * life
        late = (uniform(self._shelves, 4) - STOCKED_AT_FIRST) / (1 - STOCKED_AT_FIRST) * GROWN_AFTER
        generation = ((age + phase) // life).astype(np.int64) % GENERATIONS
        return np.where(age >= late, generation, -1)

    def price_of_shelf(self, day: dt.date) -> Floats:
        factor = self.drift.price if self._drifted(day) else 1.0
        return np.asarray(np.exp(0.3 + 2.2 * uniform(self._shelves, 5)) * factor)

    @functools.cached_property
    def _by_group(self) -> Ints:
        """Shelves, group by group."""
        return np.argsort(self.group_of_shelf, kind="stable")

    @functools.cached_property
    def _weight_of_shelf(self) -> Floats:
        rank = np.empty(self.items, np.int64)
        rank[np.argsort(draw(self._shelves, 6), kind="stable")] = np.arange(self.items)
        return _zipf(self.items, self.zipf_items)[rank]

    def choice(self, day: dt.date | None) -> Choice:
        """How shelves are chosen on a day; None: among all there ever are."""
        weights = self._weight_of_shelf
        if day is not None:
            weights = np.where(self.generation_of_shelf(day) >= 0, weights, 0.0)
        ends = np.searchsorted(self.group_of_shelf[self._by_group], np.arange(self.groups), side="right")
        return Choice(self._by_group, np.cumsum(weights[self._by_group]), ends)

    @functools.cached_property
    def choice_for_ever(self) -> Choice:
        return self.choice(None)

    def favourite_shelf(self, users: Ints, groups: Ints, number: Ints) -> Ints:
        """The `number`th favourite of each user, of the group that the user prefers."""
        return self.choice_for_ever.of_group(groups, uniform(state(self.seed, FAVOURITE, users, number), 0))

    def _drifted(self, day: dt.date) -> bool:
        return self.drift.start is not None and day >= self.drift.start


@dataclass(frozen=True)
class Choice:
    """Shelves to choose from: in `order`, group by group, with their cumulative weights and where a group ends."""

    order: Ints
    cumulative: Floats
    ends: Ints

    def of_all(self, where: Floats) -> Ints:
        """Shelves at these places in [0, 1) of all weight."""
        return self._at(where * self.cumulative[-1])

    def of_group(self, groups: Ints, where: Floats) -> Ints:
        """The same within each group; of all, where a group has no weight."""
        up_to = np.concatenate([[0.0], self.cumulative])
        edges = up_to[np.concatenate([[0], self.ends])]
        low, high = edges[groups], edges[groups + 1]
        empty = high <= low
        total = self.cumulative[-1]
        return self._at(np.where(empty, where * total, low + where * (high - low)))

    def _at(self, weight: Floats) -> Ints:
        place = np.searchsorted(self.cumulative, weight, side="right")
        return self.order[np.minimum(place, len(self.order) - 1)]


def _zipf(count: int, exponent: float) -> Floats:
    """Weights by rank, a little flat at the head as real shops are: (rank + q) ** -exponent (Mandelbrot)."""
    return np.asarray((np.arange(1, count + 1) + 2.7) ** -exponent)


def _cumulative(weights: Floats) -> Floats:
    cumulative = np.cumsum(weights)
    return np.asarray(cumulative / cumulative[-1])
