"""No feature sees the future: what a later file brings, changes or takes away moves nothing before it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nightshift.config.settings import Engine
from nightshift.features.definitions import KEYS, Entity, all_features
from nightshift.features.point_in_time import as_of
from nightshift.lake import Lake, engine, events_table
from tests.features.history import CUTOFFS, SETTINGS, Event, advance, bring, tables_as_of
from tests.features.test_increments import a_history, same

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


@settings(max_examples=1, deadline=None, suppress_health_check=list(HealthCheck))
@given(past=histories, future=histories, other_future=histories)
@example(past=MET_TWICE, future=[], other_future=GREW)
@example(past=a_history(1), future=a_history(2), other_future=a_history(3))
def test_no_feature_sees_the_future(
    warm_engine: Engine,
    tmp_path_factory: pytest.TempPathFactory,
    past: list[Event],
    future: list[Event],
    other_future: list[Event],
) -> None:
    """By run date, so that a late row counts as what it is: news of a later day about an earlier one."""
    known = [event for event in past if event.run_date <= CUTOFF]
    one, other = ([event for event in later if event.run_date > CUTOFF] for later in (future, other_future))
    told = []
    with engine.session(warm_engine, Path(".")) as spark:
        for history in (known + one, other[::-1] + known[::-1]):
            lake = Lake(tmp_path_factory.mktemp("lake"))
            bring(lake, [*history, Event("eve", "A", 1, "b0")])  # a lake that is not empty
            advance(spark, lake, CUTOFF, CUTOFFS[1])
            told.append(tables_as_of(lake, CUTOFF))
    same(*told)


@pytest.fixture(scope="module")
def lake(warm_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A random history with late rows and returns, and its states as of the cut-offs."""
    lake = Lake(tmp_path_factory.mktemp("history"))
    bring(lake, a_history(5, rows=200))
    with engine.session(warm_engine, lake.root) as spark:
        advance(spark, lake, *CUTOFFS)
    return lake


@pytest.mark.parametrize("entity", ["user", "item", "user_item"])
def test_the_states_hold_what_is_computed_from_the_events_alone(
    warm_engine: Engine, lake: Lake, entity: Entity
) -> None:
    """The join looks at the events, and never at a state."""
    keys = list(KEYS[entity])
    features = [feature.name for feature in all_features(SETTINGS).values() if feature.entity == entity]
    table = {"user": "users", "item": "items", "user_item": "pairs"}[entity]
    stored = {day: tables_as_of(lake, day)[table] for day in CUTOFFS}
    with engine.session(warm_engine, lake.root) as spark:
        asked = [
            (*key, dt.datetime.combine(day, dt.time(23, 30)) + dt.timedelta(hours=1), day)
            for day, frame in stored.items()
            for key in frame[keys].itertuples(index=False)
        ]
        ddl = ", ".join(f"{key} string" for key in keys) + ", time timestamp, day date"
        found = as_of(
            lake.spark(spark, events_table(SETTINGS.source)), spark.createDataFrame(asked, ddl), entity, SETTINGS
        ).toPandas()
    assert (found["as_of"] == found["day"]).all()
    for day, frame in stored.items():
        rows = found[found["day"] == day].sort_values(keys, ignore_index=True)
        assert len(rows) == len(frame) > 0
        pd.testing.assert_frame_equal(
            rows[keys + features], frame[keys + features], check_dtype=False, check_exact=True
        )


