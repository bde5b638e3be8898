from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nightshift.models.coded import Coded
from nightshift.models.recommender import SOURCES
from nightshift.ranking import candidates as module
from nightshift.ranking.candidates import HALF_LIFE_DAYS, Retriever
from nightshift.ranking.two_stage import brought_by, retriever_for
from tests import shop


@pytest.fixture(scope="module")
def retriever() -> Retriever:
    return retriever_for(shop.trained().holdout.embeddings, Coded(shop.snapshots()[1]), shop.settings())


@pytest.fixture(scope="module")
def candidates(retriever) -> pd.DataFrame:
    return retriever.candidates(np.arange(60))


def test_a_candidate_is_there_once_and_can_be_sold(retriever, candidates):
    assert not candidates.duplicated(["row", "item"]).any()
    assert retriever.coded.sellable[candidates["item"]].all()


def test_each_source_brings_as_many_as_it_may_ranked_from_one(retriever, candidates):
    for source in SOURCES:
        ranks = candidates.dropna(subset=f"{source}_rank").groupby("row")[f"{source}_rank"]
        most = getattr(retriever.counts, source)
        assert (ranks.max() == ranks.size()).all()
        assert ranks.size().max() <= most
        if source in ("graph_filter", "two_tower", "trending"):
            assert (ranks.size() == most).all()


def test_every_candidate_was_brought_by_somebody(candidates):
    ranks = candidates[[f"{source}_rank" for source in SOURCES]]
    assert ranks.notna().any(axis=1).all()
    best = brought_by(candidates)
    assert (ranks.to_numpy()[np.arange(len(ranks)), best] == ranks.min(axis=1)).all()


@pytest.mark.parametrize("source", ["graph_filter", "two_tower"])
def test_an_embedding_scores_what_others_brought_as_well(retriever, candidates, source):
    model, coded = retriever.embeddings[source], retriever.coded
    ids, vectors = model.item_vectors()
    users = model.user_vectors(coded.snapshot, coded.users)
    place = pd.Index(ids).get_indexer(coded.item_ids[candidates["item"]])
    expected = (users[candidates["row"]] * vectors[place]).sum(axis=1)
    np.testing.assert_allclose(candidates[f"{source}_score"], expected, atol=1e-5)


def test_how_many_are_scored_at_a_time_changes_nothing(retriever, candidates, monkeypatch):
    monkeypatch.setattr(module, "PAIRS", 7)
    pd.testing.assert_frame_equal(retriever.candidates(np.arange(60)), candidates, check_exact=True)


def test_the_planted_co_purchase_is_a_candidate(retriever):
    coded = retriever.coded
    pairs = coded.snapshot.pairs
    buyers = sorted(pairs.loc[pairs["item_id"] == "LANTERN00", "user_id"])
    found = retriever.candidates(coded.user_positions(buyers))
    partner = found[found["item"] == coded.items.get_loc("LANTERN01")]
    assert (partner["cooccurrence_rank"] <= 5).mean() > 0.8


def test_a_block_of_users_gives_what_all_users_give(retriever, candidates):
    block = retriever.candidates(np.array([7, 31, 59]))
    together = candidates[candidates["row"].isin([7, 31, 59])].reset_index(drop=True)
    pd.testing.assert_frame_equal(block.drop(columns="row"), together.drop(columns="row"), atol=1e-5)


def test_a_stranger_is_offered_what_is_trending(retriever):
    found = retriever.candidates(np.array([-1]))
    assert len(found) == retriever.counts.trending
    assert set(brought_by(found)) == {SOURCES.index("trending")}


def test_settings_that_changed_since_do_not_change_what_a_model_finds(retriever, candidates):
    """A champion meets the settings of later nights."""
    fitted = retriever.embeddings["two_tower"].about["context_items"]
    now = shop.settings(two_tower={"context_items": 1})
    later = retriever_for(retriever.embeddings, retriever.coded, now, retriever.counts)
    assert later.context == retriever.context == fitted > 1
    pd.testing.assert_frame_equal(later.candidates(np.arange(60)), candidates)


def test_the_context_is_the_one_that_the_model_was_fitted_with(retriever, candidates):
    model = retriever.embeddings["two_tower"]
    short = replace(model, about={**model.about, "context_items": 1})
    embeddings = {**retriever.embeddings, "two_tower": short}
    found = retriever_for(embeddings, retriever.coded, shop.settings()).candidates(np.arange(60))
    recent = retriever.coded.recent(np.arange(60), 1, HALF_LIFE_DAYS)
    expected = (recent @ retriever.coded.cooccurrence).toarray()[found["row"], found["item"]]
    np.testing.assert_allclose(found["cooccurrence_score"], expected, rtol=1e-6)
    assert not found["cooccurrence_score"].equals(candidates["cooccurrence_score"])
