"""What users have bought, for people to look at: the latest of each, out of the features that the night has."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from nightshift.features.snapshot import Snapshot

PURCHASES = pa.schema(
    [("user_id", pa.string()), ("item_id", pa.string()), ("bought_on", pa.date32()), ("times", pa.int32())]
)


def latest_purchases(snapshot: Snapshot, most: int) -> pa.Table:
    """What each user of a snapshot has bought (`PURCHASES`), and not taken back as often: at most so many items a user.

    By user, the item bought last first, of one day the one bought more often. `bought_on` is the last day, `times` are
    the baskets.
    """
    columns = ["user_id", "item_id", "days_since_last", "baskets"]
    rows = snapshot.pairs[columns] if most else snapshot.pairs.iloc[:0][columns]
    rows = rows.sort_values(["user_id", "days_since_last", "baskets", "item_id"], ascending=[True, True, False, True])
    rows = rows.groupby("user_id", sort=False).head(most)
    days = pd.Timestamp(snapshot.as_of) - pd.to_timedelta(rows["days_since_last"].astype("int64"), unit="D")
    found = rows.assign(bought_on=days.dt.date, times=rows["baskets"].astype("int32"))
    return pa.Table.from_pandas(found, PURCHASES, preserve_index=False)
