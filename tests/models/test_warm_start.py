"""Which model of nights before a first fit may go on from, and what becomes of it."""

from __future__ import annotations

import datetime as dt
import functools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from nightshift.config import Settings
from nightshift.models.fitting import fit
from nightshift.models.two_tower import TwoTower
from nightshift.models.warm_start import encoding, misfit
from tests import shop

AS_OF = shop.RANKER_CUTOFF
QUICK = {"epochs": 1, "refresh_epochs": 1, "validation_days": 0}
STOPPED = {"epochs": 2, "refresh_epochs": 1, "validation_days": 14}


@functools.cache
def fitted() -> TwoTower:
    """A model as of the day. Shared: not to be changed."""
    return fit(shop.snapshots()[0], shop.interactions(), settings())[0]


@functools.cache
def settings() -> Settings:
    return shop.settings(two_tower=QUICK)


def start(**about: Any) -> TwoTower:
    """A model of the evening before, or one of which something else is told."""
    yesterday = AS_OF - dt.timedelta(days=1)
    told = {"as_of": yesterday.isoformat(), "begun": yesterday.isoformat(), "lineage": "events@yesterday"} | about
    return replace(fitted(), about=fitted().about | told)


def against(model: TwoTower, **two_tower: Any) -> str | None:
    """Why not, for a fit with these settings."""
    config = settings().two_tower.model_copy(update=two_tower)
    return misfit(model, AS_OF, "events@yesterday", settings().model_copy(update={"two_tower": config}))


def test_last_nights_model_may_be_gone_on_from():
    assert against(start()) is None
    assert against(start(), checkpoint_steps=7, memory="2GB") is None, "these shape no weight"


@given(st.integers(-40, 40), st.integers(0, 40), st.integers(0, 40))
@budget(max_examples=50, deadline=None)
def test_no_model_that_has_seen_later_days_or_comes_of_too_long_a_chain(behind, longer, restart_days):
    seen = AS_OF - dt.timedelta(days=behind)
    model = start(as_of=seen.isoformat(), begun=(seen - dt.timedelta(days=longer)).isoformat())
    told = against(model, restart_days=restart_days)
    if behind < 0:
        assert told == f"it has learnt from days up to {seen}, and the first fit may know {AS_OF}"
    elif behind + longer >= restart_days:
        assert told is not None
        assert told.endswith(f"and two_tower.restart_days is {restart_days}")
    else:
        assert told is None


@pytest.mark.parametrize(
    ("about", "two_tower", "told"),
    [
        ({}, {"dimension": 8}, "two_tower.dimension was 16, is 8"),
        ({}, {"title_buckets": 64}, "two_tower.title_buckets was 256, is 64"),
        ({"seed": 77}, {}, "seed was 77, is "),
        ({"judged_at": 5}, {}, "evaluation.k was 5, is 10"),
        ({"settings": {}}, {}, "two_tower.accumulate was None, is 1"),
        ({"encoding": "another"}, {}, "reads words or ages in another way"),
        ({"lineage": "others"}, {}, "have been corrected or erased since, or features are defined otherwise"),
        ({"lineage": None}, {}, "have been corrected or erased since, or features are defined otherwise"),
    ],
)
def test_what_was_learnt_otherwise_is_refused_and_it_is_said_why(about, two_tower, told):
    assert told in str(against(start(**about), **two_tower))


def test_how_long_a_list_is_judged_at_decides_what_a_first_fit_learns_so_a_model_says_it():
    long, short = (
        fit(shop.snapshots()[0], shop.interactions(), shop.settings(two_tower=STOPPED, evaluation={"k": k}))[0]
        for k in (10, 1)
    )
    assert long.about["validation"] != short.about["validation"]
    assert (long.about["judged_at"], short.about["judged_at"]) == (10, 1)
    assert misfit(short, AS_OF, short.about["lineage"], shop.settings(two_tower=STOPPED, evaluation={"k": 10})) == (
        "it was fitted with other settings: evaluation.k was 1, is 10"
    )


def test_words_that_fall_into_other_buckets_are_another_encoding(monkeypatch):
    before = encoding(256)
    assert encoding(256) == before != encoding(128)
    monkeypatch.setattr("nightshift.models.attributes.zlib.crc32", lambda word: len(word))
    assert encoding(256) != before


def test_a_chain_knows_its_beginning_and_its_length():
    second, _ = fit(shop.snapshots()[1], shop.interactions(), settings(), warm_start=fitted())
    assert [(model.about["begun"], model.about["refreshes"]) for model in (fitted(), second)] == [
        (AS_OF.isoformat(), 0),
        (AS_OF.isoformat(), 1),
    ]
    with pytest.raises(ValueError, match=f"has seen {shop.TEST_CUTOFF}, the fit may know {AS_OF}"):
        fit(shop.snapshots()[0], shop.interactions(), settings(), warm_start=second)
