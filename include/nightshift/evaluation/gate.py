"""Whether the night's model may serve. In doubt it may not: what serves today is known to work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from nightshift.config.settings import Evaluation
from nightshift.evaluation.metrics import Metrics


@dataclass(frozen=True)
class Verdict:
    """What the gate has decided, and why, with the figures.

    Attributes:
        best_baseline: the one with the highest metric: it serves where there is no worthy challenger and no champion.
    """

    accepted: bool
    reasons: tuple[str, ...]
    best_baseline: str


def judge(
    challenger: Metrics | None,
    champion: Metrics | None,
    baselines: Mapping[str, Metrics],
    settings: Evaluation,
    no_champion: str = "there is no champion yet",
) -> Verdict:
    """The challenger is accepted if on enough users it beats every baseline, and the champion by more than `min_gain`.

    Args:
        challenger, champion, baselines: means of the metrics over the same users, and how many `users` they are. There
            is no challenger where nothing could be learnt, and no champion before the first promotion.
        no_champion: why there is none, for the reasons.

    Raises:
        ValueError: there is no baseline to judge by.
    """
    if not baselines:
        raise ValueError("the gate needs a baseline's figures")
    figures = {name: _figure(metrics, settings.metric) for name, metrics in sorted(baselines.items())}
    best = max(figures, key=lambda name: (figures[name] if math.isfinite(figures[name]) else -math.inf, name))
    if challenger is None:
        return Verdict(False, ("there is no challenger",), best)
    checks = [_enough_users(challenger, champion, settings)]
    unknown = [name for name, figure in figures.items() if not math.isfinite(figure)]
    checks += [_beats(challenger, name, baselines[name], settings, 0.0) for name in dict.fromkeys([best, *unknown])]
    if champion is not None:
        checks.append(_beats(challenger, "the champion", champion, settings, settings.min_gain))
    failed = tuple(told for passed, told in checks if not passed)
    without = () if champion is not None else (no_champion,)
    return Verdict(not failed, (*(failed or [told for _, told in checks]), *without), best)


def _enough_users(challenger: Metrics, champion: Metrics | None, settings: Evaluation) -> tuple[bool, str]:
    users = _figure(challenger, "users")
    if champion is not None and _figure(champion, "users") != users:
        return False, f"tested on {users:g} users, the champion on {_figure(champion, 'users'):g}: not comparable"
    return users >= settings.min_users, f"tested on {users:g} users, at least {settings.min_users} are asked for"


def _beats(challenger: Metrics, name: str, other: Metrics, settings: Evaluation, gain: float) -> tuple[bool, str]:
    """Whether the metric is more than `gain` above another model's; a figure that is missing or not a number fails."""
    own, figure = _figure(challenger, settings.metric), _figure(other, settings.metric)
    told = f"{settings.metric}@{settings.k} {own:.4f} against {figure:.4f} of {name} ({own - figure:+.4f})"
    return own - figure > gain, told + (f", more than {gain:+g} is asked for" if gain else "")


def _figure(metrics: Metrics, name: str) -> float:
    value = metrics.get(name)
    return math.nan if value is None else float(value)
