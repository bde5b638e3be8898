"""The champion as a matter of record: one row a night, so that any night can be run again as it was.

MLflow's alias `champion` says who is champion now. A backfill must know who was champion then: that is the last
promotion before its run date, from the Delta table `promotions`. A promotion by hand counts from its date on, and stays
when that night is run again. Each row also has what its champion gained over the one before, so that the gate can see
what many promotions have lost together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from nightshift.lake import Lake, Table
from nightshift.runs import Night

promotions_table = Table(
    "promotions",
    {
        "by": "string",  # night or hand
        "accepted": "boolean",  # whether the challenger of that night became champion
        "name": "string",
        "version": "string",
        "kind": "string",
        "reason": "string",
        "metric": "string",  # that decided, as ndcg@20
        "gain": "double",  # in it, of the night's challenger over the champion before; none where not compared
    },
)


@dataclass(frozen=True)
class Champion:
    """A registered model version that serves.

    Attributes:
        kind: two_stage, or the name of a baseline.
    """

    name: str
    version: str
    kind: str


def champion_before(night: Night) -> Champion | None:
    """The champion that the night found when it began; none before the first promotion."""
    rows = _promotions(Lake(night.home / "lake"))
    before = rows[rows["run_date"] < night.run_date]
    return _champion(before.iloc[-1]) if len(before) else None


def lost_before(night: Night) -> float:
    """What promotions have lost since the best champion that there was before this night: 0, or less.

    The sum of the gains of all that were accepted, set to 0 wherever it rises above it: a one-sided cumulative sum
    (Page, 1954, Continuous inspection schemes, doi 10.1093/biomet/41.1-2.100). It begins anew with a promotion by hand,
    and where another metric decided. One that was compared with no champion changes nothing.
    """
    rows, lost = _promotions(Lake(night.home / "lake")), 0.0
    for row in rows[(rows["run_date"] < night.run_date) & rows["accepted"]].itertuples():
        if row.by == "hand" or row.metric != _metric(night):
            lost = 0.0
        elif math.isfinite(row.gain):
            lost = min(0.0, lost + row.gain)
    return lost


def record_promotion(
    night: Night, champion: Champion, accepted: bool, reason: str, by: str = "night", gain: float | None = None
) -> bool:
    """Write down who is champion from this night on.

    Args:
        gain: of the night's challenger over the champion before it, in the metric that decides, where it has one.

    Returns:
        Whether this is the newest promotion, so that the alias has to follow. It is not for an old date, run again.
    """
    lake = Lake(night.home / "lake")
    rows = _promotions(lake)
    same_day = rows[rows["run_date"] == night.run_date]
    kept = same_day[same_day["by"] != by]
    row = {
        "by": by,
        "accepted": accepted,
        "name": champion.name,
        "version": champion.version,
        "kind": champion.kind,
        "reason": reason,
        "metric": _metric(night),
        "gain": gain,
        "run_date": night.run_date,
    }
    day = pd.concat([kept, pd.DataFrame([row])], ignore_index=True)
    table = pa.Table.from_pandas(day[promotions_table.arrow.names], promotions_table.arrow, preserve_index=False)
    lake.replace(promotions_table.name, night.run_date, table)
    by_hand_since = by == "night" and bool((kept["by"] == "hand").any())
    return bool((rows["run_date"] <= night.run_date).all()) and not by_hand_since


def _promotions(lake: Lake) -> pd.DataFrame:
    """All promotions in the order in which they count: by run date, and by hand after the night's own."""
    if not lake.exists(promotions_table.name):
        return promotions_table.arrow.empty_table().to_pandas()
    rows = lake.pandas(promotions_table.name)
    order = rows.assign(last=rows["by"] == "hand").sort_values(["run_date", "last"], kind="stable")
    return order.drop(columns="last").reset_index(drop=True)


def _metric(night: Night) -> str:
    return f"{night.settings.evaluation.metric}@{night.settings.evaluation.k}"


def _champion(row: pd.Series) -> Champion:
    return Champion(row["name"], row["version"], row["kind"])
