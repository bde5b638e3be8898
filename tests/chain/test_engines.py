"""The same jobs through a local server, a Connect address and a cluster of two workers leave the same tables."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from nightshift.config.settings import Runner
from nightshift.lake import Lake
from nightshift_airflow.runners import ProcessRunner
from tests.chain.cluster import QUICK, cluster
from tests.chain.small_shop import RUN_DATE, Shop, make_shop

STEPS = ("ingest", "validate_events", "build_features")
LOG = logging.getLogger("task")
OF_THE_RUN = {"validation_results"}  # holds when it was checked

UNCOMPILED = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}
TWO_SMALL_EXECUTORS = {
    "spark.cores.max": "2",
    "spark.executor.memory": "512m",
    "spark.executor.extraJavaOptions": QUICK,
    "spark.scheduler.minRegisteredResourcesRatio": "1",  # begin when both workers are there
}


@dataclass(frozen=True)
class Engine(Shop):
    """The shop with another engine and a home of its own."""

    name: str

    @property
    def home(self) -> Path:
        return self.folder / f"var-{self.name}"

    @property
    def config(self) -> Path:
        return self.folder / f"{self.name}.yaml"

    def land_and_build(self) -> None:
        for step in STEPS:
            done = self.step(step)
            assert done.returncode == 0, done.stderr[-2000:]

    def land_and_build_on(self, master: str) -> None:
        """By spark-submit, those steps that use Spark."""
        own = {"NIGHTSHIFT_HOME": str(self.home), "NIGHTSHIFT_CONFIG": str(self.config)}
        here = {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_SUBMIT_OPTS": QUICK}
        submit = Runner(kind="spark-submit", master=master, environment=here | own)
        for step in STEPS:
            runner = Runner(environment=own) if step == "validate_events" else submit
            told = ProcessRunner(runner).run(step, ["--run-date", str(RUN_DATE)], LOG, {})
            assert told["step"] == step


def with_engine(shop: Shop, name: str, **values: Any) -> Engine:
    settings = yaml.safe_load(shop.config.read_text())
    settings["source"]["first_day"] = RUN_DATE - dt.timedelta(days=4)
    settings["evaluation"]["test_days"] = 1
    settings["engine"] |= values
    made = Engine(shop.folder, name)
    made.config.write_text(yaml.safe_dump(settings))
    return made


def tables(home: Path) -> dict[str, pa.Table]:
    """Every table of the lake, its columns and rows in an order of their own."""
    lake, found = Lake(home / "lake"), {}
    for name in set(lake.tables()) - OF_THE_RUN:
        table = lake.arrow(name)
        found[name] = sorted(map(repr, table.select(sorted(table.column_names)).to_pylist()))
    return found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_the_engines_leave_the_same_tables(home: Path, warm_server: dict[str, int]) -> None:
    shop = make_shop(home / "shop")
    local = with_engine(shop, "local")
    (local.home / "engine").mkdir(parents=True)
    (local.home / "engine" / "server.json").write_text(json.dumps(warm_server))  # as the one that it has started
    local.land_and_build()
    connect = with_engine(shop, "connect", kind="connect", remote=f"sc://127.0.0.1:{warm_server['port']}")
    connect.land_and_build()

    submit = with_engine(shop, "submit", kind="submit", conf=UNCOMPILED | TWO_SMALL_EXECUTORS)
    with cluster(home) as address:
        submit.land_and_build_on(address)
    for worker in ("worker-0", "worker-1"):
        assert len(list((home / worker).glob("app-*"))) == 2, "both have been at work for both Spark steps"

    expected = tables(local.home)
    assert {"events", "quarantine", "ingest_counts", "user_features", "cooccurrence"} <= expected.keys()
    for name in ("connect", "submit"):
        found = tables(home / "shop" / f"var-{name}")
        assert found.keys() == expected.keys()
        for table, rows in expected.items():
            assert rows, table
            assert found[table] == rows, (name, table)
