"""Whether the night's model may serve. In doubt it may not: what serves today is known to work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from nightshift.config.settings import Evaluation

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Verdict:
    """What the gate has decided, and why, with the figures.

    Attributes:
        best_baseline: the one with the highest metric; it serves where there is neither a worthy challenger nor a champion.
    """

    accepted: bool
    reasons: tuple[str, ...]
    best_baseline: str


def judge(
    challenger: Metrics, champion: Metrics | None, baselines: Mapping[str, Metrics], settings: Evaluation
) -> Verdict:
    """The challenger is accepted if it beats the champion by more than `min_gain`, and every baseline, on enough users.

    Args:
        challenger, champion, baselines: means of the metrics over the same users, and how many `users` they are. The
            champion is None on a night before the first promotion.

    Raises:
        ValueError: there is no baseline to judge by.
    """
    if not baselines:
        raise ValueError("the gate needs a baseline's figures")
    name = f"{settings.metric}@{settings.k}"
    own = challenger.get(settings.metric, math.nan)
    figures = {baseline: metrics.get(settings.metric, math.nan) for baseline, metrics in sorted(baselines.items())}
    best = max(figures, key=lambda baseline: (_or_least(figures[baseline]), baseline))
    passed: list[str] = []
    failed: list[str] = []

    users = challenger.get("users", math.nan)
    enough = users >= settings.min_users  # False for NaN, as every comparison here
    told = f"{users:.0f} test users, at least {settings.min_users} are asked for"
    (passed if enough else failed).append(told)
    if not math.isfinite(own):
        failed.append(f"the challenger's {name} is {own}, not a number")
    else:
        ahead = own > figures[best]
        (passed if ahead else failed).append(_against("challenger", own, f"best baseline {best}", figures[best], name))
        broken = [baseline for baseline, figure in figures.items() if not math.isfinite(figure)]
        if broken:
            failed.append(f"the {name} of {', '.join(broken)} is not a number, so nothing can be said against it")
        if champion is not None:
            figure = champion.get(settings.metric, math.nan)
            ahead = own - figure > settings.min_gain
            gain = f"; more than {settings.min_gain:g} is asked for"
            (passed if ahead else failed).append(_against("challenger", own, "champion", figure, name) + gain)
            if champion.get("users", math.nan) != users:
                failed.append(f"champion and challenger were tested on {champion.get('users')} and {users:.0f} users")
        else:
            passed.append("there is no champion yet")
    return Verdict(not failed, tuple(failed or passed), best)


def _against(who: str, own: float, other: str, figure: float, name: str) -> str:
    return f"{name} of the {who} {own:.4f}, of the {other} {figure:.4f} ({own - figure:+.4f})"


def _or_least(value: float) -> float:
    return value if math.isfinite(value) else -math.inf
