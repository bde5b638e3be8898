"""An item that nobody has bought is known by its attributes, and so can be shown to those who like its like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from nightshift.features.snapshot import Snapshot
from nightshift.models.coded import Coded
from nightshift.models.fitting import fit
from nightshift.models.two_tower import TwoTower
from nightshift.retrieval.index import index_for
from tests import shop

LIKES = {"COLD-L": "LANTERN", "COLD-M": "MUG"}


def with_cold_items() -> Snapshot:
    """The shop with a lantern and a mug that never sold: new titles, of kinds that there are."""
    view = shop.snapshots()[2]
    new = [
        view.items[view.items["item_id"] == f"{like}05"].assign(item_id=name, title=f"{like} NO 77")
        for name, like in LIKES.items()
    ]
    items = pd.concat([view.items, *new]).sort_values("item_id", ignore_index=True)
    return shop.snapshot(shop.interactions(), items=items)


@pytest.fixture(scope="module", params=["at once", "after a refresh"])
def cold(request: pytest.FixtureRequest) -> tuple[Snapshot, TwoTower]:
    """A model that knew the cold items from the start, and one that met them in a refresh."""
    view, known, settings = with_cold_items(), shop.interactions(), shop.settings(two_tower={"epochs": 8})
    warm = fit(shop.snapshots()[2], known, settings)[0] if request.param == "after a refresh" else None
    return view, fit(view, known, settings, warm_start=warm)[0]


def test_its_neighbours_are_of_its_kind_and_words(cold: tuple[Snapshot, TwoTower]) -> None:
    ids, vectors = cold[1].item_vectors()
    of_a_taste = np.array([item.startswith(tuple(LIKES.values())) for item in ids])  # a ribbon is bought by everybody
    for name, like in LIKES.items():
        nearness = np.where(of_a_taste, vectors @ vectors[cold[1].vocabulary.get_loc(name)], -np.inf)
        nearest = ids[np.argsort(-nearness)[:10]]
        assert sum(item.startswith(like) for item in nearest) >= 8, nearest


def test_its_id_says_nothing(cold: tuple[Snapshot, TwoTower]) -> None:
    places = cold[1].vocabulary.get_indexer(list(LIKES))
    assert not cold[1].towers.item_id.weight[places].any()


def test_it_is_found_for_those_who_like_its_like(cold: tuple[Snapshot, TwoTower]) -> None:
    view, model = cold
    index = index_for(model, Coded(view), shop.settings())
    found: dict[str, Any] = {user: index.search(model.user_vectors(view, [user]), 20) for user in ("l03", "m03")}
    ids = {user: set(index.item_ids[places[0]]) for user, (places, _) in found.items()}
    assert "COLD-L" in ids["l03"] - ids["m03"]
    assert "COLD-M" in ids["m03"] - ids["l03"]
