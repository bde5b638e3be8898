"""A company whose history lies in the lake already, and whose next nights are run through the jobs' command lines."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.events import Shop
from benchmarks.events.files import write_config, write_day
from benchmarks.events.fill import fill_lake
from benchmarks.measure import Cost, costs, say
from benchmarks.processes import ROOT, command, environment
from nightshift.config import Settings, load
from nightshift.config.settings import Engine
from nightshift.lake import Lake, engine

NIGHTLY = ("ingest", "validate_events", "build_features")  # what a night of data is, without models and lists
TEST_DAYS = 1
"""Cut-offs one day apart: those before a night's own stand since the nights before, as they do for a shop that has run
for long, so that a night builds one state. With the usual two weeks, as many nights would have to be run first."""


@dataclass(frozen=True)
class Company:
    """A folder with a configuration, the files of the days to come, and a NIGHTSHIFT_HOME."""

    folder: Path
    shop: Shop

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def config(self) -> Path:
        return self.folder / "nightshift.yaml"

    @property
    def settings(self) -> Settings:
        return load(self.config)

    @property
    def lake(self) -> Lake:
        return Lake(self.home / "lake")

    @property
    def next_day(self) -> dt.date:
        """The day after the last that is in the lake."""
        return dt.date.fromisoformat(max(self.lake.run_dates("ingest_counts"))) + dt.timedelta(days=1)

    def prepare(self, history_days: int, engine_settings: dict[str, Any], workers: int) -> None:
        """Put the history into the lake and build the features as of its last day, unless that was done before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_config(self.shop, self.folder, "parquet", engine=engine_settings, evaluation={"test_days": TEST_DAYS})
        done, wanted = self.folder / "prepared.json", {"shop": str(self.shop), "history_days": history_days}
        if done.exists():
            if json.loads(done.read_text()) != wanted:
                raise SystemExit(f"{self.folder} holds another history: {done.read_text()}; name another --work")
            return
        days = [self.shop.first_day + dt.timedelta(days=n) for n in range(history_days)]
        with costs() as cost:
            rows = fill_lake(self.shop, self.lake, self.settings.source, days, workers)
        say(f"{history_days} days of history, {rows:,} rows, put in the lake in {cost.seconds:.0f} s")
        built = self.step("build_features", days[-1])
        say(f"features as of {days[-1]} from all of it in {built.seconds:.0f} s")
        done.write_text(json.dumps(wanted))

    def deliver(self, day: dt.date) -> int:
        """Write the file of a day. Returns its rows."""
        return write_day(self.shop, day, self.folder, "parquet").rows

    def night(self, steps: tuple[str, ...] = NIGHTLY) -> dict[str, Cost]:
        """Deliver the next day and run its night. Returns what each step took."""
        day = self.next_day
        self.deliver(day)
        return {step: self.step(step, day) for step in steps}

    def step(self, name: str, run_date: dt.date, *arguments: str) -> Cost:
        """One step as a process of its own: its cost, with the local Spark server's memory, and its summary."""
        given = command(f"jobs.{name}", "--run-date", str(run_date), "--config", str(self.config), *arguments)
        own = environment(NIGHTSHIFT_HOME=str(self.home))
        server = engine.running(self.home)
        with costs(*([server["pid"]] if server else [])) as cost:
            done = subprocess.run(given, cwd=ROOT, env=own, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{name} of {run_date} in {self.folder} failed:\n{done.stderr[-3000:]}")
        cost.told = {**json.loads(done.stdout.splitlines()[-1]), "log": done.stderr.splitlines()}
        return cost


@contextlib.contextmanager
def warm_engine(home: Path, master: str, memory: str) -> Iterator[dict[str, Any]]:
    """One Spark server for several companies, warm for all alike. Yields the `engine` section that reaches it."""
    home.mkdir(parents=True, exist_ok=True)
    server = engine.start(Engine(master=master, memory=memory), home)
    try:
        yield {"kind": "connect", "remote": f"sc://127.0.0.1:{server['port']}"}
    finally:
        engine.stop(home)
