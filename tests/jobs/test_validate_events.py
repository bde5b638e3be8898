"""`python -m jobs.validate_events`: what a night refused is not let in by the night after it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import jobs.validate_events
from jobs.validate_events import audit, of_day, refused_before
from nightshift.config.settings import Engine
from nightshift.lake import Lake
from nightshift.runs import GateError, Night
from tests.contracts.prices import night_of
from tests.landing.shop import Shop, june, line

USUAL, MANY = 30, 300


def a_day(day: int, rows: int) -> list[str]:
    return [line(f"{day}-{n}", f"buyer{n}", "A", f"{day:02} {9 + n % 8:02}:00") for n in range(rows)]


def accepting(night: Night, day: dt.date) -> Night:
    entry = {"gate": "validate_events", "figure": "rows_in", "run_date": day, "why": "a sale"}
    validation = night.settings.validation.model_validate({"accept": [entry]})
    settings = night.settings.model_copy(update={"validation": validation})
    return Night(settings, night.run_date, night.run_id, night.home)


def test_a_day_that_was_refused_is_judged_again_by_the_night_after_it_until_it_is_accepted(
    tmp_path: Path, warm_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path, warm_engine)
    for day in range(1, 12):
        shop.deliver(day, a_day(day, MANY if day == 10 else USUAL))
    shop.land(9)
    shop.ingest(10)
    with pytest.raises(GateError, match="rows_in"):
        shop.validate(10)

    shop.ingest(11)
    with pytest.raises(GateError) as stopped:
        shop.validate(11)
    told = str(stopped.value)
    assert told.startswith("2011-06-10, which was not committed before, is read again: day_counts: rows_in: ")
    assert "found 300, allowed" in told
    assert "add {gate: validate_events, figure: rows_in, run_date: 2011-06-10, why: ...} to validation.accept" in told
    assert max(shop.counts())[0] == "2011-06-09"

    eleventh = shop.night(11)
    monkeypatch.setattr(shop, "night", lambda day: accepting(eleventh, june(10)))
    assert shop.validate(11)["judged_again"] == ["2011-06-10"]
    assert [row[:2] for row in shop.counts()[-2:]] == [("2011-06-10", "300"), ("2011-06-11", "30")]
    assert refused_before(shop.lake, june(12), [june(10), june(11), june(12)]) == []


DAYS = [dt.date(2011, 10, 1) + dt.timedelta(days=n) for n in range(20)]


@pytest.fixture
def no_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a night of figures alone, which has no rows to hold to the contract."""
    monkeypatch.setattr(
        jobs.validate_events, "audited", lambda night, files, counts: of_day(night.run_date, files, counts)
    )


def audited(home: Path, until: int, rows: dict[int, int], accept: int | None = None) -> str:
    """Audit the figures of `DAYS` up to the night `until`, when nothing is committed yet. Returns what stopped it."""
    lake, night = Lake(home / "lake"), night_of(home, DAYS[until])
    night = night if accept is None else accepting(night, DAYS[accept])
    usual: dict[str, Any] = {"quarantined": 0, "duplicates": 0, "late": 0, "mean_hour": 12.0, "mean_quantity": 3.0}
    days = [{"run_date": DAYS[n], "rows_in": rows.get(n, 1000), **usual} for n in range(until + 1)]
    counts = pd.DataFrame(days).assign(kept=lambda day: day["rows_in"], mean_price=2.0)
    try:
        audit(night, lake, [], counts, refused_before(lake, night.run_date, counts["run_date"]))
    except GateError as error:
        return str(error)
    return ""


@pytest.mark.usefixtures("no_rows")
def test_every_day_that_was_refused_is_named_and_one_that_was_never_judged_is_not_judged_now(tmp_path: Path) -> None:
    rows = {3: 50_000, 12: 50_000, 13: 60_000}
    assert "rows_in" in audited(tmp_path, 12, rows)
    assert "2011-10-13, which was not committed before, is read again: day_counts" in audited(tmp_path, 13, rows)
    told = audited(tmp_path, 14, rows)
    assert [str(day) for day in DAYS if f"{day}, which was not" in told] == ["2011-10-13", "2011-10-14"]


@pytest.mark.usefixtures("no_rows")
def test_what_is_refused_is_no_history_and_what_is_accepted_is(tmp_path: Path) -> None:
    rows = {12: 50_000, 13: 60_000}
    audited(tmp_path, 12, rows)
    assert "(learned from 12 nights up to 2011-10-12) -> Compare" in audited(tmp_path, 13, rows).partition("; day_c")[2]
    assert "(learned from 13 nights up to 2011-10-13) -> Compare" in audited(tmp_path, 13, rows, accept=12)


@pytest.mark.usefixtures("no_rows")
def test_a_day_that_passed_beside_a_refused_one_is_judged_again_as_it_is_then(tmp_path: Path) -> None:
    audited(tmp_path, 12, {12: 50_000})
    beside = audited(tmp_path, 13, {12: 50_000})
    assert beside.count("is read again") == 1
    told = audited(tmp_path, 14, {12: 50_000, 13: 70_000}, accept=12)
    assert told.startswith("2011-10-14, which was not committed before, is read again: day_counts: rows_in")
    assert audited(tmp_path, 14, {12: 50_000}, accept=12) == ""
