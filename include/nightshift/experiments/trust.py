"""Whether an experiment's users are those that chance would have given; if not, nothing they show may be used."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from nightshift.config.settings import Experiment
from nightshift.experiments.observed import Observed
from nightshift.experiments.statistics import sample_ratio

MISMATCH = 0.001  # p-value under which the counts of users are not those of the declared shares
SEVERAL = 0.001  # share of users with several variants that is too many
OTHER_SHARE = 0.03  # between what was declared and what was given: more than the rounding to buckets
OTHER_CHANNEL = 0.01  # share of users who were answered from another channel that is pointed out


@dataclass(frozen=True)
class Group:
    """A variant's users.

    Attributes:
        share: of all users, that it should have.
        users: who were shown it first; `complete` those whose horizon is over.
        weighed: the users, each by what the declared share is to the probability that they were given the variant with.
        otherwise: share of them whose first list came from another channel than the variant's.
    """

    variant: str
    share: float
    users: int
    complete: int
    weighed: float
    otherwise: float


def groups_of(users: pd.DataFrame, experiment: Experiment, last: dt.date) -> tuple[Group, ...]:
    """The declared variants' users; complete are those whose `day` is `last` or before."""
    weights = sum(variant.weight for variant in experiment.variants)
    found = []
    for variant in experiment.variants:
        mine, share = users[users["variant"] == variant.name], variant.weight / weights
        otherwise = float((mine["channel"] != variant.channel).mean()) if experiment.decides and len(mine) else 0.0
        complete, weighed = int((mine["day"] <= last).sum()), float((share / mine["propensity"]).sum())
        found.append(Group(variant.name, share, len(mine), complete, weighed, otherwise))
    return tuple(found)


def ratio_p_value(groups: Sequence[Group]) -> float:
    """Of the counts of users, under the declared shares."""
    return sample_ratio([group.weighed for group in groups], [group.share for group in groups])


def troubles(observed: Observed, groups: Sequence[Group], p_value: float) -> tuple[str, ...]:
    """Why nothing that follows could be believed: a sentence each, with what to look for."""
    told, total = [], sum(group.users for group in groups)
    if p_value < MISMATCH:
        counts = ", ".join(f"{group.variant} {group.users} for {group.share * total:.0f}" for group in groups)
        told.append(
            f"sample ratio mismatch (p = {p_value:.2g}): {counts}. Who is counted depends on the variant: look for "
            "requests, exposures or users that one variant loses"
        )
    if unknown := sorted(set(observed.users["variant"]) - {group.variant for group in groups}):
        told.append(f"users were shown variants that are not declared: {', '.join(unknown)}")
    if observed.several > SEVERAL * (total + observed.several):
        told.append(f"{observed.several} users were shown several variants: was a salt, a name or a slot changed?")
    for group in groups:
        given = observed.users.loc[observed.users["variant"] == group.variant, "propensity"]
        if len(given) and (given - group.share).abs().max() > OTHER_SHARE:
            told.append(
                f"{group.variant} was given with probabilities from {given.min():.3f} to {given.max():.3f}, and "
                f"{group.share:.3f} is declared: weights were changed while it ran"
            )
    return tuple(told)


def notes(observed: Observed, groups: Sequence[Group], min_users: int) -> tuple[str, ...]:
    """What should be known, and does not forbid the use."""
    told = []
    if observed.several:
        told.append(f"{observed.several} users were shown several variants, and are left out.")
    for group in groups:
        if group.otherwise > OTHER_CHANNEL:
            told.append(
                f"{group.otherwise:.1%} of {group.variant}'s users were first answered from another channel than its "
                "own. They count as its users, so what it does is larger than what is seen."
            )
    if (fewest := min(group.complete for group in groups)) < min_users:
        told.append(f"A variant has {fewest} complete users; {min_users} are needed in each before a look counts.")
    return tuple(told)
