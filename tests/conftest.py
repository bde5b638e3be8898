"""One warm Spark for the whole test session; a test that needs none never starts it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from nightshift.config.settings import Engine
from nightshift.lake import engine

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TINY = {  # rows are few here: compile nothing, plan once
    "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
}


@pytest.fixture(scope="session")
def warm_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Settings that send every session, of this process or another, to the one server of the tests."""
    home = tmp_path_factory.mktemp("spark")
    server = engine.start(Engine(master="local[2]", memory="1g", conf=TINY), home)
    yield Engine(kind="connect", remote=f"sc://127.0.0.1:{server['port']}", shuffle_partitions=1)
    engine.stop(home)


@pytest.fixture
def spark(warm_engine: Engine, tmp_path: object) -> Iterator[SparkSession]:
    """A session of the shared server. A job that this test runs in this process would end it: use one or the other."""
    with engine.session(warm_engine, tmp_path) as session:  # type: ignore[arg-type]
        yield session
