"""The plan and its simulation are held to what queues and caches are known to do."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.capacity.__main__ import arguments, asked, main, table
from benchmarks.capacity.measured import Measured, measured
from benchmarks.capacity.plan import RUNS_ON_DISK, bill, plan
from benchmarks.capacity.popularity import Popularity
from benchmarks.capacity.queues import erlang_c, mg1_wait, mm1_quantile, mmc_wait
from benchmarks.capacity.scenarios import Effort, Group, play
from benchmarks.capacity.simulation import Cell, Failure, Outcome, degraded, quantile, simulate
from nightshift.client.retries import LISTS

MILLION = ["--users", "1e9", "--qps", "1e6", "--out", "figures"]
DEMAND, MACHINE, PRICES = asked(arguments().parse_args(MILLION))
SERVICE = 0.001


def wait(outcome: Outcome) -> float:
    """The mean time in a queue, the service's own taken off."""
    return float(outcome.took[len(outcome.took) // 10 :].mean()) - SERVICE


@pytest.mark.parametrize(("servers", "load", "expected"), [(1, 0.7, 0.7), (2, 1.0, 1 / 3), (10, 8.0, 0.409)])
def test_erlang_c_is_that_of_the_tables(servers: int, load: float, expected: float) -> None:
    assert erlang_c(servers, load) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(("servers", "busy"), [(1, 0.5), (1, 0.8), (4, 0.8), (16, 0.9)])
def test_the_simulation_waits_as_mmc_does(servers: int, busy: float) -> None:
    rate = busy * servers / SERVICE
    cell = Cell(replicas=1, workers=servers, rate=rate, cpu=SERVICE, variation=1.0, share=True)
    outcome = simulate(cell, 200_000 / rate, seed=3)
    assert wait(outcome) == pytest.approx(mmc_wait(rate, SERVICE, servers), rel=0.12)
    assert float(outcome.busy[0]) == pytest.approx(busy, rel=0.02)


def test_workers_with_queues_of_their_own_are_so_many_mm1() -> None:
    """Random among 2 replicas of 4 workers: each is M/M/1 with an eighth of the rate."""
    cell = Cell(replicas=2, workers=4, rate=8 * 0.6 / SERVICE, cpu=SERVICE, variation=1.0)
    outcome = simulate(cell, 60, seed=4)
    for share in (0.5, 0.9, 0.99):
        expected = mm1_quantile(0.6 / SERVICE, SERVICE, share)
        assert quantile(outcome.took, share) == pytest.approx(expected, rel=0.04)


@pytest.mark.parametrize("variation", [0.0, 0.5, 1.5])
def test_the_simulation_waits_as_pollaczek_and_khinchine_say(variation: float) -> None:
    cell = Cell(replicas=1, workers=1, rate=0.7 / SERVICE, cpu=SERVICE, variation=variation)
    expected = mg1_wait(0.7 / SERVICE, SERVICE, variation)
    assert wait(simulate(cell, 300, seed=5)) == pytest.approx(expected, rel=0.08)


def test_littles_law_holds_at_moments_of_any_kind() -> None:
    """The number of requests in the system, counted now and then, is their rate times the time each is there."""
    cell = Cell(replicas=3, workers=2, rate=6 * 0.8 / SERVICE, cpu=SERVICE, read=SERVICE / 4, misses=half)
    outcome = simulate(cell, 30, seed=6)
    gone = np.sort(outcome.at + outcome.took)
    moments = np.random.default_rng(0).uniform(5, 29, 20_000)
    present = np.searchsorted(outcome.at, moments, "right") - np.searchsorted(gone, moments, "right")
    assert present.mean() == pytest.approx(cell.rate * outcome.took.mean(), rel=0.03)


def half(replica: int, at: np.ndarray) -> np.ndarray:
    return np.full_like(at, 0.5)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.05, 0.85), st.floats(0.05, 0.85))
def test_more_requests_never_make_answers_quicker(one: float, other: float) -> None:
    less, more = sorted((one, other))
    means = [
        simulate(Cell(replicas=1, workers=1, rate=busy / SERVICE, cpu=SERVICE), 20, seed=7).took.mean()
        for busy in (less, more)
    ]
    assert means[0] <= means[1] * (1 + 0.15 * (1 - less))  # other requests come: the same but for chance


