"""A day of a shop as rows: its baskets' lines, and the rows that come late, as Arrow columns of the company's own."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.events.draws import Ints, Words, draw, state, uniform
from benchmarks.events.shop import ADJECTIVES, COUNTRIES, FAVOURITES, GENERATIONS, LARGEST_BASKET, NOUNS, Choice, Shop

BASKET, LINE, LATE = 11, 12, 13  # what a state is for
LATEST = 3  # days that a row may be late
FIRST_EXTRA = 100  # number of the first line that is no part of the basket as it was rung up
BATCH_ROWS = 250_000

SCHEMA = pa.schema(
    [
        ("user", pa.string()),
        ("item", pa.string()),
        ("time", pa.timestamp("us")),
        ("quantity", pa.int32()),
        ("price", pa.float64()),
        ("basket", pa.string()),
        ("type", pa.string()),
        ("title", pa.string()),
        ("kind", pa.string()),
        ("country", pa.string()),
    ]
)


@dataclass(frozen=True)
class Rows:
    """Rows of one day: their columns, their users' and items' numbers, and the state that each is drawn from."""

    table: pa.Table
    users: Ints
    shelves: Ints
    states: Words


@dataclass(frozen=True)
class Day:
    """One day of a shop. Everything about it is made when asked for, and is the same whoever asks."""

    shop: Shop
    date: dt.date

    def rows(self, batch_rows: int = BATCH_ROWS) -> Iterator[Rows]:
        """The lines of the day's baskets, in batches of about that many."""
        count = self.shop.baskets(self.date)
        step = max(1, int(batch_rows / self.shop.lines_a_basket))
        for first in range(0, count, step):
            baskets = np.arange(first, min(first + step, count))
            lengths = self._lengths(baskets)
            owner = np.repeat(np.arange(len(baskets)), lengths)
            line = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            yield self._rows(baskets, owner, line)

    def late(self, days: int) -> Rows:
        """Lines of the day's baskets that are delivered `days` later."""
        count = round(self.shop.baskets(self.date) * self.shop.lines_a_basket * self.shop.flaws.late / LATEST)
        return self.extra(count, days)

    def extra(self, count: int, kind: int) -> Rows:
        """`count` further lines of some of the day's baskets; another `kind`, other lines."""
        number = np.arange(count)
        found = draw(state(self.shop.seed, LATE, self.date.toordinal(), kind, number), 0)
        baskets = (found % np.uint64(max(1, self.shop.baskets(self.date)))).astype(np.int64)
        return self._rows(baskets, number, FIRST_EXTRA + number * 10 + kind)

    def _lengths(self, baskets: Ints) -> Ints:
        """Lines in a basket: one and a geometric number more."""
        more = np.log1p(-uniform(self._baskets(baskets), 1)) / np.log1p(-1 / self.shop.lines_a_basket)
        return np.asarray(np.minimum(1 + more.astype(np.int64), LARGEST_BASKET))

    def _baskets(self, baskets: Ints) -> Words:
        return state(self.shop.seed, BASKET, self.date.toordinal(), baskets)

    def _rows(self, baskets: Ints, owner: Ints, line: Ints) -> Rows:
        """Line number `line` of the basket at place `owner` of `baskets`, each."""
        shop, bases = self.shop, self._baskets(baskets)
        rank = np.searchsorted(shop.user_popularity, uniform(bases, 0), side="right")
        buyer = shop.user_of_rank[np.minimum(rank, shop.users - 1)]
        states = state(shop.seed, LINE, bases[owner], line)
        shelves = self._shelves_of(buyer, owner, line, states)
        users, generation = buyer[owner], self._generation[shelves]
        seconds = (7 + 7.5 * (uniform(bases, 2) + uniform(bases, 3))) * 3600
        start = np.datetime64(self.date, "us") + (seconds.astype(np.int64) * 1_000_000).astype("timedelta64[us]")
        since = np.minimum(line, 59) * 1_000_000 + line % 1_000_000
        names = _names(shop.items)
        ids = pc.binary_join_element_wise("I", _digits(shelves * GENERATIONS + generation, 9), "")
        columns = {
            "user": _user_ids(shop.users).take(pa.array(users)),
            "item": ids,
            "time": pa.array(start[owner] + since.astype("timedelta64[us]")),
            "quantity": pa.array(self._quantities(states).astype(np.int32)),
            "price": pa.array(np.round(self._price[shelves] * (0.95 + 0.1 * uniform(states, 5)), 2)),
            "basket": _basket_ids(self.date, baskets).take(pa.array(owner)),
            "type": _pick(("purchase", "return"), uniform(states, 6) < shop.returns),
            "title": pc.binary_join_element_wise(
                names["title"].take(pa.array(shelves)), _digits(generation, 2), " NO "
            ),
            "kind": names["kind"].take(pa.array(shelves)),
            "country": _pick(COUNTRIES, shop.country_of_user(buyer)[owner]),
        }
        return Rows(pa.table(columns, schema=SCHEMA), users, shelves, states)

    def _shelves_of(self, buyer: Ints, owner: Ints, line: Ints, states: Words) -> Ints:
        """What each line is of: the user's group, a favourite, what is popular, the complement of the line before."""
        shop, choice = self.shop, self._choice
        groups = shop.group_of_user(buyer, self.date)
        wish, where = uniform(states, 0), uniform(states, 1)
        chosen = choice.of_all(where)
        of_group = wish < shop.taste + shop.favourites
        chosen[of_group] = choice.of_group(groups[owner[of_group]], where[of_group])
        favoured = np.flatnonzero(wish < shop.favourites)
        number = (where[favoured] ** 2 * FAVOURITES).astype(np.int64)
        theirs = shop.favourite_shelf(buyer[owner[favoured]], groups[owner[favoured]], number)
        here = self._generation[theirs] >= 0
        chosen[favoured[here]] = theirs[here]
        return self._with_complements(chosen, line, uniform(states, 2))

    def _with_complements(self, chosen: Ints, line: Ints, wish: npt.NDArray[np.float64]) -> Ints:
        """Every second line may be the complement of the one before it, whose own choice stands."""
        follows = np.flatnonzero((line % 2 == 1) & (line < FIRST_EXTRA) & (wish < 2 * self.shop.complements))
        partner = chosen[follows - 1] ^ 1
        sold = (partner < self.shop.items) & (self._generation[np.minimum(partner, self.shop.items - 1)] >= 0)
        chosen[follows[sold]] = partner[sold]
        return chosen

    def _quantities(self, states: Words) -> Ints:
        more = np.log1p(-uniform(states, 4)) / np.log(0.55)
        return np.asarray(np.minimum(1 + more.astype(np.int64), 24))

    @functools.cached_property
    def _choice(self) -> Choice:
        return self.shop.choice(self.date)

    @functools.cached_property
    def _generation(self) -> Ints:
        return self.shop.generation_of_shelf(self.date)

    @functools.cached_property
    def _price(self) -> npt.NDArray[np.float64]:
        return self.shop.price_of_shelf(self.date)


