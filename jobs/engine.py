"""The warm Spark server that the steps of a night share.

    python -m jobs.engine start     leave one running for this NIGHTSHIFT_HOME
    python -m jobs.engine stop
    python -m jobs.engine status

A step that finds none starts its own and stops it when it ends. With the engines `connect` and `submit` Spark runs
elsewhere, and these commands do nothing.
"""

from __future__ import annotations

import argparse
import json

from jobs.command import set_up_logging
from nightshift.config import load
from nightshift.lake import engine
from nightshift.runs import home_of


def start() -> dict[str, int]:
    settings = load()
    return engine.start(settings.engine, home_of(settings)) if settings.engine.kind == "local" else {}


def stop() -> dict[str, bool]:
    return {"stopped": engine.stop(home_of(load()))}


def status() -> dict[str, int]:
    return engine.running(home_of(load())) or {}


if __name__ == "__main__":
    commands = {"start": start, "stop": stop, "status": status}
    parser = argparse.ArgumentParser(
        "python -m jobs.engine", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=commands)
    set_up_logging()
    print(json.dumps(commands[parser.parse_args().command]()))
