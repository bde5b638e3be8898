"""What the towers read of items and users besides ids: hashed words, and numbers on one scale.

Words are hashed (Weinberger et al. 2009, arXiv:0902.2206), so that a title never seen before has a place as well.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

NUMBERS = ("mean_price", "days_since_first", "days_since_last")
"""Item features that the item tower reads, as log(1 + x)."""

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Bags:
    """Hashed words of rows, end to end: row r has words[starts[r] : starts[r + 1]], the last all that remain."""

    words: np.ndarray
    starts: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.starts, append=len(self.words))


def text_columns(frame: pd.DataFrame, key: str) -> list[str]:
    """The attributes of a feature table: its columns of strings, but for the key."""
    return [name for name in frame.columns if name != key and frame[name].dtype == object]


def bags(frame: pd.DataFrame, columns: Iterable[str], buckets: int) -> Bags:
    """Each row's words: those of `title`, and of any other column its whole value."""
    rows: list[list[str]] = [[] for _ in range(len(frame))]
    for column in columns:
        values = frame[column].to_list() if column in frame else [None] * len(frame)
        for row, value in zip(rows, values, strict=True):
            if isinstance(value, str) and value:
                row.extend(_WORD.findall(value.lower()) if column == "title" else [f"{column}={value}"])
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    places: dict[str, int] = {}
    hashed = [places.setdefault(word, zlib.crc32(word.encode()) % buckets) for row in rows for word in row]
    return Bags(np.array(hashed, dtype=np.int64), np.cumsum(lengths) - lengths)


def title_vectors(items: pd.DataFrame, buckets: int) -> sparse.csr_array:
    """(items, buckets): each title's hashed words, rare ones counting more (tf-idf); of length 1, without words 0."""
    found = bags(items, ["title"], buckets)
    rows = np.repeat(np.arange(len(found.lengths)), found.lengths)
    words = sparse.csr_array((np.ones(len(rows)), (rows, found.words)), shape=(len(found.lengths), buckets))
    words.data[:] = 1  # a word that is there twice
    rare = np.log((1 + words.shape[0]) / (1 + np.asarray(words.sum(axis=0))))
    words = sparse.csr_array(words @ sparse.diags_array(rare))
    length = np.sqrt(np.asarray(words.multiply(words).sum(axis=1)))
    return sparse.csr_array(sparse.diags_array(1 / np.maximum(length, 1e-9)) @ words)


@dataclass(frozen=True)
class Scale:
    """Centre and spread of each of `NUMBERS`, taken once where a model is first fitted."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, items: pd.DataFrame) -> Scale:
        logs = _logs(items)
        logs = np.where(np.isfinite(logs).any(axis=0), logs, 0.0)  # a column without a single value
        mean, deviation = np.nanmean(logs, axis=0), np.nanstd(logs, axis=0)
        return cls(tuple(mean.tolist()), tuple(np.where(deviation > 1e-6, deviation, 1.0).tolist()))

    def numbers(self, items: pd.DataFrame) -> np.ndarray:
        """(items, numbers) float32, about -3 to 3; 0 where the feature is missing."""
        scaled = (_logs(items) - np.array(self.mean)) / np.array(self.deviation)
        return np.nan_to_num(scaled).clip(-5, 5).astype(np.float32)


def _logs(items: pd.DataFrame) -> np.ndarray:
    columns = [items[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in NUMBERS]
    return np.log1p(np.stack(columns, axis=1).clip(0))
