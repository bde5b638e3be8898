"""What users bought, out of the features as they are: the latest first, and never more than is asked for."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pyarrow as pa
import pytest

from nightshift.features.purchases import PURCHASES, latest_purchases
from nightshift.features.snapshot import Snapshot
from tests import shop

AS_OF = dt.date(2024, 3, 1)
PAIRS = [("ann", "A", 3, 1), ("ann", "B", 0, 1), ("ann", "C", 3, 5), ("ann", "D", 3, 1), ("bob", "A", 60, 2)]


def snapshot(rows: list[tuple[str, str, int, int]]) -> Snapshot:
    pairs = pd.DataFrame(rows, columns=["user_id", "item_id", "days_since_last", "baskets"])
    return Snapshot(AS_OF, *[pairs] * 5)


def rows(table: pa.Table) -> list[tuple[str, str, str, int]]:
    return [(row["user_id"], row["item_id"], str(row["bought_on"]), row["times"]) for row in table.to_pylist()]


def test_the_latest_comes_first_and_of_one_day_what_was_bought_more_often() -> None:
    assert rows(latest_purchases(snapshot(PAIRS), 3)) == [
        ("ann", "B", "2024-03-01", 1),
        ("ann", "C", "2024-02-27", 5),
        ("ann", "A", "2024-02-27", 1),
        ("bob", "A", "2024-01-01", 2),
    ]


@pytest.mark.parametrize(("pairs", "most"), [(PAIRS, 0), ([], 3)])
def test_of_nothing_there_are_the_columns(pairs: list[tuple[str, str, int, int]], most: int) -> None:
    found = latest_purchases(snapshot(pairs), most)
    assert (found.num_rows, found.schema) == (0, PURCHASES)


def test_they_are_the_events_that_were_known_on_that_day() -> None:
    """Of the planted shop: each user's last baskets with an item, and nothing of later days."""
    known = shop.interactions()
    known = known[known["run_date"] <= shop.TEST_CUTOFF]
    found = latest_purchases(shop.snapshots()[1], 10_000).to_pandas()
    expected = known.groupby(["user_id", "item_id"]).agg(
        bought_on=("event_date", "max"), times=("basket_id", "nunique")
    )
    found = found.set_index(["user_id", "item_id"]).sort_index()
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
