"""A step's summary comes back from wherever it ran, and so does the one line that says why it failed."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from nightshift.config import load
from nightshift.config.settings import Runner
from nightshift_airflow import runners
from nightshift_airflow.runners import PodRunner, ProcessRunner, StepFailed, runner_for

ROOT = Path(__file__).parents[2]
LOG = logging.getLogger("task")

STEPS = {
    "good": """
        import json, os, sys
        print("progress", file=sys.stderr)
        print("not the summary")
        print(json.dumps({"arguments": sys.argv[1:], "colour": os.environ.get("COLOUR")}))
    """,
    "refused": """
        import sys
        print("a warning before", file=sys.stderr)
        print("validate: price: found 3, allowed 0 to 1", file=sys.stderr)
        sys.exit(3)
    """,
    "silent": "import sys; sys.exit(9)",
    "wordless": "print('done')",
    "slow": """
        import os, pathlib, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        pathlib.Path(sys.argv[1]).write_text(str(child.pid))
        print("working", file=sys.stderr, flush=True)
        time.sleep(600)
    """,
}


@pytest.fixture(autouse=True)
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project of small steps in the place of this one."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "__init__.py").write_text("")
    for name, code in STEPS.items():
        lines = code.splitlines()
        (tmp_path / "jobs" / f"{name}.py").write_text("\n".join(line.removeprefix(" " * 8) for line in lines))
    monkeypatch.setattr(runners, "ROOT", tmp_path)


def run(step: str, *arguments: str, runner: ProcessRunner | None = None) -> dict[str, object]:
    return (runner or ProcessRunner(Runner())).run(step, arguments, LOG, {})


def test_a_process_returns_the_summary_and_its_progress_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    painted = ProcessRunner(Runner(environment={"COLOUR": "red"}))
    told = run("good", "--run-date", "2011-11-30", runner=painted)
    assert told == {"arguments": ["--run-date", "2011-11-30"], "colour": "red"}
    assert "progress" in caplog.messages


@pytest.mark.parametrize(
    ("step", "exit_code", "said"),
    [
        ("refused", 3, "validate: price: found 3, allowed 0 to 1"),  # a failed gate
        ("silent", 9, "silent ended with 9"),
        ("wordless", 1, "wordless ended well but printed no summary line"),
        ("absent", 1, "No module named jobs.absent"),
    ],
)
def test_a_failed_step_keeps_its_exit_code_and_says_its_last_line(step: str, exit_code: int, said: str) -> None:
    with pytest.raises(StepFailed, match=said) as failed:
        run(step)
    assert failed.value.exit_code == exit_code


def test_a_kill_ends_the_step_and_what_it_started(tmp_path: Path) -> None:
    runner, mark, failures = ProcessRunner(Runner()), tmp_path / "child", []

    def work() -> None:
        try:
            run("slow", str(mark), runner=runner)
        except StepFailed as failed:
            failures.append(failed)

    worker = threading.Thread(target=work)
    worker.start()
    deadline = time.monotonic() + 60
    while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
        worker.join(timeout=0.05)
    child = int(mark.read_text())
    runner.kill()
    worker.join(timeout=60)
    assert [failed.exit_code for failed in failures] == [-15]
    while _alive(child) and time.monotonic() < deadline:
        worker.join(timeout=0.05)
    assert not _alive(child)
    runner.kill()  # once more, and nothing happens


def _alive(pid: int) -> bool:
    """Whether a process still runs; one that only waits to be buried does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_spark_submit_places_the_steps_file_on_the_cluster(tmp_path: Path) -> None:
    cluster = ProcessRunner(Runner(kind="spark-submit", master="yarn"))
    assert cluster.command("build_features", ["--run-date", "2011-11-30"]) == [
        "spark-submit", "--master", "yarn", "--name", "nightshift build_features",
        str(tmp_path / "jobs" / "build_features.py"), "--run-date", "2011-11-30",
    ]  # fmt: skip


