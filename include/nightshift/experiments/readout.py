"""What an experiment has shown so far, and whether it may be used at all.

A user is complete when the horizon after the first exposure has passed: then the figures change no more. The users who
are complete on a day are that day's look. All looks are taken, as of somebody who looks every morning, and the p-values
hold for that (`sequential`); the intervals for one look at the end are given beside them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pandas as pd

from nightshift.config.settings import CONTROL, Experiment, Experiments
from nightshift.experiments.comparison import Result, compare
from nightshift.experiments.observed import Observed
from nightshift.experiments.sequential import Sequence
from nightshift.experiments.statistics import holm
from nightshift.experiments.trust import Group, groups_of, notes, ratio_p_value, troubles


@dataclass(frozen=True)
class Readout:
    """A readout.

    Attributes:
        troubles: why it must not be used; then there are no results.
        notes: what should be known.
    """

    experiment: str
    first: dt.date
    last: dt.date
    confidence: float
    horizon_days: int
    planned_users: int
    groups: tuple[Group, ...]
    ratio_p: float
    troubles: tuple[str, ...]
    notes: tuple[str, ...]
    results: tuple[Result, ...] = ()

    def verdict(self, result: Result) -> str:
        """better, worse, or not decided."""
        if result.p_adjusted > 1 - self.confidence:
            return "not decided"
        return "better" if result.difference > 0 else "worse"

    @property
    def headline(self) -> str:
        if self.troubles:
            return "Do not use this"
        told = [(result, self.verdict(result)) for result in self.results]
        if decided := [f"{one.metric} of {one.variant} is {said}" for one, said in told if said != "not decided"]:
            return "; ".join(decided)
        return "Not decided yet" if any(result.looks for result in self.results) else "Too early to look"


def read_out(
    observed: Observed, settings: Experiments, experiment: Experiment, first: dt.date, last: dt.date, timezone: str
) -> Readout:
    """The readout over the exposures of the days from `first` to `last`, with the events that are known by `last`."""
    users = observed.users.assign(day=_complete_on(observed.users["done"], timezone))
    groups = groups_of(users, experiment, last)
    ratio_p = ratio_p_value(groups)
    found = troubles(observed, groups, ratio_p)
    return Readout(
        experiment=experiment.name,
        first=first,
        last=last,
        confidence=settings.confidence,
        horizon_days=experiment.horizon_days,
        planned_users=experiment.planned_users,
        groups=groups,
        ratio_p=ratio_p,
        troubles=found,
        notes=notes(observed, groups, settings.min_users),
        results=() if found else tuple(_results(users[users["day"] <= last], settings, experiment)),
    )


def _results(users: pd.DataFrame, settings: Experiments, experiment: Experiment) -> Iterator[Result]:
    sequence = Sequence(1 - settings.confidence, experiment.planned_users)
    others = [variant.name for variant in experiment.variants if variant.name != CONTROL]
    asked = [(name, metric) for name in others for metric in experiment.metrics]
    found = [compare(users, name, metric, sequence, settings) for name, metric in asked]
    for result, p_value in zip(found, holm([result.p_value for result in found]), strict=True):
        yield replace(result, p_adjusted=p_value)


def _complete_on(done: pd.Series, timezone: str) -> pd.Series:
    """The day at whose end everything before these times is known."""
    before = pd.to_datetime(done, utc=True) - pd.Timedelta(microseconds=1)
    return before.dt.tz_convert(timezone).dt.date