def test_the_same_seed_is_the_same_and_another_is_another() -> None:
    cell = Cell(replicas=2, workers=2, rate=2000, cpu=SERVICE, read=SERVICE, misses=half)
    first, again, other = (simulate(cell, 2, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.took, again.took)
    assert not np.array_equal(first.took[:100], other.took[:100])


def losing(replicas: set[int], how: str, noticed: float = 3.0) -> tuple[Cell, Outcome]:
    failure = Failure(2.0, frozenset(replicas), how, noticed)  # type: ignore[arg-type]
    cell = Cell(replicas=6, workers=2, rate=12 * 0.3 / SERVICE, cpu=SERVICE, failure=failure)
    return cell, simulate(cell, 8, seed=8, busy_from=5.0)


def test_a_silent_zone_costs_who_meets_it_twice_and_nobody_once_it_is_noticed() -> None:
    """A ninth, of 3 zones: whose first and second try both fell silent, and the second before it was noticed."""
    _, outcome = losing({0, 1}, "silent")
    assert degraded(outcome.of(0, 1.9)) == 0
    assert degraded(outcome.of(2, 5 - LISTS.attempt)) == pytest.approx(1 / 9, rel=0.05)
    assert degraded(outcome.of(5, 8)) == 0
    assert outcome.busy[:2].tolist() == [0, 0]
    assert outcome.busy[2:] == pytest.approx([0.45] * 4, rel=0.05), "the others take its load"


def test_connections_that_are_refused_cost_a_moment_and_no_answer() -> None:
    _, outcome = losing({0}, "refused")
    assert degraded(outcome.took) == 0
    assert len(outcome.took) < outcome.tries < 1.2 * len(outcome.took)
    assert quantile(outcome.of(2, 5), 0.99) > quantile(outcome.of(0, 2), 0.99)


def test_what_was_under_way_when_a_machine_failed_is_asked_again() -> None:
    failure = Failure(1.0, frozenset({0}), "refused", noticed_after=0.0)
    cell = Cell(replicas=2, workers=1, rate=2 * 0.9 / SERVICE, cpu=SERVICE, failure=failure)
    outcome = simulate(cell, 1.0, seed=9)
    assert np.isfinite(outcome.took).all()
    assert outcome.tries > len(outcome.took)


@pytest.mark.parametrize("exponent", [0.0, 0.8, 1.0, 1.3])
def test_probabilities_are_of_all_users(exponent: float) -> None:
    counts, p = Popularity(1e6, exponent).ranks()
    assert counts.sum() == pytest.approx(1e6)
    assert counts @ p == pytest.approx(1)
    assert (np.diff(p) <= 1e-15).all()


@pytest.mark.parametrize(("exponent", "pages"), [(0.8, 500), (0.8, 4000), (1.1, 1000)])
def test_misses_are_those_of_a_cache_that_keeps_what_was_used_last(exponent: float, pages: int) -> None:
    users, requests = 10_000, 200_000
    p = np.arange(1, users + 1) ** -exponent
    cache: OrderedDict[int, None] = OrderedDict()
    missed = 0
    for number, user in enumerate(np.random.default_rng(1).choice(users, requests, p=p / p.sum()).tolist()):
        if user in cache:
            cache.move_to_end(user)
            continue
        missed += number >= requests // 2  # the first half fills it
        cache[user] = None
        if len(cache) > pages:
            cache.popitem(last=False)
    found = Popularity(users, exponent).misses(rate=123.0, pages=pages)
    assert found == pytest.approx(missed / (requests / 2), abs=0.01)


def test_an_empty_cache_misses_all_and_warms_up_and_a_hot_user_is_in_it() -> None:
    popularity = Popularity(1e8, 0.8)
    cold = [popularity.misses(1e5, 1e7, seconds) for seconds in (0.0, 1.0, 60.0, 3600.0)]
    assert cold[0] == pytest.approx(1)
    assert cold == sorted(cold, reverse=True)
    assert cold[-1] >= popularity.misses(1e5, 1e7)
    assert popularity.misses(1e5, 1e9) == 0
    assert replace(popularity, hot=0.5).misses(1e5, 1e7) == pytest.approx(popularity.misses(1e5, 1e7) / 2)


@settings(max_examples=40, deadline=None)
@given(st.floats(1e3, 1e7), st.floats(1.0, 10), st.floats(1e5, 1e9), st.floats(1.0, 10), st.integers(2, 4))
def test_more_requests_or_users_never_need_fewer_machines_and_a_zone_may_go(
    qps: float, more_qps: float, users: float, more_users: float, zones: int
) -> None:
    def machines(users: float, qps: float) -> int:
        demand = replace(DEMAND, users=users, qps=qps, zones=zones, popularity=Popularity(users, 0.8))
        found = plan(demand, Measured(), MACHINE)
        assert found.utilisation[1] <= demand.busy
        assert found.replicas % zones == 0
        room = MACHINE.disk_gb * 1e9 * found.groups
        assert room >= users * Measured().user_bytes * RUNS_ON_DISK
        return found.machines

    least = machines(users, qps)
    assert machines(users, qps * more_qps) >= least
    assert machines(users * more_users, qps) >= least


def test_a_hot_user_weighs_on_one_group() -> None:
    hot = replace(DEMAND, popularity=replace(DEMAND.popularity, hot=0.5))
    even, skewed = plan(DEMAND, Measured(), MACHINE), plan(hot, Measured(), MACHINE)
    assert even.rate == pytest.approx(DEMAND.qps / even.groups)
    assert skewed.rate == pytest.approx(DEMAND.qps * (0.5 + 0.5 / skewed.groups))
    assert skewed.machines > even.machines


def test_the_bill_adds_up() -> None:
    found = plan(DEMAND, Measured(), MACHINE)
    costs = bill(DEMAND, Measured(), MACHINE, PRICES, found, keep_runs=7, poll_seconds=10)
    assert costs.machines == pytest.approx(found.machines * 1.373 * 730)
    assert costs.storage == pytest.approx(1e9 * 4208 * 7 / 1e9 * 0.023)
    assert costs.month == pytest.approx(costs.machines + costs.storage + costs.requests)
    assert costs.gets_a_night == pytest.approx(found.replicas * costs.puts_a_night)


def test_in_the_plan_each_scenario_costs_what_it_must() -> None:
    """On machines with one slow core: few requests, and the plan has two replicas a zone."""
    machine = replace(MACHINE, cores=1, speed=0.1)
    demand = replace(DEMAND, users=1e6, qps=5e3, popularity=Popularity(1e6, 0.8))
    figures = Measured(cpu_us=43.6)
    found = plan(demand, figures, machine)
    assert found.replicas == 6
    group = Group(demand, figures, machine, found, Effort(workers=1, seconds=5.5))
    played = {name: outcome for name, _, outcome in play(group)}
    calm = played.pop("all is well")
    assert degraded(calm.took) == 0
    assert calm.busy.mean() == pytest.approx(found.utilisation[0], rel=0.1)
    worse = {name: quantile(outcome.of(2, 5), 0.99) for name, outcome in played.items()}
    assert min(worse.values()) > 0.9 * quantile(calm.of(2, 5), 0.99)
    silent = degraded(played["a zone falls silent"].of(2, 5))
    assert silent == pytest.approx(1 / 9, rel=0.15)
    assert degraded(played["a replica falls silent"].of(2, 5)) < silent
    for name, outcome in played.items():
        assert degraded(outcome.of(5.1, 5.5)) == 0, name


def test_figures_come_from_the_lookup_benchmark(tmp_path: Path) -> None:
    raw = {
        "peaks": {"bare server": [], "with everything on": [{"cpu_us": 30.0}, {"cpu_us": 32.0}, {"cpu_us": 90.0}]},
        "told": {"answer_bytes": 2000, "memory_mib": {"with everything on": {"own": 60.0}}},
    }
    (tmp_path / "lookup.json").write_text(json.dumps({"raw": raw}))
    found = measured(tmp_path / "lookup.json")
    assert (found.cpu_us, found.answer_bytes, found.process_mib) == (32.0, 2000, 60.0)
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(ValueError, match=r"is not what .python -m benchmarks.lookup"):
        measured(tmp_path / "other.json")


def test_the_command_leaves_a_table_json_and_a_picture_and_the_same_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asks = [
        "--users",
        "1e7",
        "--qps",
        "2e4",
        "--seconds",
        "5.2",
        "--workers",
        "1",
        "--picture",
        str(tmp_path / "p.png"),
    ]
    found = []
    for name in ("a", "b"):
        main([*asks, "--out", str(tmp_path / name)])
        found.append(json.loads((tmp_path / name / "capacity.json").read_text()))
    assert found[0]["rows"] == found[1]["rows"]
    assert found[0]["raw"] == found[1]["raw"]
    assert len(found[0]["rows"]) == 8
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert "| machines | 3 i4i.4xlarge |" in capsys.readouterr().out


def test_the_page_shows_the_plan_that_the_command_makes() -> None:
    page = (Path(__file__).parents[2] / "docs/capacity.md").read_text(encoding="utf-8")
    found = plan(DEMAND, Measured(), MACHINE)
    costs = bill(DEMAND, Measured(), MACHINE, PRICES, found, keep_runs=7, poll_seconds=10)
    for line in table(DEMAND, Measured(), MACHINE, found, costs):
        assert f"| {line['what']} | {line['figure']} |" in page


@pytest.mark.parametrize("wrong", [["--zones", "1"], ["--busy", "1"], ["--exponent", "2"]])
def test_what_makes_no_sense_is_refused(wrong: list[str]) -> None:
    with pytest.raises(ValueError, match=r"must be|cannot be lost"):
        asked(arguments().parse_args([*MILLION, *wrong]))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--qps", "0"], "--qps: '0' is no number above 0"),
        (["--memory-gib", "nan"], "--memory-gib: 'nan' is no number above 0"),
        (["--users", "inf"], "--users: 'inf' is no number above 0"),
        (["--zone-gb", "-1"], "--zone-gb: '-1' is no number from 0"),
        (["--zones", "2.5"], "--zones: '2.5' is no whole number from 1"),
        (["--workers", "0"], "--workers: '0' is no number above 0"),
        (["--zones", "1"], "1 zone cannot be lost"),
    ],
)
def test_the_command_says_which_argument_makes_no_sense(
    wrong: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*MILLION, *wrong])
    assert told in capsys.readouterr().err


def test_what_costs_nothing_is_no_mistake() -> None:
    free = [
        "--machine-hour",
        "0",
        "--storage-gb-month",
        "0",
        "--put-thousand",
        "0",
        "--get-thousand",
        "0",
        "--zone-gb",
        "0",
    ]
    assert set(vars(asked(arguments().parse_args([*MILLION, *free]))[2]).values()) == {0.0}
