"""The ranker: gradient-boosted trees that put a user's candidates in order.

LambdaMART: Burges (2010), From RankNet to LambdaRank to LambdaMART, MSR-TR-2010-82.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nightshift.config import Settings
from nightshift.features.definitions import all_features
from nightshift.features.versions import pinned
from nightshift.models.fitting import NothingToLearnError
from nightshift.models.recommender import ModelFileError
from nightshift.runs import code_version

with contextlib.ExitStack() as _without_sklearn:  # its import takes longer than all else here, and nothing uses it
    if "sklearn" not in sys.modules:
        sys.modules["sklearn"] = None  # type: ignore[assignment]
        _without_sklearn.callback(sys.modules.pop, "sklearn")
    import lightgbm as lgb


@dataclass(frozen=True)
class Ranker:
    """A fitted model, and the names of its features in their order."""

    booster: lgb.Booster
    features: tuple[str, ...]
    about: dict[str, Any]

    def score(self, features: pd.DataFrame) -> np.ndarray:
        """A score a candidate, float64; comparable between the candidates of one user.

        Raises:
            ModelFileError: a feature that it has learnt from is not there.
        """
        missing = [name for name in self.features if name not in features]
        if missing:
            raise ModelFileError(f"the ranker needs {', '.join(missing)}; there are {', '.join(features.columns)}")
        matrix = features[list(self.features)].to_numpy(dtype=np.float32)
        return np.asarray(self.booster.predict(matrix, num_threads=self.about["threads"] or cores()))

    def importance(self) -> dict[str, float]:
        """Share of the loss that splits on each feature have taken away, the greatest first."""
        gain = self.booster.feature_importance("gain")
        order = np.argsort(-gain, kind="stable")
        return {self.features[i]: round(float(gain[i] / max(gain.sum(), 1e-9)), 6) for i in order}

    def save(self, folder: Path) -> None:
        """Write `model.txt` and `ranker.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.txt").write_text(self.booster.model_to_string(), encoding="utf-8")
        about = {name: value for name, value in self.about.items() if name != "threads"}
        value = {**about, "features": list(self.features), "importance": self.importance()}
        (folder / "ranker.json").write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def fit_ranker(features: pd.DataFrame, relevant: np.ndarray, groups: np.ndarray, settings: Settings) -> Ranker:
    """Learn the order of candidates.

    Args:
        features: a row a candidate, those of a user together.
        relevant: 1 where the user got the item in the days after, else 0.
        groups: how many candidates each user has; all have a relevant one.

    Raises:
        NothingToLearnError: no user has a relevant candidate.
    """
    if not len(groups):
        raise NothingToLearnError("no user got any candidate after the ranker's cut-off, so there is no order to learn")
    config = settings.ranker
    parameters = {
        "objective": "lambdarank",
        "lambdarank_truncation_level": settings.evaluation.k + 10,
        "learning_rate": config.learning_rate,
        "num_leaves": config.leaves,
        "min_data_in_leaf": config.min_leaf,
        "lambda_l2": config.l2,
        "feature_fraction": config.feature_share,
        "bagging_by_query": True,
        "bagging_fraction": config.user_share,
        "bagging_freq": 1,
        "seed": settings.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": settings.threads or cores(),
        "verbosity": -1,
    }
    names = list(features.columns)
    data = lgb.Dataset(
        features.to_numpy(dtype=np.float32), relevant, group=groups, feature_name=names, free_raw_data=True
    )
    booster = lgb.train(parameters, data, num_boost_round=config.trees)
    about = {
        "kind": "lambdarank",
        "settings": config.model_dump(mode="json"),
        "seed": settings.seed,
        "users": len(groups),
        "rows": len(relevant),
        "definitions": pinned(all_features(settings)),
        "relevant": int(relevant.sum()),
        "made_by": {"code": code_version(), "lightgbm": lgb.__version__},
        "threads": settings.threads,
    }
    return Ranker(lgb.Booster(model_str=booster.model_to_string()), tuple(names), about)


def load_ranker(folder: Path, threads: int = 0) -> Ranker:
    """Read what `save` wrote.

    Raises:
        FileNotFoundError: a file is missing.
        ModelFileError: the two files do not fit each other.
    """
    about = json.loads((folder / "ranker.json").read_text(encoding="utf-8"))
    features: Sequence[str] = about.pop("features")
    about.pop("importance")
    booster = lgb.Booster(model_str=(folder / "model.txt").read_text(encoding="utf-8"))
    if booster.feature_name() != list(features):
        raise ModelFileError(f"{folder}: ranker.json names {list(features)}, model.txt {booster.feature_name()}")
    return Ranker(booster, tuple(features), {**about, "threads": threads})


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))
