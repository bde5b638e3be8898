"""What a ranker's score means: the share of such entries that their user gets within the days of the test.

Isotonic regression keeps the order of the scores: Zadrozny and Elkan (2002), doi 10.1145/775047.775151. It is fitted on
lists of the model that had not seen those days, for users who came back and for users who did not. The expected
calibration error is measured across users: half of them tell what scores mean, and the others whether that is so.
Bins of equal size: Naeini, Cooper, Hauskrecht (2015), Obtaining well calibrated probabilities using Bayesian binning.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from nightshift.models.recommender import ModelFileError

BINS = 10
FILE = "calibration.json"


@dataclass(frozen=True)
class Calibration:
    """A rising line through (score, probability), flat beyond its ends.

    Attributes:
        about: days (that the probability is of), users, entries, rate (of entries that came true), ece, and bins: of
            each the mean probability, the rate, and the number of entries.
    """

    score: np.ndarray
    probability: np.ndarray
    about: dict[str, Any]

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """The probability of each score, in [0, 1]; never falling with the score."""
        return np.interp(scores, self.score, self.probability)

    def save(self, folder: Path) -> None:
        """Write `calibration.json`."""
        value = {"score": self.score.tolist(), "probability": self.probability.tolist(), **self.about}
        (folder / FILE).write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def fit_calibration(lists: pd.DataFrame, labels: pd.DataFrame, days: int, seed: int) -> Calibration | None:
    """Learn what scores mean; None where no entry came true, or every one: then nothing can be told.

    Args:
        lists: user_id, item_id, score: as the model gives them.
        labels: user_id, item_id: what came true within `days`.
    """
    score = lists["score"].to_numpy(dtype=np.float64)
    pairs = [pd.MultiIndex.from_frame(rows[["user_id", "item_id"]]) for rows in (lists, labels)]
    true = pairs[0].isin(pairs[1]).astype(np.float64)
    user = pd.factorize(lists["user_id"], sort=True)[0]
    if not 0 < true.sum() < len(true) or user.max() < 1:
        return None
    half = (np.random.default_rng(seed).permutation(user.max() + 1) % 2)[user] == 0
    foretold = np.empty(len(score))
    for own, others in ((half, ~half), (~half, half)):
        foretold[own] = np.interp(score[own], *_line(score[others], true[others]))
    bins = _bins(foretold, true)
    ece = sum(abs(mean - rate) * count for mean, rate, count in bins) / len(true)
    about = {
        "days": days,
        "users": int(user.max() + 1),
        "entries": len(true),
        "rate": round(float(true.mean()), 6),
        "ece": round(float(ece), 6),
        "bins": [[round(mean, 6), round(rate, 6), count] for mean, rate, count in bins],
    }
    return Calibration(*_line(score, true), about)


def load_calibration(folder: Path) -> Calibration | None:
    """Read what `save` wrote; None where the model has none.

    Raises:
        ModelFileError: the line is none.
    """
    if not (folder / FILE).exists():
        return None
    about = json.loads((folder / FILE).read_text(encoding="utf-8"))
    score, probability = (np.array(about.pop(name), dtype=np.float64) for name in ("score", "probability"))
    falls = len(score) != len(probability) or not len(score) or (np.diff(score) <= 0).any()
    if falls or (np.diff(probability) < 0).any():
        raise ModelFileError(f"{folder / FILE}: scores and probabilities must rise together, and are as many")
    return Calibration(score, probability, about)


def _line(score: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the isotonic fit begins and ends each of its levels."""
    scores, group, count = np.unique(score, return_inverse=True, return_counts=True)
    fitted = isotonic_regression(np.bincount(group, true) / count, weights=count).x
    change = np.flatnonzero(np.diff(fitted)) + 1
    ends = np.unique(np.concatenate([[0], change - 1, change, [len(scores) - 1]]))
    return scores[ends], fitted[ends]


def _bins(foretold: np.ndarray, true: np.ndarray) -> list[tuple[float, float, int]]:
    order = np.argsort(foretold, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    return [(float(foretold[part].mean()), float(true[part].mean()), len(part)) for part in parts]
