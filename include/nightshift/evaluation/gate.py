"""Whether the night's model may serve. In doubt it may not: what serves today is known to work.

What counts is not the means but what is sure of their difference: over the same users, the lower end of its bootstrap
interval. A model that is a little better by the users' chance does not pass. What each of many promotions may lose does
not add up: what those before have lost counts against the next. It is one mean over all users: for whom a model has got
worse is in its figures by slice (`slices`), which nothing is refused by.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from nightshift.config.settings import Evaluation
from nightshift.evaluation.intervals import Interval, interval

NOTHING = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Verdict:
    """What the gate has decided, and why, with the figures.

    Attributes:
        best_baseline: the one with the highest mean: it serves where there is no worthy challenger and no champion.
        gains: the challenger's over each of the others, by name; `champion` is one.
    """

    accepted: bool
    reasons: tuple[str, ...]
    best_baseline: str
    gains: dict[str, Interval] = field(default_factory=dict)


def judge(
    challenger: pd.DataFrame | None,
    champion: pd.DataFrame | None,
    baselines: Mapping[str, pd.DataFrame],
    settings: Evaluation,
    seed: int,
    no_champion: str = "there is no champion yet",
    untested: bool = False,
    lost_before: float = 0.0,
) -> Verdict:
    """The challenger is accepted if on enough users it surely beats every baseline, and surely loses little or nothing
    against the champion: what its gain is at least, and what was lost before, come to more than `min_gain`.

    Args:
        challenger, champion, baselines: figures a user, see `metrics.by_user`. There is no challenger where nothing
            could be learnt, and no champion before the first promotion.
        no_champion: why there are no figures of one, for the reasons.
        untested: whether there is one all the same, which can serve: then the challenger is refused.
        lost_before: by the promotions up to this champion, 0 or less, see `registry.lost_before`. So, where `min_gain`
            is not above 0, no champion's measured gains over any earlier one come to less than `min_gain`.

    Raises:
        ValueError: there is no baseline to judge by.
    """
    if not baselines:
        raise ValueError("the gate needs a baseline's figures")
    means = {name: _mean(values, settings.metric) for name, values in sorted(baselines.items())}
    best = max(means, key=lambda name: (means[name] if math.isfinite(means[name]) else -math.inf, name))
    if challenger is None:
        return Verdict(False, ("there is no challenger",), best)
    others = {**baselines, **({"champion": champion} if champion is not None else {})}
    gains = {name: _gain(challenger, values, settings, seed) for name, values in others.items()}
    enough = len(challenger) >= settings.min_users
    checks = [(enough, f"tested on {len(challenger)} users, at least {settings.min_users} are asked for")]
    for name in sorted(baselines, key=lambda name: (name != best, name)):
        checks.append(_beats(challenger, name, others[name], gains[name], settings))
    if champion is not None:
        gain, least = gains["champion"], settings.min_gain
        checks.append(_beats(challenger, "the champion", champion, gain, settings, least, lost_before))
    elif untested:
        checks.append((False, no_champion))
    failed = tuple(told for passed, told in checks if not passed)
    without = () if champion is not None or untested else (no_champion,)
    return Verdict(not failed, (*(failed or _shown(checks)), *without), best, gains)


def _shown(checks: list[tuple[bool, str]]) -> list[str]:
    """Of checks that all passed those that say most: the users, the best baseline, and the champion."""
    return [told for number, (_, told) in enumerate(checks) if number < 2 or "the champion" in told]


def _gain(own: pd.DataFrame, other: pd.DataFrame, settings: Evaluation, seed: int) -> Interval:
    """Of one model over another; of not a number where they cannot be compared."""
    if own["user_id"].tolist() != other["user_id"].tolist():
        return NOTHING
    gain = own[settings.metric].to_numpy() - other[settings.metric].to_numpy()
    return interval(gain, seed, settings.confidence)


def _beats(
    own: pd.DataFrame,
    name: str,
    other: pd.DataFrame,
    gain: Interval,
    settings: Evaluation,
    least: float = 0.0,
    lost: float = 0.0,
) -> tuple[bool, str]:
    """Whether gain and what was lost before surely come to more than `least`; where it cannot be told they do not."""
    at = f"{settings.metric}@{settings.k}"
    if gain is NOTHING:
        return False, f"tested on {len(own)} users, {name} on {len(other)} others: not comparable"
    told = f"{at} {_mean(own, settings.metric):.4f} against {_mean(other, settings.metric):.4f} of {name}"
    before = f" after {lost:+.4f} by promotions before" if lost else ""
    return gain.low + lost > least, f"{told}, {gain.signed}{before}; at least more than {least:+g} is asked for"


def _mean(values: pd.DataFrame, metric: str) -> float:
    return float(values[metric].mean(skipna=False)) if len(values) else math.nan