def test_what_spark_submit_mixes_into_one_stream_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It merges its Python's two streams into standard output, and ends with log lines of its own."""
    caplog.set_level(logging.INFO)
    submit = tmp_path / "bin" / "spark-submit"
    submit.parent.mkdir()
    merged = f'"{sys.executable}" "$@" 2>&1'
    submit.write_text(f'#!/bin/sh\nshift 4\n{merged}\nended=$?\necho "WARN ShutdownHookManager" >&2\nexit $ended\n')
    submit.chmod(0o755)
    monkeypatch.setenv("PATH", f"{submit.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    monkeypatch.setenv("NIGHTSHIFT_CONFIG", str(ROOT / "nightshift.yaml"))
    cluster = ProcessRunner(Runner(kind="spark-submit", master="yarn"))
    assert run("good", runner=cluster) == {"arguments": [], "colour": None}
    assert "progress" in caplog.messages
    with pytest.raises(StepFailed, match="validate: price: found 3, allowed 0 to 1") as failed:
        run("refused", runner=cluster)
    assert failed.value.exit_code == 3


def test_the_configuration_says_where_a_step_runs() -> None:
    pod = Runner(kind="pod", image="jobs:1", gpus=1, namespace="night")
    settings = load(ROOT / "nightshift.yaml").model_copy(update={"runners": {"train": pod}})
    assert isinstance(runner_for(settings, "train"), PodRunner)
    elsewhere = runner_for(settings, "ingest")
    assert isinstance(elsewhere, ProcessRunner)
    assert elsewhere.runner.kind == "process"


def pod_shell(folder: Path, step: str, *arguments: str) -> tuple[subprocess.CompletedProcess[str], str | None]:
    """What a pod does, with its own folders in `folder`: how it ended, and what it hands to the sidecar."""
    (folder / "python").unlink(missing_ok=True)
    (folder / "python").symlink_to(sys.executable)
    text = runners.POD_COMMAND.replace("/tmp/summary", str(folder / "summary"))
    text = text.replace("/airflow/xcom/", f"{folder}/")
    environment = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(folder)}
    command = ["sh", "-c", text, f"jobs.{step}", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    handed = folder / "return.json"
    return done, handed.read_text() if handed.exists() else None


def test_a_pod_hands_over_the_summary_and_its_log_has_all_that_was_said(tmp_path: Path) -> None:
    done, handed = pod_shell(tmp_path, "good", "--run-id", "two words")
    assert done.returncode == 0
    assert json.loads(handed or "") == {"arguments": ["--run-id", "two words"], "colour": None}
    assert done.stdout.splitlines()[0] == "not the summary"
    assert done.stderr == "progress\n"


@pytest.mark.parametrize(("step", "exit_code"), [("refused", 3), ("silent", 9), ("absent", 1)])
def test_a_pod_ends_with_the_exit_code_of_its_step_and_hands_nothing_over(
    step: str, exit_code: int, tmp_path: Path
) -> None:
    done, handed = pod_shell(tmp_path, step)
    assert (done.returncode, handed) == (exit_code, None)


class PodOperator:
    """Stands for the provider's; as that does, it asks to be skipped when the pod ends with a certain exit code."""

    def __init__(self, **options: Any) -> None:
        self.__dict__ |= options

    def execute(self, context: dict[str, Any]) -> Any:
        if context.get("exit_code") == self.skip_on_exit_code:
            raise AirflowSkipException("Pod returned exit code 3. Skipping.")
        if context.get("exit_code"):
            raise AirflowException("Pod returned a failure.")
        return context.get("handed_over")


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider is large, and an option."""
    names = ["airflow", "providers", "cncf", "kubernetes", "operators", "pod"]
    for length in range(3, len(names) + 1):
        monkeypatch.setitem(sys.modules, ".".join(names[:length]), types.ModuleType(names[length - 1]))
    sys.modules[".".join(names)].KubernetesPodOperator = PodOperator  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kubernetes", types.ModuleType("kubernetes"))
    monkeypatch.setitem(sys.modules, "kubernetes.client", types.ModuleType("client"))
    sys.modules["kubernetes.client"].V1ResourceRequirements = types.SimpleNamespace  # type: ignore[attr-defined]


POD = Runner(kind="pod", image="jobs:1", gpus=1, namespace="night", environment={"A": "b"})


def test_a_pod_without_the_provider_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "airflow.providers.cncf", None)
    with pytest.raises(StepFailed, match="needs the package apache-airflow-providers-cncf-kubernetes"):
        PodRunner(POD).run("train", [], LOG, {})


def test_a_pod_gets_the_image_the_gpu_the_command_and_airflows_template(
    provider: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = PodRunner(POD).pod_operator("train", ["--run-date", "2011-11-30"])
    assert (operator.image, operator.namespace, operator.env_vars) == ("jobs:1", "night", {"A": "b"})
    assert (operator.cmds, operator.arguments[0]) == (["sh", "-c"], runners.POD_COMMAND)
    assert operator.arguments[1:] == ["jobs.train", "--run-date", "2011-11-30"]
    assert operator.container_resources.limits == {"nvidia.com/gpu": "1"}
    assert operator.pod_template_file is None
    monkeypatch.setenv("AIRFLOW__KUBERNETES_EXECUTOR__POD_TEMPLATE_FILE", "/templates/pod.yaml")
    assert PodRunner(POD).pod_operator("train", []).pod_template_file == "/templates/pod.yaml"


def test_a_pods_refusing_gate_is_told_from_what_another_try_may_mend(provider: None) -> None:
    assert PodRunner(POD).run("train", [], LOG, {"handed_over": {"step": "train"}}) == {"step": "train"}
    with pytest.raises(StepFailed, match="a gate of train refused") as refused:
        PodRunner(POD).run("train", [], LOG, {"exit_code": 3})
    assert refused.value.exit_code == 3
    with pytest.raises(AirflowException, match="returned a failure"):
        PodRunner(POD).run("train", [], LOG, {"exit_code": 1})
    with pytest.raises(StepFailed, match="printed no summary line") as wordless:
        PodRunner(POD).run("train", [], LOG, {})
    assert wordless.value.exit_code == 1
