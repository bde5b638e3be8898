"""What each kind of index finds and costs: recall@100 and queries a second by effort, and what it takes to build.

    python -m benchmarks.index --vectors 1000000 --dimension 64 --out var/figures
    python -m benchmarks.index --train gowalla_train.npz --out var/figures

Vectors are drawn in clusters, of unequal lengths, or are the graph filter's of a matrix of users and items, as long as
a night makes them, and the queries its users. Each kind is built in a process of its own and kept as files; this
process loads them, mapped into memory, and searches them in turns. Beside them stands the matrix product that exact
search cannot do without, with torch, alone and with the best taken from it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import interleaved, median, report, say
from benchmarks.options import parser
from nightshift.retrieval.devices import set_threads
from nightshift.retrieval.files import load_index, save_index
from nightshift.retrieval.index import ItemIndex
from nightshift.retrieval.kinds import KINDS
from nightshift.retrieval.recall import NEAREST, Truth

SINGLE = 100  # queries that are asked one at a time
CLUSTER = 200  # drawn vectors a cluster, about
SCORES = 2**26  # that torch holds at a time

Search = Callable[[np.ndarray], np.ndarray | None]  # of queries: the rows that are found


def main(argv: list[str] | None = None) -> None:
    args = arguments().parse_args(argv)
    items, queries = taken(args, dimension=64)
    say(f"{len(items)} vectors of {items.shape[1]} dimensions, {len(queries)} queries")
    set_threads(0)
    with tempfile.TemporaryDirectory(prefix="index-") as work:
        folder = Path(work)
        np.save(folder / "items.npy", items)
        builds = {kind: in_a_process_of_its_own(build, kind, folder, args.seed) for kind in args.kinds}
        indexes = {kind: load_index(folder / kind) for kind in args.kinds}
        truth = Truth.of(queries, items)
        searches = dict(products(items)) | {f"{k} {n}": s for k, i in indexes.items() for n, s in by_effort(i)}
        found = interleaved(args.repeats, {n: partial(asked, search, truth) for n, search in searches.items()})
    rows = [row(name, values, builds.get(name.split()[0])) for name, values in found.items()]
    report("index", rows, vars(args), args.out, {"builds": builds, "searches": found})


def arguments() -> argparse.ArgumentParser:
    result = parser("index", __doc__)
    result.add_argument("--vectors", type=int, default=1_000_000, help="to draw (1000000)")
    result.add_argument("--dimension", type=int, help="of the vectors (64; with --train what a night takes)")
    result.add_argument("--train", type=Path, help="take the graph filter's vectors of this matrix, .npz, instead")
    result.add_argument("--queries", type=int, default=1000, help="to ask (1000)")
    result.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="to build (all)")
    result.add_argument("--seed", type=int, default=1, help="of all that is random (1)")
    return result


def taken(args: argparse.Namespace, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Items and queries that the arguments ask for; `dimension`: of drawn ones, unless they say."""
    if args.train:
        return filtered(args.train, args.dimension, args.queries, args.seed)
    return drawn(args.vectors, args.dimension or dimension, args.queries, args.seed)


