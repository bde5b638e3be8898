"""Of the whole test session: where temporary files go, and one warm Spark; a test that needs none never starts it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from nightshift.config.settings import Engine
from nightshift.lake import engine

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no fault of the code's
hypothesis.settings.load_profile("untimed")

TINY = {  # rows are few here: compile nothing, plan once
    "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
}


@pytest.fixture(scope="session", autouse=True)
def temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever runs here keeps its temporary files in pytest's folder, also what is killed and cannot remove them."""
    folder = common(tmp_path_factory) / "tmp"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", str(folder))
        yield


def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of this run of the tests, of all workers."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inodes of the files and folders that were flushed to the disk, in that order."""
    inodes, fsync = list[int](), os.fsync

    def notes(handle: int) -> None:
        fsync(handle)
        inodes.append(os.fstat(handle).st_ino)

    monkeypatch.setattr(os, "fsync", notes)
    return inodes


@pytest.fixture(scope="session")
def warm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The one Spark server of the tests, of all workers': its port, its pid and when it started."""
    home = common(tmp_path_factory) / "spark"
    with engine.in_use(home):
        server = engine.start(Engine(master="local[2]", memory="1500m", conf=TINY), home)
        with engine.session(Engine(), home):
            pass  # it answers
        yield server
    engine.stop(home)  # does nothing while another worker uses it


@pytest.fixture(scope="session")
def warm_engine(warm_server: dict[str, int]) -> Engine:
    """Settings that send every session, of any process, to that server."""
    return Engine(kind="connect", remote=f"sc://127.0.0.1:{warm_server['port']}", shuffle_partitions=1)


@pytest.fixture
def spark(warm_engine: Engine, tmp_path: object) -> Iterator[SparkSession]:
    """A session of the shared server. A job that this test runs in this process would end it: use one or the other."""
    with engine.session(warm_engine, tmp_path) as session:  # type: ignore[arg-type]
        yield session
