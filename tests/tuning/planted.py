"""An objective whose best settings are known, and which costs nothing: what the study's tests stand on.

python -m tests.tuning.planted FILE KILLED_IN     searches, and kills itself in the trial of this number
"""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nightshift.config import load
from nightshift.tuning.space import Range, Stage, Values, values_of
from nightshift.tuning.study import Budget, Found, Study

SETTINGS = load(Path(__file__).parents[2] / "nightshift.yaml")
BEST = {"ranker.leaves": 40, "ranker.learning_rate": 0.1, "candidates.repeat": 150}
STAGES = (
    Stage("ranker", 5, (Range("ranker.leaves", 4, 64, log=True), Range("ranker.learning_rate", 0.01, 0.3, log=True))),
    Stage("candidates", 4, (Range("candidates.repeat", 20, 300, log=True),)),
)
STEPS, PARTS, USERS = 9, 3, 5
HARD = np.random.default_rng(3).uniform(0, 0.4, (STEPS, USERS))


def metric(overrides: Values) -> Iterator[dict[int, np.ndarray]]:
    """Falls with the distance from the best, a little unevenly by user; some users are hard for all settings."""
    held = values_of(SETTINGS, list(BEST)) | dict(overrides)
    away = sum(abs(math.log(held[key] / best)) for key, best in BEST.items())
    values = 0.9 - HARD - 0.05 * away * (1 + HARD)
    for part in np.array_split(np.arange(STEPS), PARTS):
        yield {int(step): values[step] for step in part}


class KilledIn:
    """The metric, until an evaluation whose number is given: that one dies after its first part."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, overrides: Values) -> Iterator[dict[int, np.ndarray]]:
        parts = metric(overrides)
        yield next(parts)
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1
        yield from parts


def search(file: Path, evaluate=metric, trials: int = 12, seconds: float = 1e6, **options) -> Found:
    study = Study(file, "2024-05-19-planted", options.pop("stages", STAGES), SETTINGS, evaluate)
    return study.search(Budget(seconds, trials, **options))


if __name__ == "__main__":
    search(Path(sys.argv[1]), KilledIn(int(sys.argv[2])))
