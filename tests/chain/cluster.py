"""A standalone Spark cluster on loopback: a master and two workers of one core each, from the wheel's own scripts."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyspark

from nightshift.lake.engine import end_with_parent
from nightshift.lake.java import java_home

SPARK = Path(pyspark.__file__).parent
DEPLOY = "org.apache.spark.deploy"
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # to start a Java that does little


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """Its address. The workers' folders are `folder`/worker-0 and `folder`/worker-1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"spark://127.0.0.1:{port}"
    environment = os.environ | {
        "JAVA_HOME": str(java_home(folder)),
        "SPARK_HOME": str(SPARK),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": QUICK,
        "TZ": "UTC",
    }
    loopback = ["--host", "127.0.0.1", "--webui-port", "0"]
    commands = [[f"{DEPLOY}.master.Master", *loopback, "--port", str(port)]]
    for number in range(2):
        resources = ["--cores", "1", "--memory", "1g", "--work-dir", str(folder / f"worker-{number}")]
        commands.append([f"{DEPLOY}.worker.Worker", *loopback, *resources, address])
    processes = []
    try:
        for number, command in enumerate(commands):
            with (folder / f"cluster-{number}.log").open("wb") as output:
                processes.append(
                    subprocess.Popen(
                        [SPARK / "bin" / "spark-class", *command],
                        env=environment,
                        stdout=output,
                        stderr=output,
                        stdin=subprocess.DEVNULL,
                        start_new_session=True,
                        preexec_fn=end_with_parent,
                    )
                )
        yield address
    finally:
        for process in reversed(processes):  # the workers end their executors
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
