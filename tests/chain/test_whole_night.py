"""The whole chain on a slice of the sample: through Airflow, twice, killed in every stage, and with a bad day."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import html
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from nightshift.config import load
from nightshift.features.definitions import all_features
from nightshift.features.lineage import LINEAGE
from nightshift.registry.tracking import Tracking
from nightshift.runs import open_night
from nightshift.runs.steps import STEPS
from scripts.services import airflow_client
from tests.chain.small_shop import ROOT, RUN_DATE, Shop, make_shop, write_day

SEARCH = "/dags/hyperparameter_search"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop with a night that ran through Airflow, and its warm engine."""
    made = make_shop(tmp_path_factory.mktemp("shop"))
    yield made
    made.stop_engine()


@pytest.fixture(scope="module")
def through_airflow(shop: Shop) -> str:
    """The output of the first night of an empty lake, as `make nightly` runs it."""
    command = ["make", "nightly", f"RUN_DATE={RUN_DATE}"]
    done = subprocess.run(command, cwd=ROOT, env=shop.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@dataclass(frozen=True)
class Up:
    """What `make up` has started, by its ports (Airflow, MLflow, lookup service), and what it said."""

    ports: Sequence[int]
    environment: Mapping[str, str]
    said: Sequence[str]


@pytest.fixture(scope="module")
def up(shop: Shop, through_airflow: str) -> Iterator[Up]:
    """`make up` on free ports, until the last test of this file; it ends well, and all that it started with it."""
    ports = free_ports(3)
    settings = yaml.safe_load(shop.config.read_text())
    few_users = {"evaluation": settings["evaluation"] | {"min_users": 5}}  # a search has part of them
    shop.config.write_text(yaml.safe_dump(settings | few_users | {"serving": {"port": ports[2]}}))
    environment = shop.environment | {"AIRFLOW__API__PORT": str(ports[0]), "NIGHTSHIFT_MLFLOW_PORT": str(ports[1])}
    process = subprocess.Popen(
        ["make", "up"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if "Ctrl-C" in line:
                break
        yield Up(ports, environment, said)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert "Stopped." in rest
    assert not still_listening(ports)


def test_a_night_runs_through_airflow_and_says_what_came_of_it(shop: Shop, through_airflow: str) -> None:
    assert all(step in through_airflow for step in STEPS)
    assert "loading" in through_airflow  # the first night of an empty lake says that it loads the days before
    assert "two_stage" in through_airflow
    assert "repeat" in through_airflow
    assert "Verdict" in through_airflow
    assert through_airflow.count("customer ") >= 3
    assert shop.pointer()["run_date"] == str(RUN_DATE)
    report = Path(through_airflow.rsplit("file://", 1)[1].split()[0])
    assert "<svg" in report.read_text()
    features = (shop.home / "reports" / "features.html").read_text()
    for name, feature in all_features(load(shop.config)).items():
        assert f'id="{name}"' in features, name
        assert feature.description in html.unescape(features), name
    assert "over pairs" in features, "what a feature is computed from"
    assert "not measured" in features, "drift, before the first drift report"


def test_every_row_of_the_files_is_accounted_for(shop: Shop, through_airflow: str) -> None:
    summary = json.loads((shop.home / "nights" / str(RUN_DATE) / "ingest.json").read_text())
    lines = sum(
        len(gzip.decompress(file.read_bytes()).splitlines()) - 1 for file in (shop.folder / "events").glob("*.csv.gz")
    )
    assert summary["rows_in"] == lines
    assert lines == summary["kept"] + summary["quarantined"] + summary["duplicates"]
    assert min(summary["kept"], summary["quarantined"], summary["duplicates"]) > 0


def test_a_night_killed_in_every_stage_and_run_again_publishes_the_same(shop: Shop, through_airflow: str) -> None:
    """SIGKILL hits each step at work, once in the middle; the night that follows differs in nothing."""
    expected = shop.pointer()["content_hash"]
    night = shop.home / "nights" / str(RUN_DATE)
    seconds = {step: json.loads((night / f"{step}.json").read_text())["seconds"] for step in STEPS}
    shutil.rmtree(shop.home / "nights")
    shutil.rmtree(shop.home / "lake" / LINEAGE)  # so that no state stands and all features are built again
    night.mkdir(parents=True)
    shop.start_engine()  # the night's own was stopped at its end
    killed = []
    for step in STEPS:
        if shop.kill_step(step, seconds[step], run_id="killed"):
            killed.append(step)
        done = shop.step(step, run_id="killed")
        assert done.returncode == 0, f"{step}: {done.stderr[-2000:]}"
    assert len(killed) >= len(STEPS) - 2, f"only {killed} were at work when they were killed"
    assert {"ingest", "build_features", "train", "infer"} <= {*killed}
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
        exec airflow backfill create --dag-id nightly_recommendations --dry-run \\
        --from-date 2011-11-01 --to-date 2011-11-07"""
    done = subprocess.run(["sh", "-c", script], cwd=ROOT, env=shop.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    days = re.findall(r"(\d{4}-\d{2}-\d{2}) 00:00", done.stdout)
    assert sorted(set(days)) == [f"2011-11-0{n}" for n in range(1, 8)]


def test_a_search_that_is_triggered_in_airflow_tells_its_trials_and_triggered_again_goes_on(
    shop: Shop, up: Up, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(shop.home / "airflow"))
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", f"http://127.0.0.1:{up.ports[0]}")
    with airflow_client() as airflow:
        airflow.patch(SEARCH, json={"is_paused": False}).raise_for_status()
        first, said = searched(airflow, trials=1)
        again, _ = searched(airflow, trials=2)
    assert "search: 1/ranker/1: complete" in said, "the task's log tells how far it is"
    assert (first["trials"], again["trials"]) == (1, 2)
    assert {first[key] == again[key] for key in ("search", "mlflow_run", "base")} == {True}
    tracking = Tracking(open_night(load(shop.config), RUN_DATE, home=shop.home))
    found = f"tags.`mlflow.parentRunId` = '{first['mlflow_run']}'"
    trials = tracking.client.search_runs([tracking.experiment()], found)
    assert {trial.data.tags["nightshift.trial"] for trial in trials} == {"base", "1/ranker/1", "1/ranker/2"}
    assert len(trials) == 3, "the first trial was not made again"


def searched(airflow: httpx.Client, trials: int) -> tuple[dict[str, Any], str]:
    """Trigger a search, as the form does, and wait for its end. Returns its summary, and its task's log."""
    form = {"run_date": str(RUN_DATE), "minutes": 2, "trials": trials}
    run = airflow.post(f"{SEARCH}/dagRuns", json={"logical_date": None, "conf": form}).json()["dag_run_id"]
    wait = {"interval": 0.5, "result": "search"}
    told = json.loads(airflow.get(f"{SEARCH}/dagRuns/{run}/wait", params=wait).text.splitlines()[-1])
    log = airflow.get(f"{SEARCH}/dagRuns/{run}/taskInstances/search/logs/1").text
    assert told["state"] == "success", log[-3000:]
    return told["results"]["search"], log


def test_everything_in_the_readme_can_be_typed_as_it_stands(shop: Shop, up: Up) -> None:
    """The README's commands, except those that other tests run."""
    commands = readme_commands()

    def type_in(command: str) -> str:
        command = command.replace("http://127.0.0.1:8090", f"http://127.0.0.1:{up.ports[2]}").replace(
            "curl ", "curl -sSf "
        )
        done = subprocess.run(["sh", "-c", command], cwd=ROOT, env=up.environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout[-1500:]}{done.stderr[-1500:]}"
        return done.stdout

    assert any("user " in line and "password " in line for line in up.said), up.said
    curls = [command for command in commands if command.startswith("curl")]
    answers = [json.loads(type_in(command)) for command in curls if "/v1/items/" not in command]
    assert all(answer["run_date"] == str(RUN_DATE) for answer in answers)
    assert len(curls) >= 3
    item = answers[0]["items"][0]["item_id"]
    assert json.loads(type_in(f"curl http://127.0.0.1:{up.ports[2]}/v1/items/{item}/similar?k=3"))["items"]
    (trigger,) = [command for command in commands if "dags trigger" in command]
    assert "queued" in type_in(trigger)  # the DAG is paused until somebody switches it on
    assert "make backfill" in type_in("make help")
    assert "drift" in type_in("make drift RUN_DATE=" + str(RUN_DATE))


def test_a_rollback_makes_the_run_before_live_and_leaves_what_it_took_back(shop: Shop, through_airflow: str) -> None:
    before = shop.pointer()
    for step in STEPS[STEPS.index("publish") :]:
        assert shop.step(step, run_id="second").returncode == 0
    assert shop.pointer()["run_id"] == "second"
    done = subprocess.run(["make", "rollback"], cwd=ROOT, env=shop.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1500:]
    assert shop.pointer()["run_id"] == before["run_id"]
    assert (shop.home / "published" / "home" / "runs" / str(RUN_DATE) / "second" / "manifest.json").exists()


def readme_commands() -> list[str]:
    """The lines of the README's code blocks, without their comments."""
    blocks = re.findall(r"^```\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    return [line.split("  #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def still_listening(ports: list[int]) -> list[int]:
    found = []
    for port in ports:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            found.append(port)
    return found
