"""Train and test as sparse matrices of the same users and items."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse


@dataclass(frozen=True)
class Split:
    """What may be learnt from, and what is to be foretold: CSR (users, items), float32, all values 1.

    Attributes:
        note: what was done to the files so that they fit each other; empty where they did.
    """

    train: sparse.csr_array
    test: sparse.csr_array
    note: str


def load_split(train: Path, test: Path) -> Split:
    """Read two files that `scipy.sparse.save_npz` wrote. Any value but 0 counts as 1.

    Users and items that one of them lacks are added to it, with nothing in them. Pairs that are in both are taken out
    of test: lists hold only what is not known.

    Raises:
        SystemExit: a file cannot be read, or there is nothing to foretell; says which.
    """
    known, truth = load_matrix(train), load_matrix(test)
    notes = []
    if values := sum(np.count_nonzero(matrix.data != 1) for matrix in (known, truth)):
        notes.append(f"{values} values other than 1 count as 1")
        known.data[:] = truth.data[:] = 1
    if known.shape != truth.shape:
        shapes = [" × ".join(map(str, matrix.shape)) for matrix in (known, truth)]
        notes.append(f"train of {shapes[0]} and test of {shapes[1]} are filled up to each other")
        users, items = np.maximum(known.shape, truth.shape).tolist()
        known.resize(users, items)
        truth.resize(users, items)
    both = known.multiply(truth)
    if both.nnz:
        notes.append(f"{both.nnz} pairs of test are in train, and not foretold")
        truth = sparse.csr_array(truth - both)
        truth.eliminate_zeros()
    if not truth.nnz:
        raise SystemExit(f"{test} has nothing that is not in {train}: there is nothing to foretell")
    return Split(known, truth, "; ".join(notes))


def load_matrix(file: Path) -> sparse.csr_array:
    """Float32, each pair once, without zeros.

    Raises:
        SystemExit: the file cannot be read.
    """
    try:
        found = sparse.csr_array(sparse.load_npz(file)).astype(np.float32)
    except (OSError, ValueError, KeyError) as error:
        raise SystemExit(f"{file} is not what scipy.sparse.save_npz writes: {error}") from None
    found.sum_duplicates()
    found.eliminate_zeros()
    return found
