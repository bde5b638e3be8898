"""A day's figures against the days before it: planted faults are caught, and the sample's own days hardly ever.

The figures are those of `ingest_counts`, of a steady imagined shop that is half as busy on Sundays, and of the sample.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from jobs.validate_events import shares
from nightshift.contracts import check
from nightshift.contracts.expectations import load_suite
from nightshift.contracts.learned import band
from nightshift.contracts.verdict import judge
from nightshift.runs import GateError
from tests.contracts.prices import ROOT, night_of

NIGHT = dt.date(2011, 10, 5)  # a Wednesday


def steady_days(until: dt.date, number: int = 60) -> pd.DataFrame:
    """Days with hardly a ripple; Saturdays are closed."""
    days = [until - dt.timedelta(days=n) for n in range(number - 1, -1, -1)]
    rows = []
    for n, day in enumerate(day for day in days if day.weekday() != 5):
        size = (1000 if day.weekday() != 6 else 500) + 7 * (n % 5)
        rows.append(day_of(day, size, ripple=(n * 7 % 11 - 5) / 100))
    return pd.DataFrame(rows)


def day_of(day: dt.date, size: int, ripple: float = 0.0, **changes: Any) -> dict[str, Any]:
    quarantined, duplicates = size // 50, size // 100
    usual = {
        "run_date": day,
        "rows_in": size,
        "kept": size - quarantined - duplicates,
        "quarantined": quarantined,
        "duplicates": duplicates,
        "late": size // 200,
        "mean_price": 2.9 * (1 + ripple),
        "mean_quantity": 12 * (1 + ripple),
        "mean_hour": 13 + ripple,
    }
    return usual | changes


def judged(home: Path, days: pd.DataFrame, night: dt.date = NIGHT) -> dict[str, list[str]]:
    """Severity -> the figures that are not met, and what the gate says if it stops, of the night's day."""
    known = shares(days)
    today, before = known[known["run_date"] == night], known[known["run_date"] < night]
    told = ""
    try:
        check(night_of(home, night), "validate_events", {"day_counts": today}, history={"ingest_counts": before})
    except GateError as error:
        told = str(error)
    failed = [found for found in night_of(home, night).read_json("validate_events_checks") if not found["success"]]
    names = {level: [one["figure"] for one in failed if one["severity"] == level] for level in ("warn", "stop")}
    return {level: sorted(found) for level, found in names.items()} | {"told": [told]}


def with_today(**changes: Any) -> pd.DataFrame:
    days = steady_days(NIGHT)
    size = changes.pop("size", 1000)
    return pd.concat([days[days["run_date"] < NIGHT], pd.DataFrame([day_of(NIGHT, size, **changes)])])


FAULTS = [
    ("ten times the volume", {"size": 10_000}, ["rows_in"], ["rows_in"], "cut off, sent twice"),
    ("half of it", {"size": 500}, ["rows_in"], [], ""),
    ("a tenth of it", {"size": 100}, ["rows_in"], ["rows_in"], "cut off, sent twice"),
    ("the file twice over", {"duplicates": 1000, "size": 2000}, ["duplicates_share", "rows_in"], [], ""),
    ("prices in pence", {"mean_price": 290}, ["mean_price"], ["mean_price"], "pence for pounds"),
    ("prices in thousands", {"mean_price": 0.0029}, ["mean_price"], ["mean_price"], "pence for pounds"),
    ("prices up by half", {"mean_price": 4.3}, ["mean_price"], [], ""),
    ("packs of twelve", {"mean_quantity": 1}, ["mean_quantity"], ["mean_quantity"], "packs for pieces"),
    ("one order of 80,000", {"mean_quantity": 95}, ["mean_quantity"], [], ""),
    ("a clock six hours ahead", {"mean_hour": 19.0}, ["mean_hour"], ["mean_hour"], "source.timezone"),
    ("a clock two hours ahead", {"mean_hour": 15.0}, ["mean_hour"], [], ""),
    ("a clock that puts evenings into the day after", {"late": 300}, ["late_share"], ["late_share"], "source.timezone"),
    ("a tenth is late", {"late": 100}, ["late_share"], [], ""),
    ("a flood of nulls", {"quarantined": 400}, ["quarantined_share"], ["quarantined_share"], "quarantine by reason"),
    ("more nulls than usual", {"quarantined": 150}, ["quarantined_share"], [], ""),
    ("prices are all missing", {"mean_price": None}, ["mean_price"], ["mean_price"], "pence for pounds"),
]


