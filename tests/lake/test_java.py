"""Spark finds a Java on every machine: its own, or the wheel's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

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
