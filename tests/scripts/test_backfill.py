"""`make backfill` follows every day that was named, however many there are, and leaves Airflow as it was."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from scripts import backfill
from scripts.nightly import DAG
from scripts.services import ServiceError

FIRST, LAST = dt.date(2011, 1, 1), dt.date(2011, 9, 7)  # 250 days
DAYS = [(FIRST + dt.timedelta(days=n)).isoformat() for n in range(250)]


class Airflow:
    """As much of Airflow's API as a backfill needs. A look at the backfill lets it get on by `pace` days."""

    def __init__(self, fails: tuple[str, ...] = (), paused: bool = True, pace: int = 60) -> None:
        self.paused, self.fails, self.pace = paused, fails, pace
        self.done, self.looks_after_the_last = 0, 0
        self.others = [("2010-12-24T00:00:00Z", "failed"), ("2011-03-01T14:03:11.5Z", "failed")]

    def client(self) -> httpx.Client:
        return httpx.Client(base_url="http://airflow/api/v2", transport=httpx.MockTransport(self.answer))

    def answer(self, request: httpx.Request) -> httpx.Response:
        path, query = request.url.path.removeprefix("/api/v2"), request.url.params
        if path == f"/dags/{DAG}":
            if request.method == "PATCH":
                self.paused = json.loads(request.content)["is_paused"]
            return httpx.Response(200, json={"is_paused": self.paused})
        if path == "/backfills":
            return httpx.Response(200, json={"backfills": [{"id": 7}]})
        if path == "/backfills/7":
            return httpx.Response(200, json={"completed_at": self.get_on()})
        assert path == f"/dags/{DAG}/dagRuns"
        since, until = query["logical_date_gte"], query["logical_date_lte"]
        runs = [run for run in self.runs() if since <= run["logical_date"] <= until]
        offset, limit = int(query["offset"]), min(int(query["limit"]), 100)
        return httpx.Response(200, json={"dag_runs": runs[offset : offset + limit], "total_entries": len(runs)})

    def get_on(self) -> str | None:
        assert not self.paused, "Airflow starts no run of a paused DAG"
        self.looks_after_the_last += self.done == len(DAYS)
        self.done = min(self.done + self.pace, len(DAYS))
        return "2011-12-01T00:00:00Z" if self.looks_after_the_last > 1 else None

    def runs(self) -> list[dict[str, Any]]:
        ended = {day: "failed" if day in self.fails else "success" for day in DAYS[: self.done]}
        states = [(f"{day}T00:00:00Z", ended.get(day, "queued")) for day in DAYS]
        return [{"logical_date": day, "state": state} for day, state in sorted([*states, *self.others])]


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "LOOK_SECONDS", 0)


def test_a_span_of_many_pages_is_followed_to_its_last_day() -> None:
    airflow = Airflow(fails=("2011-01-02", "2011-09-06"), paused=False)
    with airflow.client() as client:
        assert backfill.follow(client, 7, FIRST, LAST) == ["2011-01-02", "2011-09-06"]
    assert airflow.looks_after_the_last == 2, "Airflow itself has to end the backfill: it begins no other before"


def test_what_failed_outside_the_span_or_is_named_after_no_day_is_not_held_against_it() -> None:
    with Airflow(paused=False).client() as client:
        assert backfill.follow(client, 7, FIRST, LAST) == []


def test_days_without_a_run_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    with Airflow(paused=False).client() as client:
        assert backfill.follow(client, 7, FIRST, LAST + dt.timedelta(days=3)) == []
    assert "3 of these days have no run" in capsys.readouterr().out


@pytest.mark.parametrize("paused", [True, False])
def test_the_dag_is_at_work_meanwhile_and_as_it_was_afterwards(paused: bool, command: Callable[[int], None]) -> None:
    command(0)
    airflow = Airflow(paused=paused)
    with airflow.client() as client:
        assert backfill.backfill(client, FIRST, LAST) == []
    assert airflow.paused is paused


def test_a_refused_backfill_leaves_the_dag_paused(command: Callable[[int], None]) -> None:
    command(1)
    airflow = Airflow()
    with airflow.client() as client, pytest.raises(ServiceError, match="Another backfill is running"):
        backfill.backfill(client, FIRST, LAST)
    assert airflow.paused


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Airflow's command line, ending with the code that it is given."""

    def ends_with(code: int) -> None:
        def run(arguments: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
            ended = code if arguments[1] == "backfill" else 0
            return subprocess.CompletedProcess(arguments, ended, "", "a log line\nAnother backfill is running\n")

        monkeypatch.setattr(backfill.subprocess, "run", run)

    return ends_with
