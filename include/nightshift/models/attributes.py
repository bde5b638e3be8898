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
