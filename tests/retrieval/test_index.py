import logging

import numpy as np
import pytest

from nightshift.config.settings import Index
from nightshift.retrieval.index import build_index, kinds_for, tuned
from nightshift.retrieval.recall import Truth
from tests import shop
from tests.retrieval.planted import HELD_OUT, ITEMS, TUNING, built, shared

KINDS = ["flat", "hnsw", "ivf_pq"]


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_inner_products_and_fall(kind):
    rows, scores = shared(kind).search(HELD_OUT, 20)
    expected = np.einsum("qd,qkd->qk", HELD_OUT, ITEMS[rows])
    np.testing.assert_allclose(scores, expected, rtol=2e-3 if kind == "ivf_pq" else 1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_effort_is_raised_until_the_recall_is_reached(kind):
    index = built(kind, target_recall=0.99)
    assert index.kind == kind
    for queries, least in ((TUNING, 0.99), (HELD_OUT, 0.97)):
        truth = Truth.of(queries, ITEMS)
        assert truth.recall(index.search(truth.queries, 100)[0]) >= least


@pytest.mark.parametrize("kind", KINDS[1:])
def test_no_more_effort_than_is_needed(kind):
    truth, index = Truth.of(TUNING, ITEMS), shared(kind)
    easy, recall = tuned(index, [truth], 0.1)
    assert (easy.effort, recall >= 0.1) == (index.efforts[0], True)
    hard, recall = tuned(index, [truth], 1.1)
    assert hard.effort == index.efforts[-1]
    assert recall > 0.98


def test_the_effort_is_that_which_the_hardest_queries_need():
    """Users look for other things than items do."""
    index = built("ivf_pq", target_recall=0.99)
    truths = {"users": Truth.of(HELD_OUT, ITEMS), "items": Truth.of(ITEMS[::25], ITEMS)}
    alone = [index.efforts.index(tuned(index, [truth], 0.97)[0].effort) for truth in truths.values()]
    together, recall = tuned(index, list(truths.values()), 0.97)
    assert alone[0] != alone[1]
    assert index.efforts.index(together.effort) == max(alone)
    assert recall == min(truth.recall(together.search(truth.queries, 100)[0]) for truth in truths.values()) >= 0.97


def test_a_kind_that_misses_gives_way_to_a_more_exact_one_and_it_is_said(monkeypatch, caplog):
    monkeypatch.setattr("nightshift.retrieval.kinds.Cells.steps", ((1, 1),))
    with caplog.at_level(logging.WARNING, "nightshift.retrieval"):
        assert built("ivf_pq").kind == "hnsw"
        assert built("ivf_pq", graph_up_to=2499).kind == "flat"
        assert built("ivf_pq", graph_up_to=2499, fallback_up_to=2499).kind == "ivf_pq"
    said = [record.getMessage() for record in caplog.records]
    assert [line.partition(", ")[2] for line in said] == [
        "0.98 is aimed at: hnsw instead",
        "0.98 is aimed at: flat instead",
        "0.98 is aimed at",
    ]


def test_auto_goes_by_the_number_of_items():
    limits = Index(exact_up_to=3000, graph_up_to=6000, fallback_up_to=9000)
    found = {items: kinds_for(items, limits) for items in (3000, 3001, 6000, 6001, 9001)}
    assert found == {
        3000: ["flat"],
        3001: ["hnsw", "flat"],
        6000: ["hnsw", "flat"],
        6001: ["ivf_pq", "flat"],
        9001: ["ivf_pq"],
    }


def test_too_few_items_to_code_are_searched_exactly():
    assert built("ivf_pq", items=50).kind == "flat"


def test_fewer_items_than_asked_for_are_all_found():
    rows, _ = built("auto", items=3).search(HELD_OUT[:2], 10)
    assert sorted(rows[0].tolist()) == [0, 1, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_no_items_are_no_neighbours(kind):
    index = built(kind, items=0)
    assert (index.kind, len(index)) == ("flat", 0)
    assert index.search(HELD_OUT, 10)[0].shape == (100, 0)


@pytest.mark.parametrize("queries", [ITEMS[:0], np.zeros((3, ITEMS.shape[1]), dtype=np.float32)])
def test_where_nobody_is_there_to_choose_an_effort_with_the_search_is_exact(queries):
    settings = shop.settings(index={"kind": "hnsw"})
    index = build_index(np.arange(len(ITEMS)).astype(str), ITEMS, settings, lambda: queries)
    assert index.kind == "flat"
    assert index.search(HELD_OUT, 1)[0][:, 0].tolist() == (HELD_OUT @ ITEMS.T).argmax(axis=1).tolist()
