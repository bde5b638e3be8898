"""The same jobs through a local server, a Connect address and a cluster of two workers leave the same tables."""

from __future__ import annotations

import datetime as dt
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from cluster import cluster
from small_shop import RUN_DATE, Shop, make_shop

from nightshift.config.settings import Runner
from nightshift.lake import Lake, engine
from nightshift_airflow.runners import ProcessRunner

STEPS = ("ingest", "validate_events", "build_features")
LOG = logging.getLogger("task")
OF_THE_RUN = {"validation_results"}  # holds when it was checked


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

    def night(self, runner: Runner) -> None:
        own = {"NIGHTSHIFT_HOME": str(self.home), "NIGHTSHIFT_CONFIG": str(self.config)}
        runner = runner.model_copy(update={"environment": runner.environment | own})
        for step in STEPS:
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


def test_the_engines_leave_the_same_tables(home: Path) -> None:
    shop = make_shop(home / "shop", uncompiled=True)
    local = with_engine(shop, "local", master="local[2]", memory="1g")
    local.engine("start")
    try:
        local.night(Runner())
        server = engine.running(local.home)
        assert server is not None
        connect = with_engine(shop, "connect", kind="connect", remote=f"sc://127.0.0.1:{server['port']}")
        connect.night(Runner())
    finally:
        local.engine("stop")

    submit = with_engine(shop, "submit", kind="submit")
    quick = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    small = {"spark.executor.memory": "512m", "spark.executor.extraJavaOptions": quick, "spark.cores.max": "2"}
    small["spark.scheduler.minRegisteredResourcesRatio"] = "1"  # begin when both workers are there
    values = yaml.safe_load(submit.config.read_text())
    values["engine"]["conf"] |= small
    submit.config.write_text(yaml.safe_dump(values))
    with cluster(home) as address:
        here = {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_SUBMIT_OPTS": quick}
        submit.night(Runner(kind="spark-submit", master=address, environment=here))
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
