"""How the values of a column fall into bins: those of a reference window, and any other window's into the same."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

NUMERIC_BINS = 10
NAMED_CATEGORIES = 20
KNOWN_CATEGORIES = 10_000  # more than this, and new and lost ones are not told
ROWS_BY_CATEGORY = 5  # fewer on average, and the values are names: new ones come every day


@dataclass(frozen=True)
class Bins:
    """How one window's values fall into bins; the other window is counted into the same.

    Attributes:
        kind: numeric bins are cut at `edges`, categorical ones named by `categories`.
        edges: numeric: the ascending inner edges; a bin holds its upper edge, the two outer bins are open.
        categories: categorical: the most frequent values, each with a bin; one more bin holds all others.
        counts: rows by bin; the last bin is of missing values.
        known: categorical: rows by value, of all values; None where there were too many, or hardly two alike.
    """

    kind: Literal["numeric", "categorical"]
    edges: tuple[float, ...]
    categories: tuple[str, ...]
    counts: tuple[int, ...]
    known: dict[str, int] | None = None

    @property
    def rows(self) -> int:
        return sum(self.counts)

    @property
    def missing(self) -> int:
        return self.counts[-1]

    @property
    def labels(self) -> tuple[str, ...]:
        """What each bin holds, in words as short as they go; the last is of missing values."""
        if self.kind == "categorical":
            return (*self.categories, "other", "missing")
        return (*_interval_labels(self.edges), "missing")


def fit(values: pd.Series) -> Bins:
    """Bins in which `values` fall about evenly: ten quantile bins of numbers, or a bin for each frequent category.

    A number that alone fills a tenth of the rows gets a bin of its own, so that a constant can move either way.
    """
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        numbers = values.to_numpy(dtype="float64", na_value=np.nan)
        empty = Bins("numeric", _edges(numbers[~np.isnan(numbers)]), (), ())
    else:
        rows = tally(values)
        ranked = sorted(rows, key=lambda name: (-rows[name], name))
        few = len(rows) <= KNOWN_CATEGORIES and len(rows) * ROWS_BY_CATEGORY <= sum(rows.values())
        known = rows if few else None
        empty = Bins("categorical", (), tuple(ranked[:NAMED_CATEGORIES]), (), known)
    return Bins(empty.kind, empty.edges, empty.categories, tuple(count(empty, values).tolist()), empty.known)


def count(bins: Bins, values: pd.Series) -> np.ndarray:
    """Rows of `values` by bin. What is not a number falls, for numeric bins, among the missing."""
    if bins.kind == "numeric":
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype="float64", na_value=np.nan)
        there = numbers[~np.isnan(numbers)]
        counts = np.bincount(np.searchsorted(bins.edges, there, side="left"), minlength=len(bins.edges) + 1)
        return np.append(counts, len(numbers) - len(there))
    rows = tally(values)
    named = [rows.get(name, 0) for name in bins.categories]
    there_rows = sum(rows.values())
    return np.array([*named, there_rows - sum(named), len(values) - there_rows], dtype="int64")


def _edges(numbers: np.ndarray) -> tuple[float, ...]:
    if len(numbers) == 0:
        return ()
    ordered = np.sort(numbers)
    places = -(-len(ordered) * np.arange(1, NUMERIC_BINS) // NUMERIC_BINS) - 1  # whole numbers, so that none is rounded
    quantiles = np.unique(ordered[places])
    heavy = [q for q in quantiles if np.count_nonzero(ordered == q) * NUMERIC_BINS >= len(ordered)]
    below = np.nextafter(heavy, -np.inf)
    edges = np.unique(np.concatenate([quantiles, below]))
    return tuple(float(edge) for edge in edges[np.isfinite(edges)])


def tally(values: pd.Series) -> dict[str, int]:
    """Rows by value as text, missing ones left out, in the order of the text."""
    return {str(name): int(rows) for name, rows in values.dropna().astype(str).value_counts().sort_index().items()}


def _interval_labels(edges: Sequence[float]) -> list[str]:
    if not edges:
        return ["any value"]
    points = [(edge, False) for edge in edges]  # (edge, is it just below the next edge, which has a bin of its own)
    for at, (low, high) in enumerate(itertools.pairwise(edges)):
        if high == np.nextafter(low, np.inf):
            points[at] = (high, True)
    labels = [f"{'<' if points[0][1] else '≤'} {points[0][0]:.4g}"]
    for (low, beside), (high, below) in itertools.pairwise(points):
        labels.append(f"= {high:.4g}" if beside else f"{low:.4g} to {'< ' if below else ''}{high:.4g}")
    return [*labels, f"> {edges[-1]:.4g}"]
