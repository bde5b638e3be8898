"""Run one night through Airflow and show what came of it: `make nightly`."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from nightshift.config import load
from nightshift.evaluation.metrics import METRICS
from nightshift.runs import Night, open_night
from nightshift.runs.steps import STEPS
from scripts.lookup import lookup_service

DAG = "nightly_recommendations"
COLUMNS = (*METRICS, "coverage", "novelty")
PROGRESS = re.compile(r"\b(\d\d:\d\d:\d\d) ([a-z_]+: .*)")  # as jobs.command writes it, inside Airflow's line


def main() -> None:
    run_date = dt.date.fromisoformat(sys.argv[1])
    night = open_night(load(), run_date)
    print(f"One night of {night.settings.name}, run date {run_date}, through Airflow. State: {night.home}", flush=True)
    prepare_airflow(night.home)
    started = time.monotonic()
    exit_code, log = run_dag(night)
    if exit_code != 0:
        print(f"\nThe night stopped; what was live stays live. Airflow's log: {log}\nWhat to do: docs/runbook.md")
        sys.exit(exit_code)
    print(f"\nThe night took {time.monotonic() - started:.0f} s.")
    show_quality(night)
    show_lists(night)
    report = night.read_json("report")["report"]
    print(f"\nReport: file://{report}")


def prepare_airflow(home: Path) -> None:
    """Make Airflow's database, once."""
    if not (Path(os.environ["AIRFLOW_HOME"]) / "airflow.db").exists():
        print("Making Airflow's database ...", flush=True)
        subprocess.run(["airflow", "db", "migrate"], check=True, capture_output=True)


def run_dag(night: Night) -> tuple[int, Path]:
    """`airflow dags test` for the run date: Airflow's log to a file, a line for each step to the terminal."""
    log = night.home / "logs" / f"nightly-{night.run_date}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = ["airflow", "dags", "test", DAG, night.run_date.isoformat()]
    with log.open("w") as output:
        env = os.environ | {"AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO"}
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            output.write(line)
            output.flush()
            show_progress(line)
        return process.wait(), log


def show_progress(line: str) -> None:
    """Show what a step says of itself, and the summary when it has ended."""
    told = PROGRESS.search(line)
    if told:
        print(f"  {told.group(1)} {told.group(2).split(' [airflow.')[0].rstrip()[:150]}", flush=True)


def show_quality(night: Night) -> None:
    verdict = night.read_json("verdict")
    print("\nStages")
    for step in STEPS:
        print(f"  {step:<16} {night.read_json(step)['seconds']:6.1f} s")
    metrics = [name for name in COLUMNS if name in verdict["table"][0]]
    print(f"\nQuality over the last {night.settings.evaluation.test_days} days, not seen in training")
    print("  " + f"{'model':<20}" + "".join(f"{name:>12}" for name in metrics))
    for row in verdict["table"]:
        print("  " + f"{row['model']:<20}" + "".join(f"{_figure(row[name]):>12}" for name in metrics))
    served = verdict["served"]
    print(f"\nVerdict: the challenger is {'accepted' if verdict['accepted'] else 'refused'}", end="; ")
    print(f"{served['kind']} (version {served['version']}) serves.")
    for reason in verdict["reasons"]:
        print(f"  {reason}")


def show_lists(night: Night) -> None:
    """Three customers' lists, as the lookup service answers."""
    customers = night.read_json("report")["customers"]
    print(f"\nLists for {len(customers)} customers, from the lookup service")
    with lookup_service() as client:
        for user_id in customers:
            answer = client.get(f"/v1/users/{user_id}/recommendations", params={"k": 5})
            answer.raise_for_status()
            show_list(user_id, answer.json())


def show_list(user_id: str, answer: dict[str, Any]) -> None:
    print(f"\n  customer {user_id} (run {answer['run_date']} {answer['run_id']})")
    for place, entry in enumerate(answer["items"], 1):
        print(f"    {place}. {entry['title']:<38} {entry['reason']}")


def _figure(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else json.dumps(value)


if __name__ == "__main__":
    main()
