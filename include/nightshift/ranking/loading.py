"""Any registered model from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nightshift.config import Settings
from nightshift.models.baselines import BASELINES, load_baseline
from nightshift.models.recommender import Recommender

if TYPE_CHECKING:
    from nightshift.ranking.two_stage import Which


def load_recommender(folder: Path, kind: str, settings: Settings, which: Which = "serving") -> Recommender:
    """The model of `kind` in `folder`. A baseline learns nothing, so it is the same whether it serves or is tested.

    Raises:
        FileNotFoundError: a file is missing.
        ModelFileError: the files do not fit each other or this code.
    """
    if kind in {baseline.kind for baseline in BASELINES}:
        return load_baseline(folder)
    from nightshift.ranking.two_stage import load_two_stage  # with torch and LightGBM: seconds

    return load_two_stage(folder, settings, which)
