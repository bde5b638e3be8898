"""Run past business days through Airflow's own backfill, and wait for it: `make backfill FROM=... TO=...`.

Uses the Airflow that `make up` has started, or starts what it needs and stops it at the end. A day that has been run
is run again. What is published for a day older than the live one does not go live.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from nightshift.config import load
from nightshift.runs import RunDateError, home_of
from nightshift.runs.dates import parse_run_date
from scripts.nightly import DAG, prepare_airflow
from scripts.services import AIRFLOW, ServiceError, airflow_client, airflow_url, running, wait_for

FINAL = ("success", "failed")
PAGE = 100  # runs asked for at once; Airflow may give fewer (api.maximum_page_limit)
LOOK_SECONDS = 2


def main() -> None:
    try:
        first, last = (parse_run_date(text) for text in sys.argv[1:3])
        if last < first:
            raise RunDateError(f"FROM {first} is after TO {last}")
    except RunDateError as error:
        print(f"backfill: {error}", file=sys.stderr)
        sys.exit(2)
    home = home_of(load())
    prepare_airflow(home)
    try:
        with airflow(home / "logs"), airflow_client() as client:
            failed = backfill(client, first, last)
    except ServiceError as error:
        print(f"backfill: {error}", file=sys.stderr)
        sys.exit(1)
    sys.exit(1 if failed else 0)


@contextlib.contextmanager
def airflow(logs: Path) -> Iterator[None]:
    """The running Airflow, or one of our own for as long as needed."""
    with contextlib.suppress(httpx.HTTPError):
        if httpx.get(f"{airflow_url()}/api/v2/monitor/health", timeout=5).is_success:
            yield
            return
    with running(AIRFLOW, logs) as processes:
        wait_for(f"{airflow_url()}/api/v2/monitor/health", processes, logs)
        yield


def backfill(client: httpx.Client, first: dt.date, last: dt.date) -> list[str]:
    """Create the backfill and follow it to its end. Returns the days that failed."""
    subprocess.run(["airflow", "dags", "reserialize"], check=True, capture_output=True)
    with unpaused(client):
        identity = create(client, first, last)
        print(f"Backfill {identity}: {first} to {last}, both included, one day at a time", flush=True)
        return follow(client, identity, first, last)


@contextlib.contextmanager
def unpaused(client: httpx.Client) -> Iterator[None]:
    """The DAG at work, for Airflow starts and ends no run of a paused one; as it was at the end."""
    was_paused = client.get(f"/dags/{DAG}").raise_for_status().json()["is_paused"]
    client.patch(f"/dags/{DAG}", json={"is_paused": False}).raise_for_status()
    try:
        yield
    finally:
        if was_paused:
            client.patch(f"/dags/{DAG}", json={"is_paused": True}).raise_for_status()


def create(client: httpx.Client, first: dt.date, last: dt.date) -> int:
    """Have Airflow make a run for each day. Returns the backfill's number."""
    command = ["airflow", "backfill", "create", "--dag-id", DAG, "--max-active-runs", "1"]
    command += ["--from-date", first.isoformat(), "--to-date", last.isoformat(), "--reprocess-behavior", "completed"]
    created = subprocess.run(command, capture_output=True, text=True)
    if created.returncode != 0:
        raise ServiceError(
            f"Airflow refused the backfill: {(created.stderr or created.stdout).strip().splitlines()[-1]}"
        )
    newest = client.get("/backfills", params={"dag_id": DAG, "order_by": "-id", "limit": 1}).raise_for_status().json()
    return int(newest["backfills"][0]["id"])


def follow(client: httpx.Client, identity: int, first: dt.date, last: dt.date) -> list[str]:
    """Tell of each day that changes its state, until all have ended. Returns the days that failed.

    Airflow ends the backfill itself up to half a minute after its last day, and begins no other before.
    """
    told: dict[str, str] = {}
    while True:
        ended = client.get(f"/backfills/{identity}").raise_for_status().json()["completed_at"]
        runs = runs_of(client, first, last)
        for day, state in runs.items():
            if told.get(day) != state:
                print(f"  {time.strftime('%H:%M:%S')} {day} {state}", flush=True)
        told = runs
        if ended and all(state in FINAL for state in runs.values()):
            break
        time.sleep(LOOK_SECONDS)
    if without := (last - first).days + 1 - len(runs):
        print(f"  {without} of these days have no run: not over yet, or after source.last_day", flush=True)
    return [day for day, state in runs.items() if state == "failed"]


def runs_of(client: httpx.Client, first: dt.date, last: dt.date) -> dict[str, str]:
    """Business day -> state, of the span's runs. A run whose logical date is no midnight is named after no day."""
    span = {"logical_date_gte": f"{first}T00:00:00Z", "logical_date_lte": f"{last}T00:00:00Z"}
    found: list[dict[str, Any]] = []
    while True:
        query: dict[str, str | int] = {**span, "order_by": "logical_date", "limit": PAGE, "offset": len(found)}
        page = client.get(f"/dags/{DAG}/dagRuns", params=query).raise_for_status().json()
        found += page["dag_runs"]
        if not page["dag_runs"] or len(found) >= page["total_entries"]:
            midnight = [run for run in found if run["logical_date"][10:].startswith("T00:00:00")]
            return {run["logical_date"][:10]: run["state"] for run in midnight}


if __name__ == "__main__":
    main()
