"""What settings are held against: the night's own model, on users that no choice was made by, and on no later day."""

from __future__ import annotations

import numpy as np
import pytest

from nightshift.evaluation.compare import compare
from nightshift.evaluation.labels import labels
from nightshift.models.fitting import NothingToLearnError
from nightshift.ranking.training import train_ranker
from nightshift.ranking.two_stage import EMBEDDINGS, TwoStage
from nightshift.tuning.bench import BUCKETS, CHOOSING, FITS, FOLDS, Bench
from tests import shop

SETTINGS = shop.settings(two_tower={"epochs": 2}, ranker={"trees": 10})


def bench(**sections) -> Bench:
    known, early = shop.interactions(), shop.snapshots()[0]
    known = known[known["run_date"] <= shop.TEST_CUTOFF]
    truth = labels(known, early.as_of, shop.TEST_CUTOFF, early)
    return Bench(early, known, truth, shop.settings(**sections) if sections else SETTINGS)


@pytest.fixture(scope="module")
def one() -> Bench:
    return bench()


def test_it_fits_every_model_that_a_night_fits():
    assert FITS.keys() == EMBEDDINGS.keys()


def test_every_user_is_to_choose_by_or_to_confirm_with_and_tried_once(one):
    parts = list(one.tried({}))
    sizes = {bucket: len(values) for part in parts for bucket, values in part.items()}
    assert len(parts) == FOLDS
    assert sum(map(len, parts)) == len(sizes), "no bucket is in two parts"
    assert sizes == {bucket: n for bucket, n in enumerate(np.bincount(one.bucket[one.choosing])) if n}
    assert len(one.confirmed({})) == (~one.choosing).sum()
    assert 0.25 < (~one.choosing).mean() < 0.55, f"{BUCKETS - CHOOSING} of {BUCKETS} buckets"


def test_what_is_confirmed_is_what_the_nights_model_would_score(one):
    """Fitted to the users to choose by, tried on the others."""
    early = shop.snapshots()[0]
    vectors = {source: one._fitted(source, SETTINGS) for source in FITS}
    ours = one.labels["user_id"].isin(one.user_ids[one.choosing])
    ranker = train_ranker(vectors, early, one.labels[ours], SETTINGS)
    model = TwoStage(vectors, ranker, SETTINGS.candidates, SETTINGS)
    found = compare({"model": model}, early, one.labels[~ours], SETTINGS.evaluation.k).values["model"]["ndcg"]
    assert found.mean() > 0.1
    assert one.confirmed({}).tolist() == pytest.approx(found.tolist())


def test_overrides_reach_every_part(one):
    before = one.confirmed({})
    for overrides in (
        {"ranker.trees": 1},
        {"candidates.repeat": 1, "candidates.cooccurrence": 1, "candidates.graph_filter": 1},
        {"graph_filter.history": 1.0, "graph_filter.dimension": 2},
        {"two_tower.learning_rate": 1e-5, "two_tower.dimension": 4},
    ):
        assert not np.array_equal(one.confirmed(overrides), before), overrides
    assert np.array_equal(one.confirmed({}), before), "what was tried in between leaves no trace"


def test_of_many_users_some_are_looked_at():
    some = bench(tuning={"max_users": 40}, evaluation={"min_users": 5})
    assert len(some.user_ids) == len(set(some.labels["user_id"])) == 40
    assert set(some.user_ids) < set(bench().user_ids)


def test_too_few_users_are_no_validation():
    with pytest.raises(NothingToLearnError, match=r"users to choose by got anything .* asks for 1000"):
        bench(evaluation={"min_users": 1000})
