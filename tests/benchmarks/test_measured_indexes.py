"""What the index benchmark draws and shows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from benchmarks.index import arguments, drawn, main, taken
from nightshift.models.graph_filter import Shape, fit_filter, room_for


def test_vectors_are_drawn_alike_by_the_same_seed() -> None:
    for first, second in zip(drawn(500, 8, 20, 1), drawn(500, 8, 20, 1), strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(drawn(500, 8, 20, 1)[0], drawn(500, 8, 20, 2)[0])


def test_exact_search_is_shown_beside_the_product_it_comes_down_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.index.in_a_process_of_its_own", lambda work, *given: work(*given))
    asked = "--vectors 500 --dimension 8 --queries 20 --kinds flat --repeats 1 --out"
    main([*asked.split(), str(tmp_path)])
    rows = json.loads((tmp_path / "index.json").read_text())["rows"]
    found = {f"{row['kind']} {row['effort']}".strip(): row["recall@100"] for row in rows}
    assert found == {"torch: the product alone": "nan", "torch: product and top-k": "1.0000", "flat": "1.0000"}


def test_the_vectors_of_a_matrix_are_as_long_as_a_night_makes_them_unless_told_otherwise(tmp_path: Path) -> None:
    items = 800
    train = sparse.random_array((300, items), density=0.05, rng=np.random.default_rng(1), format="csr")
    as_a_night = fit_filter(train.astype(np.float32), Shape(), 1).items.shape[1]
    sparse.save_npz(tmp_path / "train.npz", train)
    command = ["--train", str(tmp_path / "train.npz"), "--queries", "20"]
    for given, dimension in (([], as_a_night), (["--dimension", "24"], 24)):
        found, queries = taken(arguments().parse_args(command + given), dimension=64)
        assert found.shape == (items, dimension)
        assert queries.shape == (20, dimension)
    assert 64 < as_a_night < room_for(items)  # neither what is drawn by default nor the least, nor all
