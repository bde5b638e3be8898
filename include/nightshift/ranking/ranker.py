"""The ranker: gradient-boosted trees and small networks that put a user's candidates in order.

Trees for each objective, some networks, and the sum of their scores, each by its own spread within a user: they err
differently.

lambdarank    LambdaMART: Burges (2010), From RankNet to LambdaRank to LambdaMART, MSR-TR-2010-82
rank_xendcg   XE-NDCG-MART: Bruch (2021), An alternative cross entropy loss for learning-to-rank, arXiv:1911.09798
binary        the log-odds that the candidate comes true: logistic regression by trees
networks      see `network`
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
from nightshift.ranking.network import Networks, fit_networks, load_networks
from nightshift.runs import code_version

with contextlib.ExitStack() as _without_sklearn:  # its import takes longer than all else here, and nothing uses it
    if "sklearn" not in sys.modules:
        sys.modules["sklearn"] = None  # type: ignore[assignment]
        _without_sklearn.callback(sys.modules.pop, "sklearn")
    import lightgbm as lgb


@dataclass(frozen=True)
class Ranker:
    """The fitted trees by objective, the networks, and the names of their features in their order.

    `about["spread"]` holds, by objective, the standard deviation of its scores within a user's candidates, and
    `about["networks"]` that of each network's.
    """

    boosters: dict[str, lgb.Booster]
    networks: Networks | None
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
        threads, spread = self.about["threads"] or cores(), self.about["spread"]
        found = np.zeros(len(matrix))
        for objective, booster in self.boosters.items():
            found += np.asarray(booster.predict(matrix, num_threads=threads)) / spread[objective]
        if self.networks:
            found += (self.networks.scores(matrix) / np.array(self.about["networks"])[:, None]).sum(axis=0)
        return found

    def importance(self) -> dict[str, float]:
        """Share of the loss that splits on each feature have taken away, the greatest first; mean over the trees."""
        gains = [booster.feature_importance("gain") for booster in self.boosters.values()]
        share = np.mean([gain / max(gain.sum(), 1e-9) for gain in gains], axis=0)
        return {self.features[i]: round(float(share[i]), 6) for i in np.argsort(-share, kind="stable")}

    def save(self, folder: Path) -> None:
        """Write `<objective>.txt` for each, `networks.safetensors` if there are any, and `ranker.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        for objective, booster in self.boosters.items():
            (folder / f"{objective}.txt").write_text(booster.model_to_string(), encoding="utf-8")
        if self.networks:
            self.networks.save(folder)
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
        NothingToLearnError: no user has a relevant candidate, or none has another beside it.
    """
    if groups.max(initial=0) < 2:
        got = "any candidate" if not len(groups) else "one of several candidates"
        raise NothingToLearnError(f"no user got {got} after the ranker's cut-off, so there is no order to learn")
    matrix, config = features.to_numpy(dtype=np.float32), settings.ranker
    boosters: dict[str, lgb.Booster] = {}
    spread: dict[str, float] = {}
    for objective in config.objectives:
        data = lgb.Dataset(matrix, relevant, group=groups, feature_name=list(features.columns), free_raw_data=True)
        fitted = lgb.train(_parameters(objective, settings), data, num_boost_round=config.trees)
        boosters[objective] = booster = lgb.Booster(model_str=fitted.model_to_string())
        spread[objective] = _spread(
            np.asarray(booster.predict(matrix, num_threads=settings.threads or cores())), groups
        )
    networks = fit_networks(matrix, relevant, groups, config.networks, settings.seed) if config.networks else None
    about = {
        "kind": "+".join([*boosters, *(["networks"] if networks else [])]),
        "settings": config.model_dump(mode="json"),
        "spread": spread,
        "networks": [_spread(scores, groups) for scores in networks.scores(matrix)] if networks else [],
        "seed": settings.seed,
        "users": len(groups),
        "rows": len(relevant),
        "definitions": pinned(all_features(settings)),
        "relevant": int(relevant.sum()),
        "made_by": {"code": code_version(), "lightgbm": lgb.__version__},
        "threads": settings.threads,
    }
    return Ranker(boosters, networks, tuple(features.columns), about)


def _parameters(objective: str, settings: Settings) -> dict[str, Any]:
    config = settings.ranker
    found = {
        "objective": objective,
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
        "num_threads": 1,  # threads race for the random numbers of bagging by query, as of LightGBM 4.7
        "verbosity": -1,
    }
    if objective == "lambdarank":
        found["lambdarank_truncation_level"] = settings.evaluation.k + 10
    return found


def _spread(scores: np.ndarray, groups: np.ndarray) -> float:
    """Standard deviation of scores around the mean of their group; 1 where they do not differ."""
    of = np.repeat(np.arange(len(groups)), groups)
    mean = np.bincount(of, scores) / groups
    return float(np.sqrt(np.mean((scores - mean[of]) ** 2))) or 1.0


def load_ranker(folder: Path, threads: int = 0) -> Ranker:
    """Read what `save` wrote.

    Raises:
        FileNotFoundError: a file is missing.
        ModelFileError: the files do not fit each other.
    """
    about = json.loads((folder / "ranker.json").read_text(encoding="utf-8"))
    features: Sequence[str] = about.pop("features")
    about.pop("importance")
    boosters: dict[str, lgb.Booster] = {}
    for objective in about["spread"]:
        file = folder / f"{objective}.txt"
        boosters[objective] = booster = lgb.Booster(model_str=file.read_text(encoding="utf-8"))
        if booster.feature_name() != list(features):
            raise ModelFileError(f"{folder}: ranker.json names {list(features)}, {file.name} {booster.feature_name()}")
    networks = load_networks(folder) if about.get("networks") else None
    if networks and (found := networks.shape) != (expected := (len(about["networks"]), len(features))):
        raise ModelFileError(f"{folder}: ranker.json names (networks, features) {expected}, the file has {found}")
    return Ranker(boosters, networks, tuple(features), {**about, "threads": threads})


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))
