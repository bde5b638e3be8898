"""Start Airflow, MLflow and the lookup service on loopback, say where they are, and stop them on Ctrl-C: `make up`."""

from __future__ import annotations

import signal
import sys
import time
from types import FrameType

from nightshift.config import load
from nightshift.runs import home_of
from scripts.nightly import prepare_airflow
from scripts.services import (
    ServiceError,
    airflow_login,
    airflow_url,
    check_alive,
    commands,
    mlflow_url,
    running,
    wait_for,
)


def main() -> None:
    settings = load()
    home = home_of(settings)
    logs = home / "logs"
    prepare_airflow(home)
    (home / "mlflow").mkdir(parents=True, exist_ok=True)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell may have started us with interrupts ignored
        signal.signal(number, _interrupt)
    print("Starting Airflow, MLflow and the lookup service ...", flush=True)
    try:
        with running(commands(settings, home), logs) as processes:
            lookup = f"http://{settings.serving.host}:{settings.serving.port}"
            wait_for(f"{airflow_url()}/api/v2/monitor/health", processes, logs)
            wait_for(f"{mlflow_url()}/health", processes, logs)
            wait_for(f"{lookup}/healthz", processes, logs)
            login = airflow_login()
            print(f"  Airflow  {airflow_url()}   " + ("user {}, password {}".format(*login) if login else "no login"))
            print(f"  MLflow   {mlflow_url()}")
            print(f"  Lookup   {lookup}/docs")
            print(f"Trigger a night: {airflow_url()}/dags/nightly_recommendations, then Trigger. Logs: {logs}")
            print("Ctrl-C stops them all.", flush=True)
            while True:
                check_alive(processes, logs)
                time.sleep(1)
    except KeyboardInterrupt:
        print("\nStopped.")
    except ServiceError as error:
        print(f"up: {error}", file=sys.stderr)
        sys.exit(1)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
