"""How near exact search comes to the machine's matrix product, and whether an approximate index is worth its building.

    python -m benchmarks.search --vectors 50000 --dimension 256 --out var/figures
    python -m benchmarks.search --train gowalla_train.npz --out var/figures

The limit is the bare product of all users and items, in blocks whose scores stay in the cache and are thrown away. In
turns with it: FAISS's exact search, the project's, which is the same whatever the blocks and threads, and each kind of
approximate index, tuned on some users to `--recall`, as `jobs.build_index` does, and measured with others.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.index import build, in_a_process_of_its_own, taken
from benchmarks.measure import interleaved, median, report, say
from benchmarks.options import parser
from nightshift.retrieval.blas import BLOCK
from nightshift.retrieval.devices import set_threads
from nightshift.retrieval.files import load_index
from nightshift.retrieval.index import tuned
from nightshift.retrieval.recall import NEAREST, Truth

LIMIT, EXACT = "matrix product", "exact search"
TUNED_WITH = 1000  # users, and with as many others it is measured, at most half of all


@dataclass(frozen=True)
class Way:
    """A way to search.

    Attributes:
        search: of the vectors of users, the rows that are found; None of what looks for nothing.
        recall: recall@100 for users that it was not tuned with.
        built: seconds that building it took.
    """

    search: Callable[[np.ndarray], np.ndarray | None]
    recall: float | None = None
    built: float | None = None


@dataclass(frozen=True)
class Took:
    """A search of all users: seconds by the clock, and of processor time."""

    clock: float
    busy: float


def main(argv: list[str] | None = None) -> None:
    args = arguments().parse_args(argv)
    items, users = taken(args, dimension=256)
    rows, found = compared(items, users, args.kinds, args.recall, args.repeats, args.threads)
    report("search", rows, vars(args), args.out, found)


def arguments() -> argparse.ArgumentParser:
    result = parser("search", __doc__)
    result.add_argument("--vectors", type=int, default=50_000, help="of items, to draw (50000)")
    result.add_argument("--dimension", type=int, help="of the vectors (256; with --train what a night takes)")
    result.add_argument("--train", type=Path, help="take the graph filter's vectors of this matrix, .npz, instead")
    result.add_argument("--queries", type=int, default=4096, help="users to search for (4096)")
    result.add_argument("--kinds", nargs="*", choices=["hnsw", "ivf_pq"], default=["hnsw", "ivf_pq"], help="(both)")
    result.add_argument("--recall", type=float, default=0.99, help="recall@100 to tune for (0.99)")
    result.add_argument("--threads", type=int, default=0, help="to search with (0: all cores)")
    result.add_argument("--seed", type=int, default=1, help="of all that is random (1)")
    return result


def compared(
    items: np.ndarray, users: np.ndarray, kinds: list[str], recall: float, repeats: int, threads: int = 0
) -> tuple[list[dict[str, Any]], dict[str, list[dict[str, float]]]]:
    """The ways in turns: a row each, and the single measurements. A first round warms up and is not counted."""
    say(f"{len(items)} items and {len(users)} users of {items.shape[1]} dimensions")
    with tempfile.TemporaryDirectory(prefix="search-") as work:
        ways = {**products(items), **exact(items, Path(work)), **approximate(items, users, kinds, recall, Path(work))}
        set_threads(threads)
        torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
        found = interleaved(repeats + 1, {name: partial(took, way, users) for name, way in ways.items()})
    seconds = {name: values[1:] for name, values in found.items()}
    rows = [row(name, way, seconds, len(users)) for name, way in ways.items()]
    return rows, {name: [asdict(value) for value in values] for name, values in seconds.items()}


def products(items: np.ndarray) -> dict[str, Way]:
    """All scores, by blocks of as many users and items as FAISS's; nobody looks at them."""
    right, out = torch.from_numpy(items), torch.empty(BLOCK * BLOCK)

    def product(users: np.ndarray) -> None:
        for some in torch.from_numpy(users).split(BLOCK):
            for among in right.split(BLOCK):
                torch.mm(some, among.T, out=out[: len(some) * len(among)].view(len(some), len(among)))

    return {LIMIT: Way(product)}


def exact(items: np.ndarray, folder: Path) -> dict[str, Way]:
    """FAISS's search, and the one that the night uses."""
    import faiss  # after nightshift.retrieval, which says by which kernels it multiplies

    metric = faiss.METRIC_INNER_PRODUCT
    np.save(folder / "items.npy", items)
    build("flat", folder, seed=0)
    index = load_index(folder / "flat")
    return {
        "FAISS knn": Way(lambda users: faiss.knn(users, items, NEAREST, metric=metric)[1], 1.0),
        EXACT: Way(lambda users: index.search(users, NEAREST)[0], 1.0),
    }


def approximate(items: np.ndarray, users: np.ndarray, kinds: list[str], recall: float, folder: Path) -> dict[str, Way]:
    """Each kind at the least effort that reaches the recall, else at its most."""
    if not kinds:
        return {}
    half = min(TUNED_WITH, len(users) // 2)
    truths = [Truth.of(some, items) for some in (users[:half], users[-half:])]
    ways = {}
    for kind in kinds:
        cost = in_a_process_of_its_own(build, kind, folder, 1)
        index, _ = tuned(load_index(folder / kind), truths[:1], recall)
        measured = truths[1].recall(index.search(truths[1].queries, NEAREST)[0])
        effort = " ".join(f"{name} {value}" for name, value in index.effort.items())
        found = partial(lambda index, users: index.search(users, NEAREST)[0], index)
        ways[f"{kind}, {effort}"] = Way(found, measured, cost["seconds"])
    return ways


def took(way: Way, users: np.ndarray) -> Took:
    clock, busy = time.perf_counter(), time.process_time()
    way.search(users)
    return Took(time.perf_counter() - clock, time.process_time() - busy)


def row(name: str, way: Way, seconds: dict[str, list[Took]], users: int) -> dict[str, Any]:
    clock = {name: median([value.clock for value in values]) for name, values in seconds.items()}
    return {
        "way": name,
        "recall@100": "" if way.recall is None else f"{way.recall:.4f}",
        "users a second": round(users / clock[name]),
        "CPU µs a user": round(1e6 * median([value.busy for value in seconds[name]]) / users),
        "share of the product": round(clock[LIMIT] / clock[name], 2),
        "times exact search": round(clock[EXACT] / clock[name], 2),
        "build, s": "" if way.built is None else f"{way.built:.0f}",
    }


if __name__ == "__main__":
    main()
