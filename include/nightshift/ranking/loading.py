"""Any registered model from its folder."""

from __future__ import annotations

from pathlib import Path

from nightshift.config import Settings
from nightshift.models.baselines import load_baseline
from nightshift.models.recommender import Recommender
from nightshift.ranking.two_stage import TwoStage, Which, load_two_stage


def load_recommender(folder: Path, kind: str, settings: Settings, which: Which = "serving") -> Recommender:
    """The model of `kind` in `folder`. A baseline learns nothing, so it is the same whether it serves or is tested.

    Raises:
        FileNotFoundError: a file is missing.
        ModelFileError: the files do not fit each other or this code.
    """
    return load_two_stage(folder, settings, which) if kind == TwoStage.kind else load_baseline(folder)
