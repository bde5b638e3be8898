"""No feature sees the future: what a later file brings, changes or takes away moves nothing before it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nightshift.config.settings import Engine
from nightshift.features.definitions import feature_tables
from nightshift.lake import engine
from tests.features.history import CUTOFFS, SETTINGS, Event, features

CUTOFF = CUTOFFS[0]

events = st.builds(
    Event,
    user=st.sampled_from(["ann", "bob"]),
    item=st.sampled_from("ABCD"),
    day=st.integers(1, 30),
    basket=st.sampled_from(["b1", "b2"]),
    price=st.none() | st.sampled_from([0.5, 3.25]),
    quantity=st.sampled_from([1.0, 12.0]),
    weight=st.sampled_from([1.0, 1.0, 1.0, -1.0]),
    title=st.sampled_from([None, "", "One", "Other"]),
    country=st.sampled_from(["GB", "FR"]),
    known=st.integers(1, 30),
    hour=st.integers(0, 23),
)
histories = st.lists(events, max_size=25)

MET_TWICE = [Event("ann", item, day, f"b{day}") for item in "AB" for day in (1, 2)]
GREW = [Event("ann", item, 2, "b2", known=25) for item in "CD"]  # a basket that becomes too large to say anything


def as_of(tables: dict[str, pd.DataFrame], day: dt.date) -> dict[str, list[tuple[Any, ...]]]:
    """Every table's rows as of one day, in an order of their own."""
    return {
        name: sorted(map(tuple, frame.loc[frame["as_of"] == day, list(feature_tables(SETTINGS)[name].columns)]
                         .astype(str).to_numpy()))
        for name, frame in tables.items()
    }  # fmt: skip


def told_twice(warm_engine: Engine, one: list[Event], other: list[Event]) -> list[dict[str, list[tuple[Any, ...]]]]:
    with engine.session(warm_engine, Path(".")) as spark:
        return [as_of(features(spark, history), CUTOFF) for history in (one, other)]


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(past=histories, future=histories, other_future=histories)
@example(past=MET_TWICE, future=[], other_future=GREW)
@example(past=[], future=[], other_future=[replace(event, known=25) for event in MET_TWICE])
def test_no_feature_sees_the_future(
    warm_engine: Engine, past: list[Event], future: list[Event], other_future: list[Event]
) -> None:
    """By run date, so that a late row counts as what it is: news of a later day about an earlier one."""
    known = [event for event in past if event.run_date <= CUTOFF]
    one, other = ([event for event in later if event.run_date > CUTOFF] for later in (future, other_future))
    told = told_twice(warm_engine, known + one, other[::-1] + known[::-1])
    assert told[0] == told[1]


def test_a_pairs_cosine_is_over_the_baskets_known_by_then(warm_engine: Engine) -> None:
    history = [
        *MET_TWICE,
        Event("bob", "A", 3, "b1"),  # another user's basket of the same name is another basket
        Event("bob", "C", 3, "b1"),
        Event("bob", "A", 15, "b7"),
        Event("bob", "C", 15, "b7"),
        *[Event("eve", item, 4, "large") for item in "ABCD"],  # larger than 3 items: it says nothing
        Event("ann", "D", 25, "b2"),
        Event("ann", "C", 25, "b2"),
    ]
    with engine.session(warm_engine, Path(".")) as spark:
        frame = features(spark, history, only=["cooccurrence"])["cooccurrence"]
    found = {
        (str(day)[8:], item, neighbour): (baskets, score)
        for item, neighbour, day, baskets, score, _ in frame.itertuples(index=False)
    }
    assert set(found) == {(day, *pair) for day in ("10", "20") for pair in ("AB", "BA")} | {
        (day, *pair) for day in ("20", "30") for pair in ("AC", "CA")
    }, "ann's second basket is too large as of the 30th, and not before"
    assert found["10", "A", "B"] == (2, pytest.approx(2 / (3 * 2) ** 0.5))
    assert found["20", "A", "B"] == found["20", "B", "A"] == (2, pytest.approx(2 / (4 * 2) ** 0.5))
    assert found["20", "A", "C"] == (2, pytest.approx(2 / (4 * 2) ** 0.5))
    assert found["30", "C", "A"] == (2, pytest.approx(2 / (3 * 2) ** 0.5))
