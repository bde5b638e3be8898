"""Fit one model and hold it against the test: the process that `python -m benchmarks.quality` starts for each."""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.quality.data import load_split
from benchmarks.quality.held_out import foretold
from benchmarks.quality.models import MODELS
from benchmarks.quality.peers import NotHereError

K = 20


def main() -> None:
    logging.basicConfig(level="INFO", format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    given = json.loads(sys.argv[1])
    try:
        found = run(**given)
    except NotHereError as error:
        found = {"note": str(error)}
    print(json.dumps(found))


def run(model: str, train: str, test: str, seed: int) -> dict[str, Any]:
    split = load_split(Path(train), Path(test))
    fit = MODELS[model]
    started = time.perf_counter()
    fitted = fit(split.train, seed)
    fitting = time.perf_counter() - started
    figures = foretold(fitted.scores, split.train, split.test, K)
    evaluating = time.perf_counter() - started - fitting
    return {
        "recall@20": round(figures.recall, 4),
        "ndcg@20": round(figures.ndcg, 4),
        "coverage": round(figures.coverage, 3),
        "fit, s": round(fitting, 1),
        "evaluation, s": round(evaluating, 1),
        "note": "; ".join(filter(None, (getattr(fitted, "note", ""), split.note))),
    }


if __name__ == "__main__":
    main()
