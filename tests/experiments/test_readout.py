"""A readout: false alarms are rare under daily looks, a planted lift is found, what must not be used is not told."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from nightshift.config.settings import Experiments
from nightshift.experiments.observed import Observed
from nightshift.experiments.readout import Readout, read_out
from tests.experiments.declared import declared, experiment, layer

FIRST, DAYS, HORIZON = dt.date(2011, 11, 1), 14, 3
LAST = FIRST + dt.timedelta(days=DAYS + HORIZON - 1)


def settings(*variants: str, **values: Any) -> Experiments:
    mine = experiment("mine", 0, 1, *(variants or ("b",)), horizon_days=HORIZON, planned_users=2000, **values)
    return declared(layer("lists", 1, mine), min_users=100)


def users(seed: int, count: int = 2000, lift: float = 0.0, weights: tuple[float, ...] = (1, 1)) -> pd.DataFrame:
    """Users of `control`, `b` and `c`, each with a habit that shows before and after the first exposure."""
    rng = np.random.default_rng(seed)
    names = np.array(["control", "b", "c"][: len(weights)])
    variant = rng.choice(names, count, p=np.array(weights) / sum(weights))
    habit = rng.gamma(1, 1, count)
    buys = rng.random(count) < np.clip(0.3 * habit * np.where(variant == "b", 1 + lift, 1), 0, 1)
    baskets = buys * (1 + rng.poisson(0.3, count))
    start = pd.Timestamp(FIRST, tz="UTC") + pd.to_timedelta(rng.random(count) * DAYS, unit="D")
    return pd.DataFrame(
        {
            "variant": variant,
            "propensity": pd.Series(variant).map(dict(zip(names, np.array(weights) / sum(weights), strict=True))),
            "channel": "current",
            "first": start,
            "done": start + pd.Timedelta(days=HORIZON),
            "conversion": buys.astype(float),
            "value": baskets * rng.lognormal(2, 0.4, count),
            "baskets": baskets.astype(float),
            "lists": rng.poisson(2, count) + 1.0,
            "bought": (buys & (rng.random(count) < 0.5)).astype(float),
            "conversion_before": (rng.random(count) < np.clip(0.5 * habit, 0, 1)).astype(float),
            "value_before": habit * rng.lognormal(2, 0.3, count),
        }
    )


def read(frame: pd.DataFrame, several: int = 0, of: Experiments | None = None, last: dt.date = LAST) -> Readout:
    of = of or settings()
    mine = of.find("mine")
    assert mine
    return read_out(Observed(frame, several), of, mine, FIRST, last, "UTC")


ALL = ["conversion", "value", "value_per_basket", "bought_per_list"]


def test_of_experiments_without_a_difference_few_are_decided_though_somebody_looks_every_day() -> None:
    trials = 40
    decided = 0
    for seed in range(trials):
        found = read(users(seed), of=settings(metrics=ALL))
        assert len(found.results[0].looks) > 10
        decided += found.headline != "Not decided yet"
    assert binom.sf(decided - 1, trials, 0.05) > 0.01, f"{decided} of {trials}"


@pytest.mark.parametrize(("lift", "verdict"), [(0.6, "better"), (-0.5, "worse")])
def test_a_planted_difference_is_found_and_its_sign(lift: float, verdict: str) -> None:
    found = read(users(1, lift=lift), of=settings(metrics=["conversion"]))
    (result,) = found.results
    assert found.verdict(result) == verdict
    assert found.headline == f"conversion of b is {verdict}"
    assert result.single.low < result.difference < result.single.high
    assert result.always.low < result.single.low < result.single.high < result.always.high
    assert 0 not in (round(result.always.low, 3), round(result.always.high, 3))


def test_cuped_takes_variance_away_and_the_difference_stays() -> None:
    plain = users(3, lift=0.3)
    unknown = plain.assign(conversion_before=0.0, value_before=0.0)
    with_it, without = (read(frame, of=settings(metrics=["value"])).results[0] for frame in (plain, unknown))
    assert (with_it.mean, with_it.control) == (without.mean, without.control)
    assert without.variance_taken == 0
    assert without.difference == pytest.approx(without.mean - without.control)
    assert with_it.variance_taken > 0.1
    assert with_it.always.high - with_it.always.low < without.always.high - without.always.low
    assert with_it.detectable < without.detectable


def test_looks_are_a_day_each_and_their_p_value_never_rises() -> None:
    looks = read(users(4, lift=0.3)).results[0].looks
    assert [look.day for look in looks] == sorted({look.day for look in looks})
    assert all(a.p_value >= b.p_value for a, b in pairwise(looks))
    assert looks[-1].users == 2000


def test_users_whose_horizon_is_not_over_do_not_count() -> None:
    frame = users(5)
    early = read(frame, last=FIRST + dt.timedelta(days=HORIZON + 6))
    complete = frame[frame["done"] <= pd.Timestamp(FIRST, tz="UTC") + pd.Timedelta(days=HORIZON + 7)]
    assert sum(group.complete for group in early.groups) == len(complete) < sum(group.users for group in early.groups)
    changed = frame.assign(conversion=frame["conversion"].where(frame.index.isin(complete.index), 1.0))
    assert read(changed, last=early.last).results == early.results


def test_a_day_ends_by_the_sources_clock() -> None:
    frame = users(5, 400).assign(done=pd.Timestamp("2011-06-30T23:30", tz="UTC"))
    mine = settings().find("mine")
    assert mine
    for timezone, complete in (("UTC", True), ("Europe/London", False)):
        found = read_out(Observed(frame, 0), settings(), mine, FIRST, dt.date(2011, 6, 30), timezone)
        assert (found.groups[0].complete > 0) == complete


def test_too_few_users_are_not_looked_at() -> None:
    found = read(users(6, 150))
    assert found.headline == "Too early to look"
    assert all(not result.looks and result.p_adjusted == 1 for result in found.results)
    assert "are needed in each before a look counts" in found.notes[0]
    rare = users(6).assign(conversion=0.0)
    assert read(rare, of=settings(metrics=["conversion"])).headline == "Too early to look"


# what must not be used


def test_a_mismatch_of_the_sample_ratio_forbids_the_use() -> None:
    frame = users(7, 4000, lift=0.6)
    lost = frame.drop(frame.index[(frame["variant"] == "b") & (frame["baskets"] == 0)][:300])
    found = read(lost)
    assert (found.headline, found.results) == ("Do not use this", ())
    assert found.ratio_p < 0.001
    assert found.troubles[0].startswith("sample ratio mismatch (p = ")
    nobody = read(frame[frame["variant"] == "control"])
    assert nobody.troubles


def test_users_of_several_variants_forbid_the_use_where_they_are_many() -> None:
    few, many = read(users(8), several=1), read(users(8), several=100)
    assert not few.troubles
    assert few.notes[0].startswith("1 users were shown several")
    assert "was a salt, a name or a slot changed?" in many.troubles[0]


def test_weights_that_were_changed_forbid_the_use() -> None:
    frame = users(9)
    mixed = frame.assign(propensity=frame["propensity"].where(frame.index < 1000, 0.3))
    assert any("weights were changed while it ran" in told for told in read(mixed).troubles)


def test_a_variant_that_nobody_declared_forbids_the_use() -> None:
    found = read(users(10, weights=(1, 1, 1)))
    assert "users were shown variants that are not declared: c" in found.troubles


def test_the_rounding_of_a_small_ramp_is_no_mismatch() -> None:
    """Of 33 buckets one variant has 17: after 100,000 users chance would not give that."""
    frame = users(11, 100_000, weights=(17, 16))
    assert not read(frame).troubles
    assert read(frame.assign(propensity=0.5)).troubles


def test_three_variants_are_judged_together() -> None:
    found = read(users(12, 3000, weights=(1, 1, 1), lift=0.6), of=settings("b", "c", metrics=["conversion", "value"]))
    assert len(found.results) == 4
    for result in found.results:
        assert result.p_adjusted >= result.p_value
    told = {(result.variant, result.metric): found.verdict(result) for result in found.results}
    assert told["b", "conversion"] == "better"
    assert told["c", "conversion"] == told["c", "value"] == "not decided"


def test_answers_of_another_channel_are_pointed_out() -> None:
    reads = [{"name": "control"}, {"name": "b", "channel": "challenger"}]
    mine = experiment("mine", 0, 1, variants=reads, horizon_days=HORIZON)
    of = declared(layer("lists", 1, mine), channels={"challenger": 7}, min_users=100)
    frame = users(13)
    served = frame.assign(channel=np.where(frame["variant"] == "b", "challenger", "current"))
    assert not read(served, of=of).notes
    half = served.assign(channel=served["channel"].where(served.index % 2 == 0, "current"))
    assert "% of b's users were first answered from another channel" in read(half, of=of).notes[0]
