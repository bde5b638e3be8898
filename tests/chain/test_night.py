"""The whole chain on a slice of the sample: through Airflow, twice, killed in every stage, and with a bad day."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.lookup import lookup_service
from small_shop import ROOT, RUN_DATE, STEPS, Shop, make_shop, write_day


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop with a night that ran through Airflow, and its warm engine."""
    made = make_shop(tmp_path_factory.mktemp("shop"))
    yield made
    made.engine("stop")


@pytest.fixture(scope="module")
def through_airflow(shop: Shop) -> str:
    """The output of the first night of an empty lake, as `make nightly` runs it."""
    script = '. scripts/environment && exec python -m scripts.nightly "$0"'
    done = subprocess.run(
        ["sh", "-c", script, str(RUN_DATE)], cwd=ROOT, env=shop.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_a_night_runs_through_airflow_and_says_what_came_of_it(shop: Shop, through_airflow: str) -> None:
    assert all(step in through_airflow for step in STEPS)
    assert "loading" in through_airflow  # the first night of an empty lake says that it loads the days before
    assert "two_stage" in through_airflow
    assert "repeat" in through_airflow
    assert "Verdict" in through_airflow
    assert through_airflow.count("customer ") >= 3
    assert shop.pointer()["run_date"] == str(RUN_DATE)
    report = Path(through_airflow.rsplit("file://", 1)[1].strip())
    assert "<svg" in report.read_text()


def test_every_row_of_the_files_is_accounted_for(shop: Shop, through_airflow: str) -> None:
    summary = json.loads((shop.home / "nights" / str(RUN_DATE) / "ingest.json").read_text())
    lines = sum(
        len(gzip.decompress(file.read_bytes()).splitlines()) - 1 for file in (shop.folder / "events").glob("*.csv.gz")
    )
    assert summary["rows_in"] == lines
    assert lines == summary["kept"] + summary["quarantined"] + summary["duplicates"]
    assert min(summary["kept"], summary["quarantined"], summary["duplicates"]) > 0


def test_a_night_killed_in_every_stage_and_run_again_publishes_the_same(
    shop: Shop, through_airflow: str
) -> None:
    """SIGKILL hits each step at work, once in the middle; the night that follows differs in nothing."""
    expected = shop.pointer()["content_hash"]
    night = shop.home / "nights" / str(RUN_DATE)
    seconds = {step: json.loads((night / f"{step}.json").read_text())["seconds"] for step in STEPS}
    shutil.rmtree(shop.home / "nights")
    shop.engine("start")  # the night's own was stopped at its end
    killed = []
    for step in STEPS:
        if shop.kill_step(step, after=0.6 * seconds[step], run_id="killed"):
            killed.append(step)
        done = shop.step(step, run_id="killed")
        assert done.returncode == 0, f"{step}: {done.stderr[-2000:]}"
    assert len(killed) >= len(STEPS) - 2, f"only {killed} were at work when they were killed"
    assert json.loads((shop.home / "nights" / str(RUN_DATE) / "publish.json").read_text())["content_hash"] == expected


def test_a_failed_gate_leaves_the_live_lists_and_names_the_figure(shop: Shop, through_airflow: str) -> None:
    live = shop.pointer()
    bad = RUN_DATE + dt.timedelta(days=1)
    sample = gzip.decompress((ROOT / "include" / "sample_data" / f"{bad}.csv.gz").read_bytes()).decode()
    header, *rows = sample.splitlines()
    nobody = [",".join([*row.split(",")[:-2], "", row.split(",")[-1]]) for row in rows[:300]]
    write_day(shop.folder, bad, "\n".join([header, *nobody]) + "\n")
    try:
        assert shop.step("ingest", bad).returncode == 0
        refused = shop.step("validate_events", bad)
    finally:
        (shop.folder / "events" / f"{bad}.csv.gz").unlink()
    assert refused.returncode == 3
    line = refused.stderr.strip().splitlines()[-1]
    assert "quarantined_share" in line
    assert "0 to 0.95" in line
    assert shop.pointer() == live
    assert shop.step("build_index", bad).returncode == 1  # nothing to go on with, said in one line


def test_airflow_backfills_exactly_the_days_that_are_named(shop: Shop, through_airflow: str) -> None:
    script = """. scripts/environment && airflow dags reserialize >/dev/null 2>&1 &&
        exec airflow backfill create --dag-id nightly_recommendations --dry-run --from-date 2011-11-01 --to-date 2011-11-07"""
    done = subprocess.run(["sh", "-c", script], cwd=ROOT, env=shop.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    days = re.findall(r"(\d{4}-\d{2}-\d{2}) 00:00", done.stdout)
    assert sorted(set(days)) == [f"2011-11-0{n}" for n in range(1, 8)]


def test_the_lookup_service_answers_for_the_published_night(shop: Shop, through_airflow: str) -> None:
    os.environ |= {"NIGHTSHIFT_HOME": str(shop.home), "NIGHTSHIFT_CONFIG": str(shop.config)}
    try:
        with lookup_service() as client:
            answer = client.get("/v1/users/nobody-knows-me/recommendations", params={"k": 3}).raise_for_status().json()
    finally:
        del os.environ["NIGHTSHIFT_HOME"], os.environ["NIGHTSHIFT_CONFIG"]
    assert answer["run_date"] == str(RUN_DATE)
    assert answer["fallback"] == "popular"
    assert len(answer["items"]) == 3
