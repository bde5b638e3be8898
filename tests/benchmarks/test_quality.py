"""`python -m benchmarks.quality` on two small files of one's own."""

import json
import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse

from benchmarks.processes import ROOT, environment
from benchmarks.quality.__main__ import main
from benchmarks.quality.models import Filtered
from nightshift.models.graph_filter import Shape, fit_filter, room_for

USERS, ITEMS = 80, 60


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """Two tastes: even users have even items, odd users odd ones; a tenth of them is hidden for the test."""
    rng = np.random.default_rng(3)
    has = (np.arange(USERS)[:, None] % 2 == np.arange(ITEMS)[None, :] % 2) & (rng.random((USERS, ITEMS)) < 0.6)
    hidden = has & (rng.random(has.shape) < 0.1)
    folder = tmp_path_factory.mktemp("split")
    for name, matrix in (("train", has & ~hidden), ("test", hidden)):
        sparse.save_npz(folder / f"{name}.npz", sparse.csr_array(matrix.astype(np.float32)))
    return folder, has & ~hidden, hidden


def run(split, out, *arguments):
    folder = split[0]
    main(["--train", str(folder / "train.npz"), "--test", str(folder / "test.npz"), "--out", str(out), *arguments])


def test_every_model_has_a_line(split, tmp_path):
    run(split, tmp_path, "--model", "popularity", "--model", "graph_filter")
    rows = {row["model"]: row for row in json.loads((tmp_path / "quality.json").read_text())["rows"]}
    assert list(rows) == ["popularity", "graph_filter"]
    worst, best = (recall_of_popularity(*split[1:], first=first) for first in (-1, 1))
    assert worst < best < 0.7
    assert worst <= float(rows["popularity"]["recall@20"]) <= best
    assert float(rows["graph_filter"]["recall@20"]) > 0.9  # of 30 items of a taste, 16 are known: 14 are left
    fitted = fit_filter(sparse.csr_array(split[1]), Shape(), seed=1)
    assert rows["graph_filter"]["note"] == f"defaults, {fitted.items.shape[1]} dimensions"
    assert rows["graph_filter"]["fit, s"] >= 0
    assert rows["graph_filter"]["peak, MiB"] > 0


def test_a_shape_that_was_searched_has_the_directions_that_it_was_chosen_with(monkeypatch):
    monkeypatch.setattr("benchmarks.quality.models.choose_shape", lambda matrix, seed: Shape(dimension=200, noise=0))
    train = sparse.random_array((300, 500), density=0.05, rng=np.random.default_rng(1), format="csr", dtype=np.float32)
    assert room_for(500) < 200 == Filtered.searched(train, seed=1).fitted.items.shape[1]


def test_without_a_folder_for_figures_the_command_prints_them(split):
    line = "-m benchmarks.quality --train {0}/train.npz --test {0}/test.npz --model popularity --budget 60"
    command = [sys.executable, *line.format(split[0]).split()]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("| popularity | 0.")


def test_a_model_that_takes_too_long_has_a_line_that_says_so(split, tmp_path):
    with pytest.raises(SystemExit, match="no model has figures"):
        run(split, tmp_path, "--model", "popularity", "--budget", "0.01")
    (row,) = json.loads((tmp_path / "quality.json").read_text())["rows"]
    assert row["note"] == "not done in 0.01 s"


def recall_of_popularity(train, test, first):
    """hits / test items, mean over users that have any; of equally popular items, those to come first or last."""
    found = []
    for user in np.flatnonzero(test.any(axis=1)):
        score = np.where(train[user], -1, train.sum(axis=0)) + 0.1 * first * test[user]
        found.append(test[user, np.argsort(-score)[:20]].sum() / test[user].sum())
    return np.mean(found)
