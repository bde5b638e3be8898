"""The splits that defaults are held against foretell nothing that is known, and read no day that judges the chain."""

import gzip

import numpy as np
import pytest
from scipy import sparse

from benchmarks.quality import splits
from benchmarks.quality.splits import core, drawn, filled, main, of_sample, popular, thinned

LINES = (
    ("22720", 1, "2011-10-01 10:00:00", 1.0, 7.0),
    ("22720", -1, "2011-10-01 11:00:00", 1.0, 8.0),  # returned
    ("POST", 1, "2011-10-01 11:00:00", 1.0, 8.0),  # no product
    ("22721", 1, "2011-10-01 12:00:00", 1.0, 8.0),
    ("22722", 1, "2011-10-01 12:00:00", 1.0, 8.0),
    ("22720", 2, "2011-10-10 10:00:00", 1.0, 7.0),  # not new
    ("22721", 2, "2011-10-10 10:00:00", 1.0, 7.0),
    ("22799", 2, "2011-10-11 10:00:00", 1.0, 7.0),  # unknown before
    ("22722", 2, "2011-11-08 10:00:00", 1.0, 7.0),
    ("22720", 2, "2011-11-09 10:00:00", 1.0, 8.0),  # of the chain's test
)


@pytest.fixture(scope="module")
def matrix():
    rng = np.random.default_rng(1)
    made = sparse.random_array((400, 300), density=0.15, format="csr", rng=rng, dtype=np.float32)
    made.data[:] = 1
    return made


def test_a_cut_in_time_foretells_what_is_new_to_those_who_are_known(tmp_path, monkeypatch):
    for day in sorted({line[2][:10] for line in LINES}):
        rows = [",".join(map(str, line)) for line in LINES if line[2].startswith(day)]
        text = "\n".join(["StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID", *rows])
        (tmp_path / f"{day}.csv.gz").write_bytes(gzip.compress(text.encode()))
    monkeypatch.setattr(splits, "CUTS", ("2011-10-10",))
    made = {name: (known.toarray().tolist(), new.toarray().tolist()) for name, known, new in of_sample(tmp_path)}
    assert made["sample-2011-10-10"] == ([[1, 0, 0], [0, 1, 1]], [[0, 1, 1], [0, 0, 0]])
    assert np.shape(made["sample-hidden"][0]) == (2, 4)


def test_nothing_that_is_foretold_is_known(tmp_path, matrix, monkeypatch, capsys):
    monkeypatch.setattr(splits, "of_sample", lambda: [])
    sparse.save_npz(tmp_path / "m.npz", matrix)
    main(["--train", str(tmp_path / "m.npz"), "--out", str(tmp_path / "s")])
    folders = sorted(path.name for path in (tmp_path / "s").iterdir())
    assert len(folders) == 9 == len(capsys.readouterr().out.splitlines())
    for folder in folders:
        train, test = (sparse.load_npz(tmp_path / "s" / folder / f"{name}.npz") for name in ("train", "test"))
        assert train.shape == test.shape
        assert train.multiply(test).nnz == 0 < test.nnz < train.nnz


def test_each_cut_is_what_it_says(matrix):
    few = sparse.random_array((50, 300), density=0.05, format="csr", rng=np.random.default_rng(2), dtype=np.float32)
    few.data[:] = 1
    dense = core(sparse.csr_array(sparse.vstack([few, matrix])), 25)
    np.testing.assert_array_equal(dense.toarray(), matrix.toarray())
    degree = np.sort(np.asarray(matrix.sum(axis=0)).ravel())
    most = popular(matrix, items=50, least=5)
    assert most.shape[1] == 50
    assert np.asarray(most.sum(axis=1)).min() >= 5
    assert most.nnz <= degree[-50:].sum()
    assert drawn(matrix, 100).shape == (100, 300)
    assert thinned(matrix, 0.4).nnz == pytest.approx(0.4 * matrix.nnz, rel=0.05)
    assert filled(sparse.csr_array(np.diag([1.0, 0.0, 1.0]))).shape == (2, 2)
