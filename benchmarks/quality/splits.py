"""Other matrices than a published split: what a model's defaults are held against, before anyone looks at a test.

    python -m benchmarks.quality.splits --train gowalla_train.npz --out var/splits

Cuts a matrix (scipy CSR, users × items) into smaller, denser and sparser ones, and hides a share of each user's items;
cuts the shipped sample at a day, to foretell what is new to each of its customers in the thirty days after. Each split
is a folder with train.npz and test.npz, for `python -m benchmarks.quality`. The same file gives the same splits.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
from scipy import sparse

from benchmarks.processes import ROOT
from benchmarks.quality.data import load_matrix
from benchmarks.quality.held_out import hide

SAMPLE = ROOT / "include" / "sample_data"
CUTS = ("2011-03-02", "2011-05-02", "2011-06-10", "2011-07-10", "2011-08-10", "2011-09-10", "2011-10-10")
LAST = "2011-11-09"  # from here on the sample is the test of `benchmarks.stages`
DAYS, SEED = 30, 7

Matrix: TypeAlias = sparse.csr_array
Made: TypeAlias = tuple[str, Matrix, Matrix]
"""A split's name, what may be learnt from, and what is to be foretold."""


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.quality.splits",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--train", type=Path, help="a matrix to cut, .npz; without it, the sample's splits alone")
    parser.add_argument("--out", type=Path, required=True, help="a folder, for a folder a split")
    args = parser.parse_args(argv)
    for name, train, test in [*of_matrix(args), *of_sample()]:
        folder = args.out / name
        folder.mkdir(parents=True, exist_ok=True)
        sparse.save_npz(folder / "train.npz", train)
        sparse.save_npz(folder / "test.npz", test)
        users, items = train.shape
        print(f"{folder}: {users:,} × {items:,}, {train.nnz:,} pairs to learn from, {test.nnz:,} to foretell")


def of_matrix(args: argparse.Namespace) -> Iterator[Made]:
    if args.train is None:
        return
    whole = load_matrix(args.train)
    whole.data[:] = 1
    cuts: dict[str, Callable[[Matrix], Matrix]] = {
        "whole": lambda matrix: matrix,
        "core-15": lambda matrix: core(matrix, 15),
        "core-30": lambda matrix: core(matrix, 30),
        "popular-4000": popular,
        "items-8000": lambda matrix: drawn(matrix.T.tocsr(), 8_000).T.tocsr(),
        "users-3000": lambda matrix: drawn(matrix, 3_000),
        "pairs-40": lambda matrix: thinned(matrix, 0.4),
        "pairs-20": lambda matrix: thinned(matrix, 0.2),
    }
    for name, cut in cuts.items():
        yield name, *hide(filled(cut(whole)), 0.2, SEED)
    yield "whole-tenth", *hide(whole, 0.1, SEED)


def of_sample(folder: Path = SAMPLE) -> Iterator[Made]:
    """Of invoices with a customer, of products by their five digits; no day from `LAST` on is read."""
    wanted = ["StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID"]
    days = [file for file in sorted(folder.glob("*.csv.gz")) if file.name < LAST]
    sold = pd.concat([pd.read_csv(file, usecols=wanted, dtype={"StockCode": str}) for file in days])
    sold = sold[(sold["Quantity"] > 0) & (sold["UnitPrice"] > 0) & sold["CustomerID"].notna()]
    sold = sold[sold["StockCode"].str.match(r"\d{5}")]
    day = sold["InvoiceDate"].str[:10]
    for cut in CUTS:
        end = (dt.date.fromisoformat(cut) + dt.timedelta(DAYS)).isoformat()
        yield f"sample-{cut}", *known_and_new(sold[day < cut], sold[(day >= cut) & (day < end)])
    known, _ = known_and_new(sold, sold)
    yield "sample-hidden", *hide(known, 0.2, SEED)


def known_and_new(before: pd.DataFrame, after: pd.DataFrame) -> tuple[Matrix, Matrix]:
    """What users have before, and what of the items that are known by then is new to them after."""
    users, items = (np.unique(before[column]) for column in ("CustomerID", "StockCode"))

    def pairs(sold: pd.DataFrame) -> Matrix:
        there = sold[sold["CustomerID"].isin(users) & sold["StockCode"].isin(items)]
        row, column = np.searchsorted(users, there["CustomerID"]), np.searchsorted(items, there["StockCode"])
        shape = (len(users), len(items))
        matrix = sparse.coo_array((np.ones(len(there), dtype=np.float32), (row, column)), shape=shape).tocsr()
        matrix.data[:] = 1
        return matrix

    known, bought = pairs(before), pairs(after)
    new = (bought - bought.multiply(known)).tocsr()
    new.eliminate_zeros()
    return known, new


def core(matrix: Matrix, least: int) -> Matrix:
    """The largest part in which each user has at least so many items, and each item so many users."""
    while True:
        users, items = (np.asarray(matrix.sum(axis=axis)).ravel() >= least for axis in (1, 0))
        if users.all() and items.all():
            return matrix
        matrix = matrix[users][:, items]


def popular(matrix: Matrix, items: int = 4_000, least: int = 30) -> Matrix:
    """The most popular items, and the users of at least so many of them."""
    most = np.sort(np.argsort(-np.asarray(matrix.sum(axis=0)).ravel(), kind="stable")[:items])
    matrix = matrix[:, most]
    return matrix[np.asarray(matrix.sum(axis=1)).ravel() >= least]


def drawn(matrix: Matrix, rows: int) -> Matrix:
    """So many rows, by chance."""
    taken = np.random.default_rng(SEED).permutation(matrix.shape[0])[:rows]
    return matrix[np.sort(taken)]


def thinned(matrix: Matrix, share: float) -> Matrix:
    """A share of the pairs, by chance."""
    kept = np.random.default_rng(SEED).random(matrix.nnz) < share
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))[kept]
    return sparse.coo_array((matrix.data[kept], (row, matrix.indices[kept])), shape=matrix.shape).tocsr()


def filled(matrix: Matrix) -> Matrix:
    """Without users and items that have nothing."""
    matrix = matrix[np.diff(matrix.indptr) > 0]
    return matrix[:, np.asarray(matrix.sum(axis=0)).ravel() > 0]


if __name__ == "__main__":
    main()
