"""The space names real settings, and the ones that are shipped lie in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nightshift.tuning.space import STAGES, Range, Stage, UselessError, open_to_search, overridden, values_of
from tests import shop

KEYS = [each.key for stage in STAGES for each in stage.ranges]


def test_every_setting_is_searched_once_and_its_default_lies_in_its_range():
    assert len(KEYS) == len(set(KEYS))
    defaults = {section: type(getattr(shop.settings(), section))() for section in {key.split(".")[0] for key in KEYS}}
    for each in (each for stage in STAGES for each in stage.ranges):
        section, name = each.key.split(".")
        assert each.low <= getattr(defaults[section], name) <= each.high, each.key


def test_every_setting_of_the_sections_is_searched_or_the_page_says_why_not():
    page = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text(encoding="utf-8")
    rows = page.partition("Left out of these sections are:")[2].partition("\nAnd whole sections")[0].splitlines()
    left_out = [key for row in rows for key in re.findall(r"`(\w+\.\w+)`", row.split("|")[1] if "|" in row else "")]
    sections = {section: getattr(shop.settings(), section) for section in {key.split(".")[0] for key in KEYS}}
    there = [f"{name}.{field}" for name, section in sections.items() for field in type(section).model_fields]
    assert sorted(KEYS + left_out) == sorted(there)


def test_both_ends_of_every_range_are_settings():
    for end in ("low", "high"):
        held = values_of(shop.settings(), KEYS)
        wanted = {each.key: getattr(each, end) for stage in STAGES for each in stage.ranges}
        values = {key: type(held[key])(value) for key, value in wanted.items()}
        assert values_of(overridden(shop.settings(), values), KEYS) == values


def test_what_is_set_beyond_its_range_is_left_alone():
    stages = open_to_search(STAGES, shop.settings(candidates={"trending": 0}, two_tower={"dimension": 16}))
    left = {each.key for stage in stages for each in stage.ranges}
    assert set(KEYS) - left == {"candidates.trending", "graph_filter.dimension"} | {
        f"candidates.{source}" for source in ("two_tower", "graph_filter")
    }, "of the small shop's, some are smaller than is searched"
    with pytest.raises(UselessError, match="nothing to search"):
        open_to_search([Stage("ranker", 4, (Range("ranker.leaves", 1000, 2000),))], shop.settings())


def test_overrides_change_what_they_name_and_nothing_else():
    before = shop.settings()
    after = overridden(before, {"ranker.leaves": 7, "ranker.l2": 0.5, "candidates.repeat": 3})
    assert (after.ranker.leaves, after.ranker.l2, after.candidates.repeat) == (7, 0.5, 3)
    assert after.folder == before.folder
    back = {key: values_of(before, [key])[key] for key in ("ranker.leaves", "ranker.l2", "candidates.repeat")}
    assert overridden(after, back) == before


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"ranker.leafs": 7}, "leafs"),
        ({"rankers.leaves": 7}, "no settings under rankers"),
        ({"ranker.leaves": 0}, "greater than 0"),
    ],
)
def test_what_is_no_setting_is_refused(overrides, told):
    with pytest.raises(ValueError, match=told):
        overridden(shop.settings(), overrides)
