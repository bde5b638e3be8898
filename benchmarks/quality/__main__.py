"""How good are the lists? The project's retrieval models and their peers, on any two matrices of users and items.

    python -m benchmarks.quality --train gowalla_train.npz --test gowalla_test.npz
    python -m benchmarks.quality --train X.npz --test Y.npz --model graph_filter --model gf_cf --out var/figures

The files are what scipy.sparse.save_npz writes: CSR, users × items, an entry for each item that a user has. Any value
but 0 counts as 1, the smaller matrix is filled up to the larger, and pairs that are in both are taken out of test; a
note says of how many that was true. Each model learns from train and ranks all items that the user does not have;
recall@20 and NDCG@20 are LightGCN's. What a model may choose, it chooses on a validation split that it makes of train;
the test file is read to count hits, and for nothing else. Each model runs in a process of its own, one after the other,
so that time and memory are its own. A model that cannot run here, or takes longer than --budget, has a line that says
so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.measure import costs, report, say
from benchmarks.options import parser
from benchmarks.processes import command, environment
from benchmarks.quality.models import MODELS, OWN

COLUMNS = ("recall@20", "ndcg@20", "coverage", "fit, s", "evaluation, s", "peak, MiB", "note")


def main(argv: list[str] | None = None) -> None:
    args = arguments().parse_args(argv)
    rows = []
    for name in args.model or MODELS:
        found = measured(name, args)
        say(f"{name}: " + ", ".join(f"{column} {value}" for column, value in found.items() if value != ""))
        rows.append(row(name, found))
    report("quality", rows, vars(args), args.out)
    if all(row["recall@20"] == "" for row in rows):
        raise SystemExit("no model has figures: see the notes")


def arguments() -> argparse.ArgumentParser:
    result = parser("quality", __doc__, repeats=False)
    result.add_argument("--train", type=Path, required=True, help="what may be learnt from: users × items, .npz")
    result.add_argument("--test", type=Path, required=True, help="what is to be foretold: of the same users and items")
    told = f"one of {', '.join(MODELS)}; may be given more than once (all). Ours: {', '.join(OWN)}"
    result.add_argument("--model", action="append", choices=MODELS, metavar="NAME", help=told)
    result.add_argument("--budget", type=float, default=3600.0, help="seconds that a model may take, in all (3600)")
    result.add_argument("--seed", type=int, default=1, help="of all that is random (1)")
    return result


def measured(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """The figures of one model, from a process of its own; where it has none, a note that says why."""
    say(name)
    given = {"model": name, "train": str(args.train), "test": str(args.test), "seed": args.seed}
    with costs() as cost:
        try:
            done = subprocess.run(
                command("benchmarks.quality.one", json.dumps(given)),
                env=environment(),
                stdout=subprocess.PIPE,
                text=True,
                timeout=args.budget,
            )
        except subprocess.TimeoutExpired:
            return {"note": f"not done in {args.budget:g} s"}
    found = json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {}
    if done.returncode and "note" not in found:
        return {"note": f"ended with {done.returncode}; what it said is above"}  # the others have figures
    return {**found, "peak, MiB": round(cost.peak_mib)}


def row(name: str, found: dict[str, Any]) -> dict[str, Any]:
    return {"model": name, **{column: _shown(column, found.get(column, "")) for column in COLUMNS}}


def _shown(column: str, value: Any) -> Any:
    """Recall and NDCG with four digits, as they are published."""
    return f"{value:.4f}" if "@" in column and value != "" else value


if __name__ == "__main__":
    main()