def drawn(vectors: int, dimension: int, queries: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Items and queries around the same centres; lengths of items differ as e^N(0, 0.3)."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(vectors // CLUSTER, 1), dimension), dtype=np.float32)

    def around(rows: int) -> np.ndarray:
        found = rng.standard_normal((rows, dimension), dtype=np.float32)
        found += centres[rng.integers(0, len(centres), rows)]
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    items = around(vectors)
    items *= np.exp(0.3 * rng.standard_normal((vectors, 1), dtype=np.float32))
    return items, around(queries)


def filtered(file: Path, dimension: int | None, queries: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The graph filter's items, and as many of its users as are asked for, spread evenly.

    Args:
        dimension: None: what a night takes for so many items.
    """
    from scipy import sparse

    from nightshift.models.graph_filter import Shape, fit_filter

    train = sparse.csr_array(sparse.load_npz(file)).astype(np.float32)
    fitted = fit_filter(train, Shape(dimension=dimension) if dimension else Shape(), seed)
    users = np.unique(np.linspace(0, train.shape[0] - 1, queries).astype(np.int64))
    return fitted.items.numpy(), fitted.users(sparse.csr_array(train[users])).numpy()


def in_a_process_of_its_own(work: Callable[..., dict[str, float]], *given: Any) -> dict[str, float]:
    say(f"{work.__name__} {given[0]}")
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work, *given).result()


def build(kind: str, folder: Path, seed: int) -> dict[str, float]:
    """Build an index of items.npy in `folder`, and keep it there under its kind."""
    set_threads(0)
    items = np.load(folder / "items.npy")
    started = time.perf_counter()
    index = ItemIndex(KINDS[kind].build(items, seed), np.arange(len(items)).astype(object), kind)
    seconds = time.perf_counter() - started
    peak = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    save_index(index, folder / kind, {})
    return {
        "seconds": seconds,
        "peak_mib": int(peak) / 2**10,
        "mib": (folder / kind / "items.faiss").stat().st_size / 2**20,
    }


def products(items: np.ndarray) -> Iterator[tuple[str, Search]]:
    """What exact search comes down to."""
    import torch

    transposed = torch.from_numpy(items).T

    def product(queries: np.ndarray, best: bool) -> np.ndarray | None:
        asked = torch.from_numpy(queries)
        blocks = (block @ transposed for block in asked.split(max(SCORES // len(items), 1)))
        found = [block.topk(NEAREST).indices.numpy() if best else block[0, :0] for block in blocks]
        return np.concatenate(found) if best else None

    yield "torch: the product alone", partial(product, best=False)
    yield "torch: product and top-k", partial(product, best=True)


def by_effort(index: ItemIndex) -> Iterator[tuple[str, Search]]:
    for effort in index.efforts or [{}]:
        name = " ".join(f"{name} {value}" for name, value in effort.items())
        yield name, partial(_rows, replace(index, effort=effort))


def _rows(index: ItemIndex, queries: np.ndarray) -> np.ndarray:
    return index.search(queries, NEAREST)[0]


def asked(search: Search, truth: Truth) -> dict[str, float]:
    """Ask all queries at once, then some one by one."""
    started, busy = time.perf_counter(), time.process_time()
    rows = search(truth.queries)
    at_once, busy = time.perf_counter() - started, time.process_time() - busy
    single = [truth.queries[number : number + 1] for number in range(min(SINGLE, len(truth.queries)))]
    started = time.perf_counter()
    for query in single:
        search(query)
    one_by_one = time.perf_counter() - started
    recall = float("nan") if rows is None else truth.recall(rows)
    return {
        "recall": recall,
        "at_once": len(truth.queries) / at_once,
        "one_by_one": len(single) / one_by_one,
        "cpu_ms": 1000 * busy / len(truth.queries),
    }


def row(name: str, values: list[dict[str, float]], built: dict[str, float] | None) -> dict[str, Any]:
    kind, _, effort = name.partition(" ")
    at_once = [value["at_once"] for value in values]
    return {
        "kind": kind,
        "effort": effort,
        "recall@100": f"{values[0]['recall']:.4f}",
        "queries/s, at once": f"{median(at_once):,.0f} ({min(at_once):,.0f} to {max(at_once):,.0f})",
        "CPU ms a query": median([value["cpu_ms"] for value in values]),
        "queries/s, one by one": round(median([value["one_by_one"] for value in values])),
        "build, s": f"{built['seconds']:.1f}" if built else "",
        "MiB on disk": f"{built['mib']:.0f}" if built else "",
        "peak, MiB": f"{built['peak_mib']:.0f}" if built else "",
    }


if __name__ == "__main__":
    main()
