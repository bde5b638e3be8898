"""Which states stand after what has happened, and what is built upon what."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from nightshift.features.lineage import Lineage, Plan, State, forget, layers, load_states, record
from nightshift.lake import Lake
from nightshift.runs import StepError


def day(number: int) -> dt.date:
    return dt.date(2011, 6, 1) + dt.timedelta(days=number - 1)


CONTENTS = {day(n): f"content {n}" for n in range(1, 11)}


def lineage(states: list[State], contents: dict[dt.date, str] = CONTENTS, definitions: str = "v1") -> Lineage:
    return Lineage(states, contents, definitions)


def built(*numbers: int, contents: dict[dt.date, str] = CONTENTS) -> list[State]:
    """States of these days, each upon the one before."""
    now = lineage([], contents)
    based_on = [None, *[day(n) for n in numbers]]
    return [State(day(n), now.of(day(n)), on) for n, on in zip(numbers, based_on, strict=False)]


def test_a_night_builds_upon_the_night_before() -> None:
    assert lineage(built(1, 2, 3)).plans([day(1), day(4)]) == [Plan(day(3), (day(4),))]


def test_with_no_state_all_is_built_from_the_events_each_day_upon_the_one_before() -> None:
    plan = lineage([]).plans([day(7), day(3)])[0]
    assert plan.states == {day(3): None, day(7): day(3)}


def test_each_day_is_built_upon_the_newest_state_before_it() -> None:
    """As after a rebuild, when the cut-offs of the next night all lie a day after those that stand."""
    plans = lineage(built(2, 5, 8)).plans([day(3), day(6), day(9), day(10)])
    assert plans == [Plan(day(2), (day(3),)), Plan(day(5), (day(6),)), Plan(day(8), (day(9), day(10)))]


def test_what_stands_is_not_built_again() -> None:
    assert lineage(built(3, 7, 10)).plans([day(3), day(7), day(10)]) == []


def test_a_rebuild_builds_all_that_is_wanted_upon_nothing() -> None:
    assert lineage(built(3, 7)).plans([day(3), day(7)], rebuild=True) == [Plan(None, (day(3), day(7)))]


def test_states_expire_that_no_younger_one_is_based_on() -> None:
    merged = [State(day(6), lineage([]).of(day(6)), None), State(day(8), lineage([]).of(day(8)), day(6))]
    states = [*built(1, 2, 4), *merged]
    assert lineage(states).expired(before=day(8)) == [day(1), day(2), day(4)], "8 lies upon 6"
    assert lineage(states).expired(before=day(4)) == [], "4 lies upon 2, and that upon 1"


def test_a_base_that_is_off_the_record_is_named() -> None:
    with pytest.raises(StepError, match="features as of 2011-06-05 build upon 2011-06-03, which"):
        lineage(built(3, 5)[1:]).chain(day(5))


def test_a_corrected_day_makes_its_night_and_the_later_ones_stale_and_no_other() -> None:
    now = lineage(built(3, 4, 5, 6), CONTENTS | {day(5): "corrected"})
    assert now.stale() == [day(5), day(6)]
    assert now.plans([day(6)]) == [Plan(day(4), (day(6),))]


def test_a_day_that_comes_late_or_is_lost_makes_nights_stale() -> None:
    late = {d: c for d, c in CONTENTS.items() if d != day(4)}
    assert lineage(built(3, 5, contents=late)).stale() == [day(5)]
    assert lineage(built(3, 5), late).stale() == [day(5)]


def test_news_of_later_days_changes_nothing() -> None:
    assert lineage(built(3, 5), CONTENTS | {day(11): "new"}).stale() == []


def test_changed_definitions_make_every_night_stale() -> None:
    assert lineage(built(3, 5), definitions="v2").stale() == [day(3), day(5)]


def test_a_state_whose_base_was_built_under_other_definitions_does_not_stand() -> None:
    """The definitions were changed and changed back, and only the base was built in between."""
    base = lineage([], definitions="v2").of(day(3))
    states = [State(day(3), base, None), built(3, 5)[1]]
    assert lineage(states).stale() == [day(3), day(5)]


def test_a_base_that_is_gone_takes_along_what_is_based_on_it() -> None:
    assert lineage(built(3, 5)[1:]).stale() == [day(5)]


def test_the_same_events_have_one_lineage_on_whatever_path() -> None:
    assert built(3, 7)[-1].lineage == built(1, 2, 7)[-1].lineage
    assert built(3)[-1].lineage != built(4)[-1].lineage


def test_the_chain_of_layers_goes_down_to_the_full_one() -> None:
    assert layers(built(1, 2, 5), day(5)) == [day(5), day(2), day(1)]


def test_the_record_is_kept_by_day_and_can_be_forgotten(tmp_path: Path) -> None:
    lake, states = Lake(tmp_path), built(1, 2, 3)
    assert load_states(lake) == []
    for state in states:
        version = record(lake, [state])
    forget(lake, [day(3), day(9)])
    assert sorted(load_states(lake), key=lambda s: s.run_date) == states[:2]
    assert len(load_states(lake, version)) == 3, "an earlier version still has it"