def test_a_late_row_counts_from_when_it_came(warm_engine: Engine, tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    bring(lake, [Event("ann", "A", 3, "b1"), Event("ann", "B", 3, "b1", known=7)])
    with engine.session(warm_engine, tmp_path) as spark:
        times = [("ann", dt.datetime(2011, 6, day, hour)) for day, hour in ((3, 12), (4, 0), (7, 23), (8, 0))]
        asked = spark.createDataFrame([*times, ("new", times[0][1])], "user_id string, time timestamp")
        found = as_of(lake.spark(spark, events_table(SETTINGS.source)), asked, "user", SETTINGS).toPandas()
    events_all = found.sort_values(["user_id", "time"])["events_all"].tolist()
    assert events_all == [0, 1, 1, 2, 0], "a day counts once it is over, a late row once its file has come"


def test_a_time_is_of_the_business_day_where_the_business_is(warm_engine: Engine, tmp_path: Path) -> None:
    lake, tokyo = Lake(tmp_path), SETTINGS.source.model_copy(update={"timezone": "Asia/Tokyo"})
    bring(lake, [Event("ann", "A", 3, "b1")])
    with engine.session(warm_engine, tmp_path) as spark:
        asked = spark.createDataFrame([("ann", dt.datetime(2011, 6, 3, 15))], "user_id string, time timestamp")
        here = SETTINGS.model_copy(update={"source": tokyo})
        found = as_of(lake.spark(spark, events_table(tokyo)), asked, "user", here).toPandas()
    assert found["as_of"].tolist() == [dt.date(2011, 6, 3)], "at 15:00 UTC the third is over in Tokyo"


def test_entities_without_a_time_are_refused(warm_engine: Engine, tmp_path: Path) -> None:
    with engine.session(warm_engine, tmp_path) as spark:
        nobody = spark.createDataFrame([], "user_id string, item_id string")
        with pytest.raises(
            ValueError, match="entities lack the column 'time': a user_item at a time is user_id, item_id, time"
        ):
            as_of(nobody, nobody, "user_item", SETTINGS)


def test_a_pairs_cosine_is_over_the_baskets_known_by_then(warm_engine: Engine, tmp_path: Path) -> None:
    history = [
        *MET_TWICE,
        Event("bob", "A", 3, "b1"),  # another user's basket of the same name is another basket
        Event("bob", "C", 3, "b1"),
        Event("bob", "A", 15, "b7"),
        Event("bob", "C", 15, "b7"),
        *[Event("eve", item, 4, "large") for item in "ABCD"],  # larger than 3 items: it says nothing
        Event("ann", "D", 2, "b2", known=25),  # delivered late: a basket of its own
    ]
    lake = Lake(tmp_path)
    bring(lake, history)
    with engine.session(warm_engine, tmp_path) as spark:
        advance(spark, lake, *CUTOFFS)
    found = {
        (str(day)[8:], row.item_id, row.neighbour_id): (row.baskets, row.score)
        for day in CUTOFFS
        for row in tables_as_of(lake, day)["cooccurrence"].itertuples()
    }
    assert set(found) == {(day, *pair) for day in ("10", "20", "30") for pair in ("AB", "BA")} | {
        (day, *pair) for day in ("20", "30") for pair in ("AC", "CA")
    }
    assert found["10", "A", "B"] == (2, pytest.approx(2 / (3 * 2) ** 0.5))
    assert found["20", "A", "B"] == found["20", "B", "A"] == (2, pytest.approx(2 / (4 * 2) ** 0.5))
    assert found["30", "A", "C"] == (2, pytest.approx(2 / (4 * 2) ** 0.5))


def test_an_old_basket_weighs_half_in_co_occurrence(warm_engine: Engine, tmp_path: Path) -> None:
    """With a half-life of 10 days the baskets of the first ten days weigh a quarter of those of the last ten."""
    halving = SETTINGS.model_copy(update={"features": SETTINGS.features.model_copy(update={"half_life_days": 10})})
    days = (1, 2, 21, 22)
    history = [Event("ann", item, day, f"b{day}") for day in days for item in ("A", "B" if day < 10 else "C")]
    lake = Lake(tmp_path)
    bring(lake, history)
    with engine.session(warm_engine, tmp_path) as spark:
        advance(spark, lake, CUTOFFS[-1], settings=halving)
    frame = tables_as_of(lake, CUTOFFS[-1])["cooccurrence"]
    score = {(row.item_id, row.neighbour_id): row.score for row in frame.itertuples()}
    assert score["A", "B"] == pytest.approx(2 / ((2 + 8) * 2) ** 0.5)
    assert score["A", "C"] == pytest.approx(8 / ((2 + 8) * 8) ** 0.5)


def test_a_changed_seed_is_a_changed_history() -> None:
    """The random histories differ, and hold what makes them hard."""
    one, other = a_history(1), a_history(2)
    assert one != other
    assert {event.weight for event in one} >= {1.0, -1.0, 0.0}
    assert any(event.known > event.day for event in one)
