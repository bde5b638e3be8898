from __future__ import annotations

from dataclasses import replace

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.config.settings import Index
from nightshift.retrieval import changes as changes_module
from nightshift.retrieval.changes import GONE_AT_MOST
from nightshift.retrieval.files import load_index, save_index
from nightshift.retrieval.index import ItemIndex
from nightshift.retrieval.recall import Truth
from nightshift.runs import GateError
from tests.retrieval.planted import HELD_OUT, IDS, ITEMS, TUNING, built, names, vectors

KINDS = ["flat", "hnsw", "ivf_pq"]
FIRST = 2100  # items in the catalogue at first
LATER = vectors(1200)  # of new items, or anew for old ones
STARTS = {kind: built(kind, items=FIRST) for kind in KINDS}

LIMITS = Index()


def with_items(index: ItemIndex, item_ids: list[str], new: np.ndarray) -> ItemIndex:
    return changes_module.with_items(index, item_ids, new, LIMITS, TUNING)


def without(index: ItemIndex, item_ids: list[str]) -> ItemIndex:
    return changes_module.without(index, item_ids, LIMITS, TUNING)


CHANGES = st.lists(
    st.tuples(st.sampled_from(["add", "remove"]), st.integers(0, len(LATER) - 1), st.integers(1, 400)),
    min_size=1,
    max_size=5,
)


def changed(index: ItemIndex, catalogue: dict[str, np.ndarray], changes: list[tuple[str, int, int]]) -> ItemIndex:
    """The index after changes, which the catalogue undergoes too."""
    for what, begin, count in changes:
        if what == "add":
            new = LATER[begin : begin + count]
            ids = names(FIRST - 300 + begin, FIRST - 300 + begin + len(new))  # some of them are there already
            catalogue |= dict(zip(ids, new, strict=True))
            index = with_items(index, ids.tolist(), new)
        else:
            ids = np.array(sorted(catalogue), dtype=object)[begin : begin + count]
            for item in ids:
                del catalogue[item]
            index = without(index, ids.tolist())
    return index


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=5, deadline=None, derandomize=True)
@given(changes=CHANGES)
def test_a_changed_index_finds_what_exact_search_over_the_new_catalogue_finds(kind, changes):
    catalogue = dict(zip(IDS[:FIRST], ITEMS[:FIRST], strict=True))
    index = changed(STARTS[kind], catalogue, changes)
    assert {item for item in index.item_ids if item is not None} == set(catalogue)
    rows, scores = index.search(HELD_OUT, 100)
    assert (rows >= 0).all()
    found = index.item_ids[rows]
    assert all(len(set(row)) == 100 and set(row) <= set(catalogue) for row in found)
    expected = np.einsum("qd,qkd->qk", HELD_OUT, np.array([[catalogue[item] for item in row] for row in found]))
    np.testing.assert_allclose(scores, expected, rtol=2e-3 if kind == "ivf_pq" else 1e-5)
    ids = np.array(sorted(catalogue), dtype=object)
    truth = Truth.of(HELD_OUT, np.array([catalogue[item] for item in ids]))
    assert truth.recall(np.searchsorted(ids, found)) >= (1 if kind == "flat" else 0.95)


@pytest.mark.parametrize("kind", KINDS)
def test_the_index_that_is_changed_stays_as_it_was(kind):
    index = STARTS[kind]
    before = faiss.serialize_index(index.index)
    changed(index, dict(zip(IDS[:FIRST], ITEMS[:FIRST], strict=True)), [("remove", 0, 50), ("add", 0, 500)])
    np.testing.assert_array_equal(faiss.serialize_index(index.index), before)
    assert index.item_ids.tolist() == IDS[:FIRST].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_a_mapped_index_can_be_changed_and_written_over_itself(kind, tmp_path):
    save_index(STARTS[kind], tmp_path, {})
    index = with_items(without(load_index(tmp_path), IDS[:100].tolist()), ["new"], LATER[:1])
    save_index(index, tmp_path, {})
    read = load_index(tmp_path)
    assert len(read) == FIRST - 100 + 1
    for found, expected in zip(read.search(HELD_OUT, 20), index.search(HELD_OUT, 20), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_graph_passes_over_what_is_gone_until_it_is_too_much():
    most = int(GONE_AT_MOST * FIRST)
    passing = without(STARTS["hnsw"], IDS[:most].tolist())
    assert (passing.index.ntotal, len(passing), len(passing.gone)) == (FIRST, FIRST - most, most)
    anew = without(passing, IDS[most : most + 1].tolist())
    assert (anew.index.ntotal, len(anew), len(anew.gone)) == (FIRST - most - 1, FIRST - most - 1, 0)


@pytest.mark.parametrize("kind", ["flat", "ivf_pq"])
def test_of_the_others_removed_items_leave_nothing_behind(kind):
    index = without(STARTS[kind], IDS[:1500].tolist())
    assert (index.index.ntotal, len(index.item_ids)) == (600, 600)
    assert len(faiss.serialize_index(index.index)) < 0.6 * len(faiss.serialize_index(STARTS[kind].index))


@pytest.mark.parametrize("kind", KINDS)
def test_all_can_go_and_others_come(kind):
    empty = without(STARTS[kind], IDS[:FIRST].tolist())
    assert empty.search(HELD_OUT, 10)[0].shape == (100, 0)
    rows, _ = with_items(empty, ["a", "b"], LATER[:2]).search(HELD_OUT, 10)
    assert (np.sort(rows, axis=1) == [0, 1]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_fit_is_refused(kind):
    index = STARTS[kind]
    with pytest.raises(ValueError, match="'nothing' is not in the index"):
        without(index, ["item0000", "nothing"])
    with pytest.raises(ValueError, match="'a' comes twice"):
        with_items(index, ["a", "b", "a"], LATER[:3])
    with pytest.raises(ValueError, match=r"\(3, 24\) are not the vectors of 2 items of dimension 24"):
        with_items(index, ["a", "b"], LATER[:3])


@pytest.mark.parametrize("kind", ["hnsw", "ivf_pq"])
def test_a_change_that_asks_for_more_effort_gets_it(kind):
    """An index that was searched with the least, until items came that are nothing like the others."""
    rng, easy = np.random.default_rng(1), replace(STARTS[kind], effort=STARTS[kind].efforts[0])
    new, asked = (rng.normal(size=(rows, LATER.shape[1])).astype(np.float32) for rows in (1500, 60))
    found = changes_module.with_items(easy, names(5000, 6500).tolist(), new, Index(target_recall=0.99), asked)
    truth = Truth.of(asked, np.concatenate([ITEMS[:FIRST], new]))
    before, after = (truth.recall(one.search(asked, 100)[0]) for one in (replace(found, effort=easy.effort), found))
    assert before < 0.985 < after


@pytest.mark.parametrize("kind", ["hnsw", "ivf_pq"])
def test_a_changed_index_that_finds_too_little_is_refused(kind, monkeypatch):
    monkeypatch.setattr(Truth, "recall", lambda *_: 0.9)
    with pytest.raises(GateError, match=rf"changed {kind} index finds 0\.9000 of the 100 true neighbours, 0\.95 are"):
        with_items(STARTS[kind], ["new"], LATER[:1])
    with pytest.raises(GateError, match="nobody is there to measure"):
        changes_module.without(STARTS[kind], IDS[:1].tolist(), LIMITS, TUNING[:1])
    assert len(with_items(STARTS["flat"], ["new"], LATER[:1])) == FIRST + 1
