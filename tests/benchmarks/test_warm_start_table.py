"""The table of `python -m benchmarks.warm_start`, from figures that are made up."""

import numpy as np
import pandas as pd

from benchmarks.warm_start import MODELS, WAYS, against_cold
from nightshift.evaluation.intervals import interval


def test_a_user_of_several_nights_counts_once():
    gains = pd.Series(np.random.default_rng(1).normal(0.02, 0.1, 50), index=[f"u{n}" for n in range(50)])
    rows = []
    for number in (2, 4, 8):
        for way in WAYS:
            values = gains + 0.3 if way == "warm" else gains * 0 + 0.3
            rows.append(
                {"seed": 0, "number": number, "way": way, "seconds": 1.0, "values": dict.fromkeys(MODELS, values)}
            )
    table = {row["first fit"]: row for row in against_cold(pd.DataFrame(rows))}
    assert table["warm"]["two_tower, gain"] == interval(gains.sort_index().to_numpy(), seed=1).signed
    assert table["cold"]["two_tower, gain"] == ""
