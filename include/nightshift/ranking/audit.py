"""Hold to the contract what a night is about to learn from: the events, and the ranker's rows before its fit."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nightshift.contracts import check
from nightshift.contracts.figures import Rows
from nightshift.runs import Night


class TrainingAudit:
    """The two gates of a night's training.

    Attributes:
        seconds: that they took.
    """

    def __init__(self, night: Night) -> None:
        self.night = night
        self.seconds = 0.0

    def events(self, events: Rows) -> None:
        """Audit the events that every model of the night learns from; none at all is not judged here.

        Raises:
            GateError: one of them could not be known on the night's day.
        """
        if len(events):
            self.seconds += check(self.night, "train", {"training_events": events}, cutoff=self.night.run_date).seconds

    def ranker_rows(self, candidates: pd.DataFrame, features: pd.DataFrame) -> None:
        """Audit what the ranker learns from; no rows are not judged here.

        Args:
            candidates: user, item and label, a row each.
            features: of the same rows, a float column a feature.

        Raises:
            GateError: a candidate is there twice, the labels teach nothing, or a feature has lost its values.
        """
        if len(candidates):
            rows = {"training_rows": candidates, "training_features": summarise(features)}
            self.seconds += check(self.night, "train_ranker", rows).seconds


def summarise(features: pd.DataFrame) -> pd.DataFrame:
    """A row a feature: its name, the share of rows that lack it, and the number of those where it is infinite."""
    values = [features[name].to_numpy() for name in features.columns]
    return pd.DataFrame(
        {
            "feature": list(features.columns),
            "missing_share": [float(np.isnan(column).mean()) for column in values],
            "infinite": [int(np.isinf(column).sum()) for column in values],
        }
    )
