"""Where a step runs: a process beside Airflow, a spark-submit, or a pod. `runners` in the configuration decides."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowSkipException

from nightshift.config import Settings, load
from nightshift.config.settings import Runner
from nightshift.runs import GateError, home_of

ROOT = Path(__file__).parents[2]  # where jobs/ lies

# The sidecar that hands XCom over reads return.json: the summary is the last line on standard output. The step's exit
# code is the pod's.
POD_COMMAND = """\
python -m "$0" "$@" >/tmp/summary
code=$?
cat /tmp/summary
[ $code -ne 0 ] || tail -n 1 /tmp/summary >/airflow/xcom/return.json
exit $code
"""


class StepFailed(Exception):
    """A step ended badly; the message is the one line that it printed."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class StepRunner(Protocol):
    def run(self, step: str, arguments: Sequence[str], log: Any, context: Any) -> dict[str, Any]:
        """Run a step to its end and return its summary. Raises StepFailed."""

    def kill(self) -> None:
        """End the step that runs."""


def runner_for(settings: Settings, step: str) -> StepRunner:
    """The runner that the configuration names for a step."""
    runner = settings.runners.get(step) or settings.runners.get("default") or Runner()
    if runner.kind == "pod":
        return PodRunner(runner)
    return ProcessRunner(runner)


class ProcessRunner:
    """A process on this machine: Python itself, or spark-submit, which places the work on a cluster."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.process: subprocess.Popen[str] | None = None

    def command(self, step: str, arguments: Sequence[str]) -> list[str]:
        if self.runner.kind == "spark-submit":
            submit = ["spark-submit", "--master", str(self.runner.master), "--name", f"nightshift {step}"]
            return [*submit, str(ROOT / "jobs" / f"{step}.py"), *arguments]
        return [sys.executable, "-m", f"jobs.{step}", *arguments]

    def variables(self) -> dict[str, str]:
        """What a step finds in its environment besides what is there."""
        found = {"PYTHONUNBUFFERED": "1", "PYTHONPATH": _python_path()}
        if self.runner.kind == "spark-submit":  # which starts the Java and the Python itself
            from nightshift.lake.java import java_home

            found |= {"JAVA_HOME": str(java_home(home_of(load()))), "PYSPARK_PYTHON": sys.executable}
        return found

    def run(self, step: str, arguments: Sequence[str], log: Any, context: Any) -> dict[str, Any]:
        process = self.process = subprocess.Popen(
            self.command(step, arguments),
            cwd=ROOT,
            env=os.environ | self.variables() | self.runner.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        last_error: list[str] = []
        progress = threading.Thread(target=_follow, args=(process.stderr, log, last_error), daemon=True)
        progress.start()
        told: list[str] = []
        by_submit = self.runner.kind == "spark-submit"  # which puts the step's standard error on its standard output
        for line in filter(str.strip, process.stdout):
            told.append(line)
            if by_submit:
                log.info("%s", line.rstrip())
        exit_code = process.wait()
        progress.join(timeout=10)
        if exit_code != 0:
            said = [line.rstrip() for line in told] if by_submit and told else last_error
            raise StepFailed(said[-1] if said else f"{step} ended with {exit_code}", exit_code)
        try:
            summary: dict[str, Any] = json.loads(told[-1])
        except (IndexError, ValueError):
            raise StepFailed(f"{step} ended well but printed no summary line", 1) from None
        return summary

    def kill(self) -> None:
        if self.process and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)


class PodRunner:
    """A pod of the jobs image, by Airflow's Kubernetes provider. The step's settings travel in its environment.

    A step leaves its work in NIGHTSHIFT_HOME for the next, wherever that runs: in the pod it has to be a volume that
    the other steps mount too. Airflow's own template for pods (`kubernetes_executor.pod_template_file`), where one is
    set, is the basis of these pods as well: that is where the volume is named, and mounted in its container `base`.
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.operator: Any = None

    def pod_operator(self, step: str, arguments: Sequence[str]) -> Any:
        try:
            from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
            from kubernetes.client import V1ResourceRequirements
        except ImportError:
            raise StepFailed(
                f"runners: {step} runs in a pod, which needs the package apache-airflow-providers-cncf-kubernetes", 1
            ) from None
        limits = {"nvidia.com/gpu": str(self.runner.gpus)} if self.runner.gpus else {}
        return KubernetesPodOperator(
            task_id=f"{step}_pod",
            name=f"nightshift-{step.replace('_', '-')}",
            namespace=self.runner.namespace,
            image=self.runner.image,
            cmds=["sh", "-c"],
            arguments=[POD_COMMAND, f"jobs.{step}", *arguments],
            env_vars=self.runner.environment,
            container_resources=V1ResourceRequirements(limits=limits),
            pod_template_file=conf.get("kubernetes_executor", "pod_template_file", fallback="") or None,
            skip_on_exit_code=GateError.exit_code,  # see run
            termination_message_policy="FallbackToLogsOnError",  # the line that says why is in the failure
            do_xcom_push=True,
            get_logs=True,
        )

    def run(self, step: str, arguments: Sequence[str], log: Any, context: Any) -> dict[str, Any]:
        """Of all exit codes the provider tells only one apart, as a wish to be skipped: here that of a gate."""
        self.operator = self.pod_operator(step, arguments)
        try:
            summary = self.operator.execute(context)
        except AirflowSkipException:
            raise StepFailed(f"a gate of {step} refused: the pod's log above says why", GateError.exit_code) from None
        if not isinstance(summary, dict):
            raise StepFailed(f"{step} ended well but printed no summary line", 1)
        return summary

    def kill(self) -> None:
        if self.operator is not None:
            self.operator.on_kill()


def _follow(stream: IO[str], log: Any, last: list[str]) -> None:
    """Hand the step's progress on to the task's log, and keep the last line: on failure it says why."""
    for line in stream:
        if line := line.rstrip():
            log.info("%s", line)
            last[:] = [line]


def _python_path() -> str:
    return os.pathsep.join([str(ROOT), str(ROOT / "include"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
