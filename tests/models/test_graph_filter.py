"""The closed form finds planted groups, gives the same bytes again, and in the memory of its matrix and a block."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse

from benchmarks.quality.held_out import foretold, hide
from benchmarks.quality.shape_search import choose_shape
from nightshift.models import graph_filter
from nightshift.models.graph_filter import Shape, directions, fit_filter, room_for

SMALL = Shape(dimension=8)


@pytest.fixture(scope="module")
def groups() -> sparse.csr_array:
    """400 users of 4 tastes; each has 8 of the 20 items of a taste, and two of 80 by chance."""
    rng = np.random.default_rng(3)
    dense = np.zeros((400, 80), dtype=np.float32)
    for user, row in enumerate(dense):
        row[20 * (user % 4) + rng.choice(20, 8, replace=False)] = 1
        row[rng.choice(80, 2, replace=False)] = 1
    return sparse.csr_array(dense)


def test_hidden_items_of_a_planted_taste_are_foretold(groups: sparse.csr_array) -> None:
    known, hidden = hide(groups, 0.25, seed=1)
    fitted = fit_filter(known, SMALL, seed=1)
    found = foretold(lambda users: fitted.scores(known[users]), known, hidden, 20)
    by_chance = foretold(lambda users: torch.rand(len(users), 80), known, hidden, 20)
    assert found.recall > 2 * by_chance.recall
    assert found.users == 400


def test_the_directions_are_those_of_the_whole_decomposition(groups: sparse.csr_array) -> None:
    found = directions(groups, 4, 0.5, 0.5, seed=1)
    users, items = (np.asarray(groups.sum(axis=axis)) ** 0.5 for axis in (1, 0))
    _, strength, vectors = np.linalg.svd(groups.toarray() / users[:, None] / np.maximum(items, 1))
    np.testing.assert_allclose(found.strength, strength[:4] / strength[0], rtol=1e-3)
    overlap = np.linalg.svd(vectors[:4] @ found.vectors.numpy())[1]
    np.testing.assert_allclose(overlap, 1, atol=1e-3)


def test_users_in_blocks_change_nothing(groups: sparse.csr_array, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit_filter(groups, SMALL, seed=1).scores(groups)
    monkeypatch.setattr(graph_filter, "ROWS", 64)
    torch.testing.assert_close(fit_filter(groups, SMALL, seed=1).scores(groups), whole, rtol=1e-3, atol=1e-3)


def test_the_same_matrix_and_seed_give_the_same_bytes(groups: sparse.csr_array) -> None:
    first, second = (fit_filter(groups, SMALL, seed=1) for _ in range(2))
    assert torch.equal(first.items, second.items)
    assert torch.equal(first.taste, second.taste)


def test_more_dimensions_than_there_are_items_do_no_harm(groups: sparse.csr_array) -> None:
    few = groups[:, :40]
    fitted = fit_filter(few, replace(SMALL, dimension=500, noise=0.0), seed=1)
    assert fitted.items.shape == (40, 40)
    assert torch.isfinite(fitted.scores(few)).all()


def test_an_item_and_a_user_without_anything_get_numbers(groups: sparse.csr_array) -> None:
    empty = sparse.csr_array(sparse.block_diag([groups, sparse.csr_array((1, 1))]))
    scores = fit_filter(empty, SMALL, seed=1).scores(empty)
    assert torch.isfinite(scores).all()
    assert not scores[-1].any()


def test_a_search_betters_a_bad_start_within_its_trials(groups: sparse.csr_array, caplog) -> None:
    caplog.set_level("INFO", logger="benchmarks.quality")
    bad = Shape(dimension=16, slope=-1.0, popularity=1.5)
    chosen = choose_shape(groups, seed=1, start=bad, trials=15)
    trials = [float(record.args[1]) for record in caplog.records]
    assert len(trials) <= 16
    assert max(trials) > trials[0]
    assert chosen != bad
    assert choose_shape(groups, seed=1, start=bad, trials=0) == bad


@pytest.mark.parametrize(("items", "room"), [(0, 64), (500, 128), (3_600, 928), (40_981, 6528), (1_000_000, 256)])
def test_directions_grow_with_the_items_until_they_fill_a_gib(items: int, room: int) -> None:
    assert room_for(items) == room
    assert room_for(items) * items <= 2**28


def test_memory_is_bounded_by_the_matrix_and_a_block(monkeypatch) -> None:
    monkeypatch.setattr(graph_filter, "ROWS", 500)
    matrix = sparse.random_array((20_000, 1_000), density=0.05, format="csr", rng=np.random.default_rng(0))
    tracemalloc.start()
    directions(matrix, 4, 0.5, 0.5, seed=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 * matrix.nnz


def by_chance(users: int, items: int) -> sparse.csr_array:
    """Every pair as likely as any other."""
    rng = np.random.default_rng(0)
    return sparse.random_array(
        (users, items), density=0.02, format="csr", rng=rng, data_sampler=lambda size: np.ones(size)
    )


@pytest.mark.parametrize("shape", [(300, 2_000), (2_000, 300), (1_000, 1_000)])
def test_what_chance_would_give_is_told_from_the_size_and_the_energy(shape: tuple[int, int]) -> None:
    """Of entries by chance the first direction is that all have in common; the second is what chance gives."""
    found = directions(by_chance(*shape), 4, 0.3, 0.45, seed=1)
    assert 0.8 < float(found.strength[1]) ** 2 / found.chance < 1


def test_users_and_items_without_anything_change_no_chance() -> None:
    matrix = by_chance(300, 600)
    empty = sparse.csr_array(sparse.block_diag([matrix, sparse.csr_array((500, 900))]))
    with_them, without = (directions(some, 4, 0.3, 0.45, seed=1).chance for some in (empty, matrix))
    assert with_them == pytest.approx(without)


def test_planted_tastes_stand_out_and_nothing_else_does(groups: sparse.csr_array) -> None:
    fitted = fit_filter(groups, Shape(noise=1.0, sharpening=0.0), seed=1)
    assert fitted.taste.any(dim=0).sum() == 4  # one that all have in common, and three by which four tastes differ
    assert fit_filter(groups, Shape(noise=0.0), seed=1).taste.any(dim=0).sum() == room_for(80)


def test_directions_that_count_for_nothing_are_left_out_up_to_a_whole_step() -> None:
    matrix = by_chance(300, 2_000)
    some = [fit_filter(matrix, Shape(noise=noise), seed=0) for noise in (0.0, 0.35, 1.0)]
    every, most, one = (int(each.taste.any(dim=0).sum()) for each in some)
    assert (every, one) == (300, 1)
    assert 32 < most < 300
    assert [each.items.shape[1] for each in some] == [300, -(-most // 32) * 32, 32]
    assert fit_filter(matrix, SMALL, seed=0).items.shape == (2_000, 8)


def test_nobody_who_has_what_anybody_else_has_is_no_error() -> None:
    alone = sparse.csr_array(sparse.eye_array(50, dtype=np.float32))
    assert torch.isfinite(fit_filter(alone, Shape(), seed=1).scores(alone)).all()


def test_no_more_directions_are_looked_at_than_the_items_are_worth() -> None:
    matrix = by_chance(2_000, 600)
    assert fit_filter(matrix, Shape(noise=0.0), seed=0).items.shape == (600, 160)
