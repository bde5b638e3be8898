"""A Spark session by configuration, and the warm local server that the jobs of a night share.

The engine `local` is a Spark Connect server on loopback. `start` leaves one running for every job of this
NIGHTSHIFT_HOME; a job that finds none starts its own and stops it when it ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nightshift.config.settings import Engine
from nightshift.lake.java import java_home
from nightshift.lake.processes import is_alive, started
from nightshift.runs import StepError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger("nightshift.lake")

CONNECT_SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"
READY_SECONDS = 120
CONNECT_VARIABLES = ("SPARK_CONNECT_MODE_ENABLED", "SPARK_REMOTE")  # of a parent that talks to a Connect server

SESSION = {  # of every session, whatever the engine
    "spark.sql.ansi.enabled": "false",  # a value that cannot be cast is NULL, and the contract's to judge
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.sources.parallelPartitionDiscovery.threshold": "10000",
    "spark.sql.files.openCostInBytes": "65536",  # a year of small daily files in a few tasks
}
PROCESS = {  # of a Spark whose driver this machine starts
    "spark.ui.enabled": "false",
    "spark.log.level": "WARN",
    "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.artifact.isolation.enabled": "false",
}
LOOPBACK = {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}


Cached = Callable[["DataFrame"], "DataFrame"]


@contextlib.contextmanager
def caching() -> Iterator[Cached]:
    """A function that has Spark keep a frame once it is computed; at the end Spark is told to keep them no longer.

    A server keeps what nobody tells it to drop, long after the session that asked for it.
    """
    kept = []

    def cached(frame: DataFrame) -> DataFrame:
        kept.append(named(frame).persist())
        return kept[-1]

    try:
        yield cached
    finally:
        for frame in kept:
            frame.unpersist()


def named(frame: DataFrame) -> DataFrame:
    """The same rows by a name of the session, until that ends: Spark analyses the frame once, not with all upon it.

    An `Observation` of the frame is not told of them.
    """
    name = f"frame_{uuid.uuid4().hex}"
    frame.createTempView(name)
    return frame.sparkSession.table(name)


@contextlib.contextmanager
def session(engine: Engine, home: Path, timezone: str = "UTC") -> Iterator[SparkSession]:
    """A Spark session, closed at the end.

    Args:
        timezone: in which a time without a zone is read, and a timestamp has its date and hour.

    Raises:
        StepError: the engine cannot be reached or started.
    """
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    settings = SESSION | {"spark.sql.shuffle.partitions": str(engine.shuffle_partitions)} | engine.conf
    settings |= {"spark.sql.session.timeZone": timezone}
    with contextlib.ExitStack() as held:
        if engine.kind == "submit":
            for name in CONNECT_VARIABLES:
                os.environ.pop(name, None)
            spark = _on_a_cluster(engine, home, settings)
        else:
            remote = str(engine.remote) if engine.kind == "connect" else held.enter_context(_local_server(engine, home))
            spark = SparkSession.builder.remote(remote).getOrCreate()
        held.callback(_close, spark)
        for key, value in settings.items():
            if spark.conf.isModifiable(key):
                spark.conf.set(key, value)
        yield spark


def _close(spark: SparkSession) -> None:
    with contextlib.suppress(Exception):  # a server that is gone takes nothing with it
        spark.stop()


@contextlib.contextmanager
def _local_server(engine: Engine, home: Path) -> Iterator[str]:
    """The address of the shared server of this home, which lives on meanwhile; else of one for this session alone."""
    with in_use(home), contextlib.ExitStack() as held:
        server = running(home)
        if server is None:
            server = start(engine, home, shared=False)
            held.callback(_end, server["pid"])
        _wait_until_ready(server)
        yield f"sc://127.0.0.1:{server['port']}"


def _on_a_cluster(engine: Engine, home: Path, settings: dict[str, str]) -> SparkSession:
    """The session of the spark-submit that runs this process; without one, of a driver here for `engine.master`."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.config(map={**PROCESS, **settings})
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        os.environ["JAVA_HOME"] = str(java_home(home))
        builder = builder.master(engine.master).config("spark.driver.memory", engine.memory)
    return builder.getOrCreate()


