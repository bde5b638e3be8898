"""Train and test as sparse matrices of the same users and items."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse


@dataclass(frozen=True)
class Split:
    """What may be learnt from, and what is to be foretold: CSR (users, items), float32, all values 1."""

    train: sparse.csr_array
    test: sparse.csr_array


def load_split(train: Path, test: Path) -> Split:
    """Read two files that `scipy.sparse.save_npz` wrote.

    Raises:
        SystemExit: they do not fit each other; says how.
    """
    known, truth = _read(train), _read(test)
    if known.shape != truth.shape:
        raise SystemExit(f"{train} is {known.shape}, {test} is {truth.shape}: the same users and items are needed")
    both = int(known.multiply(truth).nnz)
    if both:
        raise SystemExit(f"{both} pairs are in {train} and in {test} too: what is known cannot be foretold")
    if not truth.nnz:
        raise SystemExit(f"{test} is empty: there is nothing to foretell")
    return Split(known, truth)


def _read(file: Path) -> sparse.csr_array:
    try:
        found = sparse.csr_array(sparse.load_npz(file))
    except (OSError, ValueError, KeyError) as error:
        raise SystemExit(f"{file} is not what scipy.sparse.save_npz writes: {error}") from None
    found.eliminate_zeros()
    row = np.repeat(np.arange(found.shape[0]), np.diff(found.indptr))
    return _binary(row, found.indices, found.shape)


def _binary(row: np.ndarray, column: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    found = sparse.csr_array((np.ones(len(row), dtype=np.float32), (row, column)), shape=shape)
    found.data[:] = 1  # a pair that was there twice
    return found