@pytest.mark.parametrize(("name", "changes", "warned", "stopped", "advice"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_planted_fault_is_caught_at_its_severity_and_the_message_says_what_to_do(
    tmp_path: Path, name: str, changes: dict[str, Any], warned: list[str], stopped: list[str], advice: str
) -> None:
    found = judged(tmp_path, with_today(**changes))
    assert (found["warn"], found["stop"]) == (warned, stopped)
    (told,) = found["told"]
    assert bool(told) == bool(stopped)
    assert advice in told
    if stopped:
        accept = f"{{gate: validate_events, figure: {stopped[0]}, run_date: 2011-10-05, why: ...}}"
        assert f"add {accept} to validation.accept" in told


def test_a_usual_day_passes_and_so_does_a_sunday(tmp_path: Path) -> None:
    assert judged(tmp_path, steady_days(NIGHT)) == {"warn": [], "stop": [], "told": [""]}
    sunday = dt.date(2011, 10, 9)
    assert judged(tmp_path, steady_days(sunday), sunday) == {"warn": [], "stop": [], "told": [""]}
    weekday_like = steady_days(sunday)
    weekday_like.loc[weekday_like["run_date"] == sunday, ["rows_in", "kept"]] = [1010, 980]
    assert judged(tmp_path, weekday_like, sunday)["warn"] == ["rows_in"]


def test_the_first_night_passes_whatever_it_is_and_says_why(tmp_path: Path) -> None:
    found = judged(tmp_path, pd.DataFrame([day_of(NIGHT, 100_000, mean_price=1e6)]))
    assert found == {"warn": [], "stop": [], "told": [""]}
    checks = night_of(tmp_path, NIGHT).read_json("validate_events_checks")
    assert {one["note"] for one in checks} == {"not enough history (0 of 8 nights)"}


SAMPLE = r"""
WITH lines AS (
    SELECT *, regexp_extract(filename, '(\d{4}-\d{2}-\d{2})', 1)::DATE AS run_date, InvoiceDate::TIMESTAMP AS at_time,
           try_cast(Quantity AS INT) AS units, try_cast(UnitPrice AS DOUBLE) AS price
    FROM read_csv(?, all_varchar = true, filename = true)),
judged AS (
    SELECT *, coalesce(CustomerID, '') <> '' AND regexp_matches(StockCode, '^[0-9]{5}[A-Za-z]*$') AND price > 0
              AND (InvoiceNo LIKE 'C%' OR regexp_matches(InvoiceNo, '^[0-9]{6}$') AND units > 0) AS good
    FROM lines),
days AS (
    SELECT run_date, count(*) AS rows_in, count(*) FILTER (NOT good) AS quarantined FROM judged GROUP BY run_date),
events AS (
    SELECT DISTINCT run_date, InvoiceNo, StockCode, Description, units, at_time, price, CustomerID, Country
    FROM judged WHERE good)
SELECT run_date, rows_in, quarantined, count(*) AS kept, rows_in - quarantined - count(*) AS duplicates,
       count(*) FILTER (at_time::DATE < run_date) AS late, avg(price) AS mean_price, avg(abs(units)) AS mean_quantity,
       avg(epoch(at_time - run_date::TIMESTAMP)) / 3600 AS mean_hour
FROM days JOIN events USING (run_date) GROUP BY run_date, rows_in, quarantined ORDER BY run_date
"""


@pytest.fixture(scope="module")
def sample() -> pd.DataFrame:
    """The figures of the sample's 305 days by its contract, as ingest counts them."""
    with duckdb.connect() as con:
        frame = con.execute(SAMPLE, [str(ROOT / "include/sample_data/*.csv.gz")]).df()
    return frame.assign(run_date=frame["run_date"].dt.date)


def pointed_out(days: pd.DataFrame, night: dt.date) -> set[tuple[str, str]]:
    """Severity and figure of what is not met; of the bounds alone, since 305 gates would take a while."""
    found = set()
    for expectation in load_suite("day_counts").expectations:
        learning = expectation.learning
        assert learning
        history = [
            (day, value) for day, value in zip(days["run_date"], days[learning.figure], strict=True) if day < night
        ]
        bounds = band(history, night, learning, min_nights=8)
        bounded = expectation.with_bounds(bounds.low, bounds.high, bounds.told)
        figure = float(days.loc[days["run_date"] == night, learning.figure].item())
        if bounded.bounded and not judge(bounded.kwargs, {"column.mean": figure}).success:
            found.add((expectation.severity, learning.figure))
    return found


STOPPED = {
    dt.date(2010, 12, 22): {"rows_in"},  # the last afternoon before Christmas: 291 lines, of some 1,600
    dt.date(2011, 8, 30): {"quarantined_share"},  # 2,837 of 3,235 lines have no customer
}


def test_the_samples_own_days_are_hardly_ever_pointed_out_and_stop_for_a_reason(sample: pd.DataFrame) -> None:
    assert len(sample) == 305
    days = shares(sample)
    found = {day: pointed_out(days, day) for day in days["run_date"]}
    stops = {day: {figure for level, figure in one if level == "stop"} for day, one in found.items()}
    warns = [(day, figure) for day, one in found.items() for level, figure in one if level == "warn"]
    by_figure = pd.Series([figure for _, figure in warns]).value_counts().to_dict()
    warned = len({day for day, _ in warns})
    print(f"\n{warned} of {len(days)} days warn, over {by_figure}")
    assert {day: figures for day, figures in stops.items() if figures} == STOPPED
    assert warned <= 0.11 * len(days)
    assert all(number <= 0.06 * len(days) for number in by_figure.values())