def start(engine: Engine, home: Path, shared: bool = True) -> dict[str, int]:
    """Start a local server without waiting for it; a shared one that runs already is used as it is.

    Returns:
        Its `port` on loopback, its `pid` and when that `started`, in the kernel's ticks.
    """
    folder = home / "engine"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if shared and (server := running(home)):
            return server
        port = _free_port()
        with (folder / "server.log").open("ab") as output:
            process = subprocess.Popen(
                _command(engine, port),
                env=_environment(home),
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                cwd=folder,
                start_new_session=True,
                preexec_fn=None if shared else end_with_parent,
            )
        server = {"port": port, "pid": process.pid, "started": started(process.pid)}
        if shared:
            (folder / "server.json").write_text(json.dumps(server))
    log.info("engine: Spark Connect server %d starting on port %d", process.pid, port)
    return server


def running(home: Path) -> dict[str, int] | None:
    """The shared server of this home, if its process lives."""
    try:
        server: dict[str, int] = json.loads((home / "engine" / "server.json").read_text())
        return server if is_alive(server["pid"], server["started"]) else None
    except (OSError, ValueError, KeyError):
        return None


def stop(home: Path) -> bool:
    """Stop the shared server, unless a session uses it. Returns whether one was stopped."""
    with _users(home) as users:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("engine: left running, for somebody uses it; `python -m jobs.engine stop` when they have ended")
            return False
        server = running(home)
        (home / "engine" / "server.json").unlink(missing_ok=True)
        if server:
            _end(server["pid"])
        return server is not None


@contextlib.contextmanager
def in_use(home: Path) -> Iterator[None]:
    """Have `stop` leave the shared server to whoever does this; the kernel ends it with the process."""
    with _users(home) as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        yield


@contextlib.contextmanager
def _users(home: Path) -> Iterator[int]:
    """The file that sessions lock together, and `stop` alone."""
    (home / "engine").mkdir(parents=True, exist_ok=True)
    users = os.open(home / "engine" / "users", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield users
    finally:
        fcntl.flock(users, fcntl.LOCK_UN)  # by word too: a process that is being started has the file open for a moment
        os.close(users)


def end_with_parent() -> None:
    """Have the kernel end this process when its parent is gone, however it went (Linux: PR_SET_PDEATHSIG)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _command(engine: Engine, port: int) -> list[str]:
    import pyspark

    conf = (
        PROCESS
        | LOOPBACK
        | {
            "spark.connect.grpc.binding.address": "127.0.0.1",
            "spark.connect.grpc.binding.port": str(port),
            "spark.driver.extraJavaOptions": f"-XX:+UseParallelGC {engine.java_options}".strip(),
        }
    )
    command = [str(Path(pyspark.__file__).parent / "bin" / "spark-submit"), "--class", CONNECT_SERVER]
    command += ["--master", engine.master, "--driver-memory", engine.memory]
    for key, value in (conf | engine.conf).items():
        command += ["--conf", f"{key}={value}"]
    return [*command, "spark-internal"]


def _environment(home: Path) -> dict[str, str]:
    import pyspark

    return os.environ | {
        "JAVA_HOME": str(java_home(home)),
        "SPARK_HOME": str(Path(pyspark.__file__).parent),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "TZ": "UTC",
    }


def _wait_until_ready(server: dict[str, int]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server["port"]), timeout=1):
            return
        try:
            if os.waitpid(server["pid"], os.WNOHANG)[0]:
                break
        except ChildProcessError:
            if not Path(f"/proc/{server['pid']}").exists() and Path("/proc/self").exists():
                break
        time.sleep(0.1)
    raise StepError("the local Spark server did not come up: its log is engine/server.log in NIGHTSHIFT_HOME")


def _end(pid: int) -> None:
    """Ask the server to end, and see to it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        for _ in range(50):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            os.kill(pid, 0)
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
