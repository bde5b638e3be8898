"""Who gets which variant: always the same, in the declared shares, and no experiment moves another's users."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chi2_contingency

from nightshift.config.settings import Experiments
from nightshift.experiments.assignment import Assigner, Assignment
from nightshift.experiments.buckets import BUCKETS
from tests.experiments.declared import declared, experiment, layer

USERS = [f"user-{number}" for number in range(4000)]
SMALL = 1e-6  # of the chance that a sound draw fails its test

shares = st.floats(0, 1)


def everybody(settings: Experiments, surface: str = "home") -> dict[str, Assignment]:
    assign = Assigner(settings).assign
    return {user: assign(user, surface) for user in USERS}


def variants(settings: Experiments, name: str, surface: str = "home") -> dict[str, str]:
    """User -> variant, of those who take part."""
    found = everybody(settings, surface)
    return {user: one.variants[name] for user, one in found.items() if name in one.variants}


def independent(pairs: Counter[tuple[Any, Any]]) -> bool:
    rows, columns = (sorted({pair[side] for pair in pairs}) for side in (0, 1))
    return chi2_contingency([[pairs[row, column] for column in columns] for row in rows]).pvalue > SMALL


def as_likely(count: int, of: int, share: float) -> bool:
    return bool(min(binom.cdf(count, of, share), binom.sf(count - 1, of, share)) > SMALL)


# always the same


def test_a_known_user_gets_for_ever_what_they_got_when_this_was_written() -> None:
    """A change of the hash would move every user of every company."""
    found = everybody(declared(layer("lists", 3, experiment("ranker", 0, 0.8)), holdout=0.1))
    told = [[*found[user].variants.values(), *found[user].holdouts, "-"][0] for user in USERS[:8]]
    assert " ".join(told) == GOLDEN


GOLDEN = "treatment control - control treatment control control treatment"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
@settings(max_examples=50, deadline=None)
def test_any_id_is_assigned_and_always_the_same(user: str) -> None:
    first, again = (assigner.assign(user, "home") for assigner in (WIDE, WIDE_AGAIN))
    assert (first.variants, first.holdouts) == (again.variants, again.holdouts)
    assert first.variants or first.holdouts


WIDE, WIDE_AGAIN = (Assigner(declared(layer("lists", 1, experiment("wide", 0, 0.9), holdout=0.1))) for _ in range(2))


@given(shares, shares, st.floats(0.1, 10), st.integers(0, 3))
@settings(max_examples=15, deadline=None)
def test_a_higher_ramp_adds_users_and_moves_none(one: float, other: float, weight: float, number: int) -> None:
    def at(ramp: float) -> dict[str, str]:
        chosen = experiment(f"x{number}", 0.2, 0.5, "b", "c", ramp=ramp)
        chosen["variants"][1]["weight"] = weight
        return variants(declared(layer("lists", 1, chosen)), f"x{number}")

    low, high = at(min(one, other)), at(max(one, other))
    assert low.items() <= high.items()
    assert at(1).items() >= high.items()


# in the declared shares


@given(shares, shares, st.lists(st.floats(0.05, 1), min_size=2, max_size=4), st.integers(0, 9))
@settings(max_examples=15, deadline=None)
def test_shares_are_as_declared(ramp: float, high: float, weights: list[float], number: int) -> None:
    high = max(high, 0.05)
    chosen = experiment(f"x{number}", 0, high, *"abc"[: len(weights) - 1], ramp=ramp)
    for variant, weight in zip(chosen["variants"], weights, strict=True):
        variant["weight"] = weight
    found = Counter(variants(declared(layer("lists", 1, chosen)), f"x{number}").values())
    for variant in chosen["variants"]:
        share = high * ramp * variant["weight"] / sum(weights)
        assert as_likely(found[variant["name"]], len(USERS), min(1, share + 2 / BUCKETS)) or as_likely(
            found[variant["name"]], len(USERS), max(0, share - 2 / BUCKETS)
        )


def test_propensities_are_the_weights() -> None:
    chosen = experiment("x", 0, 0.9, "b", ramp=0.3)
    chosen["variants"][1]["weight"] = 3
    for found in everybody(declared(layer("lists", 1, chosen))).values():
        if found.variants:
            expected = {"control": 0.25, "b": 0.75}[found.variants["x"]]
            assert found.propensities["x"] == pytest.approx(expected, abs=1e-3)


# holdouts


@given(shares, shares)
@settings(max_examples=6, deadline=None)
def test_who_is_held_out_is_in_no_experiment(everywhere: float, here: float) -> None:
    here = min(here, 0.9)
    lists = layer("lists", 1, experiment("x", 0, 1 - here), holdout=here)
    found = everybody(declared(lists, layer("page", 2, experiment("y", 0, 1)), holdout=everywhere))
    held = Counter(name for one in found.values() for name in one.holdouts)
    assert as_likely(held["global"], len(USERS), everywhere)
    for one in found.values():
        assert one.enrolled
        if "global" in one.holdouts:
            assert (one.variants, one.holdouts, one.channel) == ({}, ("global",), "current")
        else:
            assert ("lists" in one.holdouts) != ("x" in one.variants)
            assert "y" in one.variants


# independence


def test_layers_are_independent_of_each_other_and_of_the_global_holdout() -> None:
    layers = [layer(f"l{lane}", lane, experiment(f"x{lane}", 0, 1, "b", "c")) for lane in (1, 2, 15)]
    found = everybody(declared(*layers, holdout=0.3)).values()
    for one, other in ((1, 2), (1, 15), (2, 15)):
        assert independent(Counter((g.variants[f"x{one}"], g.variants[f"x{other}"]) for g in found if g.variants))
    alone = variants(declared(layers[0]), "x1")
    held = everybody(declared(*layers, holdout=0.3))
    assert independent(Counter((alone[user], bool(one.holdouts)) for user, one in held.items()))


def test_the_next_experiment_of_a_slot_draws_its_users_anew() -> None:
    before, after = (variants(declared(layer("lists", 1, experiment(name, 0, 0.8))), name) for name in ("old", "new"))
    assert before.keys() == after.keys()
    assert independent(Counter((before[user], after[user]) for user in before))


def test_another_salt_draws_everything_anew() -> None:
    one, other = (variants(declared(layer("l", 1, experiment("x", 0, 1)), salt=salt), "x") for salt in "ab")
    assert independent(Counter((one[user], other[user]) for user in USERS))


MINE = experiment("mine", 0.1, 0.4, "b")
CHANGES = {
    "another experiment comes": [layer("lists", 1, MINE, experiment("new", 0.4, 0.7))],
    "it stands elsewhere in the file": [layer("page", 2), layer("lists", 1, experiment("a", 0, 0.1), MINE)],
    "another layer comes": [layer("page", 2, experiment("new", 0, 1)), layer("lists", 1, MINE)],
    "its layer gets a holdout": [layer("lists", 1, MINE, holdout=0.5)],
    "its layer gets another name": [layer("renamed", 1, MINE)],
    "another one's weights and ramp": [layer("lists", 1, MINE, experiment("new", 0.4, 0.9, "z", ramp=0.1))],
}


@pytest.mark.parametrize("layers", CHANGES.values(), ids=CHANGES.keys())
def test_no_other_change_moves_a_user(layers: list[dict[str, Any]]) -> None:
    assert variants(declared(*layers), "mine") == variants(declared(layer("lists", 1, MINE)), "mine")


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("everywhere", [0.0, 0.2])
def test_a_user_gets_in_each_of_many_layers_what_they_would_get_in_it_alone(count: int, everywhere: float) -> None:
    layers = [layer(f"l{n}", n, experiment(f"x{n}", 0, 0.3), experiment(f"y{n}", 0.3, 0.5, "b", "c"), holdout=0.1)
              for n in range(1, count + 1)]  # fmt: skip
    together = everybody(declared(*layers, holdout=everywhere))
    alone = [everybody(declared(one)) for one in layers]
    for user, found in list(together.items())[:500]:
        if found.holdouts != ("global",):
            assert found.variants == {name: v for one in alone for name, v in one[user].variants.items()}
            assert found.holdouts == tuple(name for one in alone for name in one[user].holdouts)


# where, and what


def test_an_experiment_runs_on_its_surfaces_and_a_user_gets_the_same_on_all() -> None:
    settings = declared(layer("lists", 1, experiment("x", surfaces=["home", "mail"]), experiment("y", 0.5, 1)))
    assert variants(settings, "x", "home") == variants(settings, "x", "mail") != {}
    assert variants(settings, "x", "app") == {}
    assert variants(settings, "y", "app") == variants(settings, "y", "home")


def test_nobody_is_enrolled_where_nothing_runs() -> None:
    only_mail = experiment("x", surfaces=["mail"])
    found = Assigner(declared(layer("lists", 1, only_mail, holdout=0.5), holdout=0.5)).assign("1", "home")
    assert (found.variant, found.channel, found.json, found.enrolled) == ("control", "current", b"{}", False)


def test_the_experiment_that_has_channels_says_which_run_is_read() -> None:
    reads = experiment("ranker", 0, 1) | {"variants": [{"name": "control"}, {"name": "new", "channel": "challenger"}]}
    layers = layer("page", 1, experiment("colour", 0, 1, "blue")), layer("lists", 2, reads)
    found = everybody(declared(*layers, channels={"challenger": "7"})).values()
    assert {(g.variants["ranker"], g.variant, g.channel) for g in found} == {
        ("control", "control", "current"),
        ("new", "new", "challenger"),
    }
    jsons = {b'{"colour":"%s","ranker":"%s"}' % pair for pair in product((b"control", b"blue"), (b"control", b"new"))}
    assert {g.json for g in found} == jsons
