"""The champion as a matter of record: one row a night, so that any night can be run again as it was.

MLflow's alias `champion` says who is champion now. A backfill must know who was champion then: that is the last
promotion before its run date, from the Delta table `promotions`. A promotion by hand counts from its date on, and stays
when that night is run again.
"""

from __future__ import annotations

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


def record_promotion(night: Night, champion: Champion, accepted: bool, reason: str, by: str = "night") -> bool:
    """Write down who is champion from this night on.

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


def _champion(row: pd.Series) -> Champion:
    return Champion(row["name"], row["version"], row["kind"])
