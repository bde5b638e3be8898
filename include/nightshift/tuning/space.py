"""What is searched: which settings, their ranges, and in which order. Nowhere else is a range written down.

The search goes through the stages, the cheap ones first, and moves one section's settings at a time from the best that
was found; then it begins again. What is left out, and why: docs/tuning.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from nightshift.config import Settings

Values = Mapping[str, int | float]
"""Settings by their keys: `ranker.leaves`."""


class UselessError(ValueError):
    """Under these settings there is nothing that a model could learn."""


@dataclass(frozen=True)
class Range:
    """Between what a setting is looked for, both included; whole numbers where the setting is one.

    Attributes:
        key: section and name.
        log: whether doublings count alike, else steps.
    """

    key: str
    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Stage:
    """Settings that are searched together, the others staying as they are.

    Attributes:
        trials: in one round.
    """

    name: str
    trials: int
    ranges: tuple[Range, ...]


STAGES = (
    Stage(  # the vectors and the candidates are made once for all its trials
        "ranker",
        16,
        (
            Range("ranker.trees", 50, 600, log=True),
            Range("ranker.leaves", 7, 63, log=True),
            Range("ranker.learning_rate", 0.01, 0.2, log=True),
            Range("ranker.min_leaf", 20, 500, log=True),
            Range("ranker.l2", 0.1, 100, log=True),
            Range("ranker.feature_share", 0.3, 1),
            Range("ranker.user_share", 0.4, 1),
        ),
    ),
    Stage(  # the vectors once
        "candidates",
        10,
        (
            Range("candidates.two_tower", 20, 300, log=True),
            Range("candidates.graph_filter", 20, 300, log=True),
            Range("candidates.cooccurrence", 10, 200, log=True),
            Range("candidates.repeat", 20, 300, log=True),
            Range("candidates.trending", 10, 200, log=True),
        ),
    ),
    Stage(  # one factorisation each
        "graph_filter",
        12,
        (
            Range("graph_filter.dimension", 32, 1536, log=True),
            Range("graph_filter.half_life_days", 7, 720, log=True),
            Range("graph_filter.user_degree", 0, 0.8),
            Range("graph_filter.item_degree", 0, 0.8),
            Range("graph_filter.history", 0, 1),
            Range("graph_filter.popularity", 0, 1),
            Range("graph_filter.slope", -0.5, 1.5),
            Range("graph_filter.noise", 0, 1),
            Range("graph_filter.sharpening", 0, 1),
        ),
    ),
    Stage(  # one training each
        "two_tower",
        8,
        (
            Range("two_tower.dimension", 16, 512, log=True),
            Range("two_tower.epochs", 2, 32, log=True),
            Range("two_tower.batch_baskets", 32, 1024, log=True),
            Range("two_tower.learning_rate", 5e-4, 0.05, log=True),
            Range("two_tower.temperature", 0.03, 0.5, log=True),
            Range("two_tower.half_life_days", 14, 720, log=True),
        ),
    ),
)


def open_to_search(stages: Sequence[Stage], settings: Settings) -> tuple[Stage, ...]:
    """The stages without what is set to a value beyond its range: whoever has done that, means it.

    Raises:
        UselessError: nothing is left.
    """
    found = []
    for stage in stages:
        held = values_of(settings, [each.key for each in stage.ranges])
        if ranges := tuple(each for each in stage.ranges if each.low <= held[each.key] <= each.high):
            found.append(replace(stage, ranges=ranges))
    if not found:
        raise UselessError("every setting of the space is set to a value beyond its range: there is nothing to search")
    return tuple(found)


def values_of(settings: Settings, keys: Sequence[str]) -> dict[str, int | float]:
    """The settings of these keys.

    Raises:
        AttributeError: there is no such key.
    """
    found = {}
    for key in keys:
        section, name = key.split(".")
        found[key] = getattr(getattr(settings, section), name)
    return found


def overridden(settings: Settings, overrides: Values) -> Settings:
    """The settings with these in the place of their own.

    Raises:
        ValueError: a key that there is not, or a value that its section refuses.
    """
    by_section: dict[str, dict[str, int | float]] = {}
    for key, value in overrides.items():
        section, _, name = key.partition(".")
        by_section.setdefault(section, {})[name] = value
    if unknown := by_section.keys() - Settings.model_fields.keys():
        raise ValueError(f"there are no settings under {', '.join(sorted(unknown))}")
    changed = {}
    for section, values in by_section.items():
        old = getattr(settings, section)
        changed[section] = type(old).model_validate({**old.model_dump(), **values})
    return settings.model_copy(update=changed)
