"""A slice of the shipped sample, small enough to run nights in a test: a fifth of the customers over six weeks."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import json
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

import yaml

from nightshift.config import load
from nightshift.config.settings import Engine
from nightshift.lake import engine
from nightshift.runs.steps import STEPS
from tests.chain.step_process import StepProcess

ROOT = Path(__file__).parents[2]
FIRST, RUN_DATE = dt.date(2011, 10, 18), dt.date(2011, 11, 28)


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
        return self._start([name], run_date, run_id).wait()

    def night(self, run_date: dt.date = RUN_DATE, run_id: str = "test") -> dict[str, dict[str, Any]]:
        """All steps of a night, by one process. Returns their summaries."""
        done = self._start(STEPS, run_date, run_id).wait()
        assert done.returncode == 0, done.stderr[-2000:]
        told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"')]
        assert [summary["step"] for summary in told] == list(STEPS), done.stdout[-2000:]
        return {summary["step"]: summary for summary in told}

    def kill_step(self, name: str, seconds: float, run_id: str = "test") -> bool:
        """SIGKILL a step that takes some seconds: when a third of them is over, or sooner, a little after it has first
        written. Returns whether it was still at work."""
        before, latest = self.files(), time.monotonic() + seconds / 3
        step = self._start([name], RUN_DATE, run_id)
        while step.process.exitcode is None and time.monotonic() < latest:
            if not self.files() <= before:
                latest = min(latest, time.monotonic() + min(seconds / 5, 2))
            step.process.join(0.01)
        return step.kill()

    def _start(self, steps: Sequence[str], run_date: dt.date, run_id: str) -> StepProcess:
        return StepProcess(steps, ["--run-date", str(run_date), "--run-id", run_id], self.environment)

    def files(self) -> set[str]:
        """All files and folders of the home but those of Spark's server."""
        return {
            path for top in self.home.iterdir() if top.name != "engine" for path in glob(f"{top}/**", recursive=True)
        }

    def pointer(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.home / "published" / "home" / "current.json").read_text())
        return found

    def start_engine(self) -> None:
        engine.start(load(self.config).engine, self.home)

    def stop_engine(self) -> None:
        engine.stop(self.home)


OWN_ENGINE = Engine(memory="1g", shuffle_partitions=2, java_options="-XX:TieredStopAtLevel=1")


def make_shop(folder: Path, spark: Engine = OWN_ENGINE) -> Shop:
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
        "engine": spark.model_dump(),
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
