"""Airflow, MLflow and the lookup service as child processes on loopback, each with a log of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx

from nightshift.config import Settings

AIRFLOW = {
    "airflow-api": ["airflow", "api-server"],
    "airflow-scheduler": ["airflow", "scheduler"],
    "airflow-dag-processor": ["airflow", "dag-processor"],
}
READY_SECONDS = 180
STOP_SECONDS = 30


class ServiceError(RuntimeError):
    """A service ended or did not come up; the message names its log."""


def airflow_url() -> str:
    return os.environ["AIRFLOW__API__BASE_URL"]


def mlflow_url() -> str:
    return f"http://127.0.0.1:{os.environ['NIGHTSHIFT_MLFLOW_PORT']}"


def commands(settings: Settings, home: Path) -> dict[str, list[str]]:
    """All services by name: the lookup service and MLflow's server beside Airflow's own."""
    mlflow = (
        f"{sys.executable} -m mlflow server --host 127.0.0.1 --port {os.environ['NIGHTSHIFT_MLFLOW_PORT']} --workers 1"
    )
    store = f"--backend-store-uri sqlite:///{home}/mlflow/mlflow.db --artifacts-destination {home}/mlflow/artifacts"
    return {
        **AIRFLOW,
        "mlflow": [*mlflow.split(), *store.split()],
        "lookup": [sys.executable, "-m", "nightshift.serving", "--port", str(settings.serving.port)],
    }


@contextlib.contextmanager
def running(services: Mapping[str, Sequence[str]], logs: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Start services, each in a process group of its own, and stop them all at the end, the last first."""
    logs.mkdir(parents=True, exist_ok=True)
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in services.items():
            with (logs / f"{name}.log").open("wb") as output:
                processes[name] = subprocess.Popen(
                    command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
                )
        yield processes
    finally:
        for process in reversed(processes.values()):
            _signal(process, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for process in processes.values():
            try:
                process.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)
                process.wait()


def wait_for(url: str, processes: Mapping[str, subprocess.Popen[bytes]], logs: Path) -> None:
    """Wait until a URL answers well.

    Raises:
        ServiceError: a service ended meanwhile, or the time is up.
    """
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        check_alive(processes, logs)
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=5).is_success:
                return
        time.sleep(0.5)
    raise ServiceError(f"{url} did not answer within {READY_SECONDS} s; the logs are in {logs}")


def check_alive(processes: Mapping[str, subprocess.Popen[bytes]], logs: Path) -> None:
    for name, process in processes.items():
        if process.poll() is not None:
            tail = (logs / f"{name}.log").read_text(errors="replace").strip().splitlines()[-3:]
            raise ServiceError(f"{name} ended with {process.returncode}; {logs}/{name}.log ends: " + " | ".join(tail))


def airflow_login() -> tuple[str, str] | None:
    """The user and password that Airflow's simple auth manager made for this home; None where it asks for none."""
    file = Path(os.environ["AIRFLOW_HOME"]) / "simple_auth_manager_passwords.json.generated"
    if not file.exists():
        return None
    ((user, password),) = json.loads(file.read_text()).items()
    return user, password


def airflow_client() -> httpx.Client:
    """A client of Airflow's REST API that is logged in."""
    login = airflow_login()
    if login:
        form = {"username": login[0], "password": login[1]}
        answer = httpx.post(f"{airflow_url()}/auth/token", json=form, timeout=30)
    else:
        answer = httpx.get(f"{airflow_url()}/auth/token", timeout=30)
    answer.raise_for_status()
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    return httpx.Client(base_url=f"{airflow_url()}/api/v2", headers=headers, timeout=30)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
