"""A slice of the shipped sample, small enough to run nights in a test: a fifth of the customers over ten weeks."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nightshift.runs.steps import STEPS

ROOT = Path(__file__).parents[2]
FIRST, RUN_DATE = dt.date(2011, 9, 20), dt.date(2011, 11, 28)


@dataclass(frozen=True)
class Shop:
    """A folder with the slice's files, a configuration for it, and nights run on it."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "var"

    @property
    def config(self) -> Path:
        return self.folder / "nightshift.yaml"

    @property
    def environment(self) -> dict[str, str]:
        own = {"NIGHTSHIFT_HOME": str(self.home), "NIGHTSHIFT_CONFIG": str(self.config)}
        return {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")} | own

    def step(self, name: str, run_date: dt.date = RUN_DATE, run_id: str = "test") -> subprocess.CompletedProcess[str]:
        """One step, as a process of its own."""
        command = [sys.executable, "-m", f"jobs.{name}", "--run-date", str(run_date), "--run-id", run_id]
        return subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True)

    def night(self, run_date: dt.date = RUN_DATE, run_id: str = "test") -> dict[str, dict[str, Any]]:
        """All steps of a night, by one process that imports the libraries once. Returns their summaries."""
        each = "import runpy\nfor step in " + repr(STEPS) + ": runpy.run_module(f'jobs.{step}', run_name='__main__')"
        command = [sys.executable, "-c", each, "--run-date", str(run_date), "--run-id", run_id]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"')]
        assert [summary["step"] for summary in told] == list(STEPS), done.stdout[-2000:]
        return {summary["step"]: summary for summary in told}

    def kill_step(self, name: str, after: float, run_id: str = "test") -> bool:
        """Start a step and SIGKILL it after some seconds. Returns whether it was still at work."""
        command = [sys.executable, "-m", f"jobs.{name}", "--run-date", str(RUN_DATE), "--run-id", run_id]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=quiet, stderr=quiet)
        deadline = time.monotonic() + after
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        at_work = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        return at_work

    def pointer(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.home / "published" / "home" / "current.json").read_text())
        return found

    def engine(self, command: str) -> None:
        arguments = [sys.executable, "-m", "jobs.engine", command]
        subprocess.run(arguments, cwd=ROOT, env=self.environment, check=True, capture_output=True)


UNCOMPILED = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}
"""Spark computes by interpreting: quicker over few rows, and what a test of something else may do."""


def make_shop(folder: Path, uncompiled: bool = False) -> Shop:
    """Write the slice's daily files and a configuration of small models into `folder`."""
    day = FIRST
    (folder / "events").mkdir(parents=True)
    while day <= RUN_DATE:
        if (file := ROOT / "include" / "sample_data" / f"{day}.csv.gz").exists():
            write_day(folder, day, sliced(gzip.decompress(file.read_bytes()).decode()))
        day += dt.timedelta(days=1)
    settings = yaml.safe_load((ROOT / "nightshift.yaml").read_text())
    settings["source"] |= {"address": "events/{run_date}.csv.gz", "first_day": FIRST}
    settings |= {
        "engine": {
            "memory": "1g",
            "shuffle_partitions": 2,
            "java_options": "-XX:TieredStopAtLevel=1",
            "conf": UNCOMPILED if uncompiled else {},
        },
        "evaluation": {"test_days": 14, "min_users": 20},
        "two_tower": {"epochs": 1, "dimension": 16},
        "ranker": {"trees": 20},
    }
    shop = Shop(folder)
    shop.config.write_text(yaml.safe_dump(settings))
    return shop


def sliced(text: str) -> str:
    """The header, the rows of every fifth customer, and every fifth row without a customer."""
    rows = list(csv.reader(io.StringIO(text)))
    kept = [row for n, row in enumerate(rows[1:]) if (int(float(row[6])) if row[6] else n) % 5 == 0]
    output = io.StringIO()
    csv.writer(output, lineterminator="\n").writerows([rows[0], *kept])
    return output.getvalue()


def write_day(folder: Path, day: dt.date, text: str) -> None:
    (folder / "events" / f"{day}.csv.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