@functools.lru_cache(maxsize=2)
def _user_ids(count: int) -> pa.Array:
    return pc.binary_join_element_wise("U", _digits(np.arange(count), 8), "")


@functools.lru_cache(maxsize=2)
def _names(items: int) -> dict[str, pa.Array]:
    """Title (without its number) and kind by shelf; six shelves of a kind."""
    numbers = range(items)
    titles = [f"{ADJECTIVES[n * 7 % len(ADJECTIVES)]} {NOUNS[n * 5 % len(NOUNS)]} {n}" for n in numbers]
    kinds = [f"{NOUNS[n // 6 * 5 % len(NOUNS)]}-{n // 6}" for n in numbers]
    return {"title": pa.array(titles), "kind": pa.array(kinds)}


def _basket_ids(day: dt.date, baskets: Ints) -> pa.Array:
    return pc.binary_join_element_wise(f"{day:%Y%m%d}", _digits(baskets, 7), "-")


def _digits(numbers: Ints, width: int) -> pa.Array:
    """Numbers as text of at least that many digits."""
    return pc.utf8_lpad(pc.cast(pa.array(numbers), pa.string()), width=width, padding="0")


def _pick(values: tuple[str, ...], places: npt.NDArray[np.generic]) -> pa.Array:
    return pa.array(values).take(pa.array(places.astype(np.int64)))
