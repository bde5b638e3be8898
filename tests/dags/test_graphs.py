"""The DAGs parse, light and without error, and no edge changes unseen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SNAPSHOT = Path(__file__).with_name("graphs.json")

GRAPHS = """
import importlib.util, json, pathlib, sys, time
import airflow.sdk, airflow.timetables.base, airflow.providers.standard.operators.trigger_dagrun
graphs, seconds = {}, {}
for file in sorted(pathlib.Path("dags").glob("*.py")):
    started = time.perf_counter()
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    seconds[file.stem] = time.perf_counter() - started
    for value in vars(module).values():
        if callable(value) and hasattr(value, "__wrapped__"):
            dag = value()
            graphs[dag.dag_id] = {
                "tasks": {t.task_id: sorted(t.downstream_task_ids) for t in dag.tasks},
                "params": sorted(dag.params),
                "max_active_runs": dag.max_active_runs,
                "catchup": dag.catchup,
                "documented": bool(dag.doc_md),
            }
heavy = {"pyspark", "torch", "mlflow", "pandas", "great_expectations", "lightgbm", "deltalake", "optuna"}
print(json.dumps({"graphs": graphs, "seconds": seconds, "heavy": sorted(heavy & set(sys.modules))}))
"""


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """All DAG files, imported in a process of their own."""
    environment = os.environ | {"AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow"))}
    environment["NIGHTSHIFT_CONFIG"] = str(ROOT / "nightshift.yaml")
    done = subprocess.run([sys.executable, "-c", GRAPHS], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_graphs_are_the_ones_written_down(parsed: dict) -> None:
    """After a change that is meant: NIGHTSHIFT_WRITE_SNAPSHOT=1 pytest tests/dags"""
    if os.environ.get("NIGHTSHIFT_WRITE_SNAPSHOT"):
        SNAPSHOT.write_text(json.dumps(parsed["graphs"], indent=1, sort_keys=True) + "\n")
    assert parsed["graphs"] == json.loads(SNAPSHOT.read_text())


def test_a_dag_file_imports_nothing_heavy(parsed: dict) -> None:
    assert parsed["heavy"] == []


def test_every_dag_has_a_page_and_one_run_at_a_time(parsed: dict) -> None:
    by_hand = {"rollback", "promote", "hyperparameter_search"}
    scheduled = {"nightly_recommendations", "drift_report", "maintenance", "exposures", "channels"}
    assert set(parsed["graphs"]) == scheduled | by_hand
    for graph in parsed["graphs"].values():
        assert graph["documented"]
        assert graph["max_active_runs"] == 1
        assert not graph["catchup"]
