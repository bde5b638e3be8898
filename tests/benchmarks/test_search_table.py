"""What the search benchmark compares."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.search import main


def test_the_ways_to_search_stand_beside_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.search.in_a_process_of_its_own", lambda work, *given: work(*given))
    main(f"--vectors 600 --dimension 8 --queries 40 --kinds hnsw --repeats 2 --out {tmp_path}".split())
    kept = json.loads((tmp_path / "search.json").read_text())
    rows = {row["way"]: row for row in kept["rows"]}
    assert list(rows) == ["matrix product", "FAISS knn", "exact search", "hnsw, efSearch 128"]
    assert rows["matrix product"]["share of the product"] == rows["exact search"]["times exact search"] == 1
    assert [row["recall@100"] for row in rows.values()][:3] == ["", "1.0000", "1.0000"]
    assert float(rows["hnsw, efSearch 128"]["recall@100"]) >= 0.99
    assert all(len(measured) == 2 for measured in kept["raw"].values())  # the round that warms up is not counted
