"""A snapshot by positions instead of ids: the arrays and sparse matrices that models compute with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import sparse

from nightshift.features.snapshot import Snapshot
from nightshift.models.attributes import title_vectors
from nightshift.models.rows import expand

WORD_BUCKETS = 4096  # of titles
LIKENESS_BUCKETS = 256  # of titles, where each is held against each
SMALL_CATALOGUE = 6000  # items, of which all pairs' likeness is kept: 140 MB at most


@dataclass(frozen=True, eq=False)
class CodedItems:
    """What follows from a snapshot's items and from what is bought together alone."""

    table: pd.DataFrame
    neighbours: pd.DataFrame

    @cached_property
    def ids(self) -> np.ndarray:
        return self.table["item_id"].to_numpy(dtype=object)

    @cached_property
    def index(self) -> pd.Index:
        return pd.Index(self.ids)

    @cached_property
    def sellable(self) -> np.ndarray:
        return self.table["sellable"].to_numpy(dtype=bool)

    @cached_property
    def kind(self) -> np.ndarray:
        """A number for each item's kind; -1 for one without."""
        return pd.factorize(self.table["kind"])[0] if "kind" in self.table else np.full(len(self.table), -1)

    @cached_property
    def cooccurrence(self) -> sparse.csr_array:
        """(items, items): the cosine of an item (row) and its neighbour (column)."""
        rows, columns = (self.index.get_indexer(self.neighbours[name]) for name in ("item_id", "neighbour_id"))
        known = (rows >= 0) & (columns >= 0)
        values = self.neighbours["score"].to_numpy(dtype=np.float64)[known]
        return sparse.csr_array((values, (rows[known], columns[known])), shape=(len(self.index), len(self.index)))

    @cached_property
    def titles(self) -> sparse.csr_array:
        """(items, WORD_BUCKETS): see `attributes.title_vectors`."""
        return title_vectors(self.table, WORD_BUCKETS)

    @cached_property
    def words(self) -> np.ndarray:
        """(items + 1, LIKENESS_BUCKETS) float32, length 1: titles in fewer buckets; the last of no item."""
        words = title_vectors(self.table, LIKENESS_BUCKETS).toarray().astype(np.float32)
        return np.concatenate([words, np.zeros((1, LIKENESS_BUCKETS), dtype=np.float32)])

    @cached_property
    def cosine(self) -> np.ndarray | None:
        """(items + 1, items + 1) float32, of all items' words; None for a catalogue that is too large for it."""
        return self.words @ self.words.T if len(self.words) <= SMALL_CATALOGUE else None


@dataclass(frozen=True)
class Coded:
    """Positions are rows of `snapshot.users` and `snapshot.items`, which are sorted by id, as all its tables are."""

    snapshot: Snapshot

    @cached_property
    def of_items(self) -> CodedItems:
        """Made once for all snapshots that share the tables of items, as blocks of users do."""
        view, shared = self.snapshot, self.snapshot.shared
        found = shared.get("coded")
        if found is None or found.table is not view.items or found.neighbours is not view.cooccurrence:
            found = shared["coded"] = CodedItems(view.items, view.cooccurrence)
        return found

    @cached_property
    def users(self) -> pd.Index:
        return pd.Index(self.snapshot.users["user_id"].to_numpy(dtype=object))

    @property
    def items(self) -> pd.Index:
        return self.of_items.index

    @property
    def item_ids(self) -> np.ndarray:
        return self.of_items.ids

    @property
    def sellable(self) -> np.ndarray:
        return self.of_items.sellable

    @property
    def cooccurrence(self) -> sparse.csr_array:
        return self.of_items.cooccurrence

    @property
    def titles(self) -> sparse.csr_array:
        return self.of_items.titles

    def item_column(self, name: str) -> np.ndarray:
        """A numeric item feature, float64; what is missing counts as 0."""
        return np.nan_to_num(self.snapshot.items[name].to_numpy(dtype=np.float64, na_value=np.nan))

    def window(self, name: str, days: int) -> str:
        """The item column `<name>_<n>d` whose window is the nearest to `days`; without any, `<name>_all`."""
        found = [re.fullmatch(rf"{name}_(\d+)d", column) for column in self.snapshot.items.columns]
        windows = sorted((abs(int(match[1]) - days), int(match[1])) for match in found if match)
        return f"{name}_{windows[0][1]}d" if windows else f"{name}_all"

    @cached_property
    def pair_item(self) -> np.ndarray:
        """Item position of each of `snapshot.pairs`."""
        return self._known("pairs", "item_id", self.items)

    @cached_property
    def pair_start(self) -> np.ndarray:
        """(users + 1): where each user's pairs begin."""
        return np.searchsorted(self._known("pairs", "user_id", self.users), np.arange(len(self.users) + 1))

    @cached_property
    def sequences(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Recent items of all users, end to end: where each user's begin (users + 1), item positions, days ago."""
        table = self.snapshot.sequences
        lengths = np.zeros(len(self.users) + 1, dtype=np.int64)
        lengths[1 + self._known("sequences", "user_id", self.users)] = table["items"].str.len()
        items = self.items.get_indexer(_joined(table["items"], object))
        return np.cumsum(lengths), items, _joined(table["days_ago"], np.int64)

    def of_users(self, users: np.ndarray) -> Snapshot:
        """The snapshot as if there were none but the users at these positions, sorted; what is of items stays whole.

        How soon items are bought again follows from all pairs: `gaps` are to be there, see `Snapshot`.
        """
        view, (_, pairs) = self.snapshot, expand(self.pair_start, users)
        listed = self._sequence_at[users]
        return replace(
            view,
            users=view.users.iloc[users].reset_index(drop=True),
            pairs=view.pairs.iloc[pairs].reset_index(drop=True),
            sequences=view.sequences.iloc[listed[listed >= 0]].reset_index(drop=True),
        )

    @cached_property
    def _sequence_at(self) -> np.ndarray:
        """Row of each user in `snapshot.sequences`; -1: none."""
        return pd.Index(self.snapshot.sequences["user_id"]).get_indexer(self.users)

    def user_positions(self, user_ids: Sequence[str]) -> np.ndarray:
        """Position of each user, -1 for one that is not known."""
        return self.users.get_indexer(np.asarray(user_ids, dtype=object))

    def recent(self, users: np.ndarray, length: int, half_life: float) -> sparse.csr_array:
        """(users, items): the last `length` items of each, weighted by 2^(-days ago / half life); of -1, nothing."""
        rows, places = expand(self.sequences[0], users, length)
        items, days = self.sequences[1][places], self.sequences[2][places]
        known = items >= 0
        weights = np.exp2(-days[known] / half_life)
        return sparse.csr_array((weights, (rows[known], items[known])), shape=(len(users), len(self.items)))

    def _known(self, table: str, column: str, ids: pd.Index) -> np.ndarray:
        values = getattr(self.snapshot, table)[column]
        found = ids.get_indexer(values)
        if (found < 0).any():
            stranger = values.iloc[int((found < 0).argmax())]
            raise ValueError(f"{table} as of {self.snapshot.as_of} names {column} {stranger!r}, which has no features")
        return found


def _joined(lists: pd.Series, dtype: type) -> np.ndarray:
    return np.concatenate([np.asarray(entry, dtype=dtype) for entry in lists] or [np.empty(0, dtype=dtype)])
