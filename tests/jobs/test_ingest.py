"""`python -m jobs.ingest`: what it refuses, and how it makes sure that no row is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.ingest import reconcile
from nightshift import landing
from nightshift.config.settings import Engine
from nightshift.runs import StepError
from tests.landing.shop import Shop, line


def count(rows_in: int, kept: int, quarantined: int) -> dict[str, Any]:
    told = {"run_date": "2011-06-01", "rows_in": rows_in, "kept": kept, "quarantined": quarantined}
    return told | {"duplicates": rows_in - kept - quarantined}


def test_counts_that_add_up_pass() -> None:
    reconcile([count(10, 7, 2), count(0, 0, 0)], seen=10, repeated=1)


@pytest.mark.parametrize(
    ("counts", "seen", "repeated"),
    [
        ([count(10, 7, 2)], 9, 1),  # the engine never saw a line of the file
        ([count(10, 6, 2)], 10, 1),  # a sound row was not written, and is no repetition
        ([count(10, 7, 1)], 10, 1),  # a refused row was not written
        ([count(10, 9, 2)], 10, -1),  # more was written than there is
        ([count(3, 5, 0), count(5, 3, 0)], 8, 0),  # rows went to another day
    ],
)
def test_a_row_that_was_lost_or_made_is_detected(counts: list[dict[str, Any]], seen: int, repeated: int) -> None:
    with pytest.raises(StepError, match="rows are lost or doubled, nothing is committed: the files have"):
        reconcile(counts, seen, repeated)


def test_a_row_lost_between_file_and_lake_stops_the_night(
    tmp_path: Path, warm_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path, warm_engine)
    shop.deliver(1, [line("1", "ann", "A", "01 09:00"), line("2", "bob", "B", "01 10:00")])
    all_of_them, whole = landing.once_a_day, landing.delivered
    monkeypatch.setattr(landing, "once_a_day", lambda events: all_of_them(events).where("item_id <> 'B'"))

    def blind(*of: Any) -> landing.Delivery:
        delivery = whole(*of)
        return replace(delivery, looks=[replace(look, rows=1) for look in delivery.looks])

    monkeypatch.setattr(landing, "delivered", blind)
    with pytest.raises(StepError, match="the files have 1, 2 were judged, 1 were found to be repeated"):
        shop.ingest(1)


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({"item_attributes": {"trend": "name"}}, "trend"),
        ({"user_attributes": {"Events_All": "land"}}, "Events_All"),
        ({"user_attributes": {"pairs": "land"}}, "pairs"),
    ],
)
def test_an_attribute_that_has_a_features_name_is_refused_before_anything_lands(
    tmp_path: Path, attributes: dict[str, Any], name: str
) -> None:
    shop = Shop(tmp_path, Engine(kind="connect", remote="sc://127.0.0.1:1"), attributes)
    with pytest.raises(
        StepError, match=f"attribute '{name}' .* is a feature.s name, or of what features follow from: give it another"
    ):
        shop.ingest(1)


def test_a_day_before_the_first_is_refused_without_a_start_of_spark(tmp_path: Path) -> None:
    shop = Shop(tmp_path, Engine(kind="connect", remote="sc://127.0.0.1:1"), {"first_day": "2011-06-05"})
    with pytest.raises(StepError, match=r"run date 2011-06-04 is before source.first_day 2011-06-05"):
        shop.ingest(4)
