"""What the benchmarks measure with: memory of whole process trees, turns, and a table that can be read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import costs, interleaved, markdown, report, tree_mib

HOLDS_64_MIB = "held = bytearray(64 * 2**20); print('held', flush=True); input()"


def test_memory_of_what_a_process_has_started_counts() -> None:
    before = tree_mib([os.getpid()])
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDS_64_MIB], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout
    assert child.stdin
    try:
        assert child.stdout.readline() == "held\n"
        assert tree_mib([os.getpid()]) - before > 60
        assert tree_mib([child.pid]) > 60
        with costs() as cost:
            subprocess.run([sys.executable, "-c", "print()"], check=True, capture_output=True)
    finally:
        child.stdin.close()
        child.wait()
        child.stdout.close()
    assert cost.seconds > 0
    assert cost.peak_mib > 60


def test_alternatives_take_turns() -> None:
    turns: list[str] = []
    found = interleaved(2, {"a": lambda: turns.append("a"), "b": lambda: turns.append("b")})
    assert turns == ["a", "b", "a", "b"]
    assert {name: len(values) for name, values in found.items()} == {"a": 2, "b": 2}


def test_a_report_is_a_markdown_table_and_a_json_file(tmp_path: Path) -> None:
    rows = [{"way": "one", "rows": 1000, "seconds": 1.5}]
    assert markdown(rows).splitlines() == [
        "| way | rows | seconds |",
        "| --- | ---: | ---: |",
        "| one | 1,000 | 1.50 |",
    ]
    report("x", rows, {"out": tmp_path}, tmp_path)
    kept = json.loads((tmp_path / "x.json").read_text())
    assert kept["rows"] == rows
    assert kept["machine"]["cores"] >= 1
