"""Index the items that can be sold by their vectors, and gate how many of the true neighbours the index finds.

    python -m jobs.build_index --run-date 2011-11-30

Recall@100 against exact search is measured with the vectors of real users, others than the search was tuned with. Below
`index.min_recall` the night stops, and so it does where there is no item to index, or no user to measure with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jobs import command
from nightshift.features.snapshot import load_snapshot
from nightshift.lake import Lake
from nightshift.models.coded import Coded
from nightshift.models.nearest import VectorModel
from nightshift.ranking.two_stage import load_embeddings
from nightshift.retrieval.devices import gpus
from nightshift.retrieval.files import save_index
from nightshift.retrieval.index import index_for
from nightshift.retrieval.recall import NEAREST, Truth, query_users
from nightshift.runs import GateError, Night


def build_index(night: Night) -> dict[str, Any]:
    if not night.read_json("train")["trained"]:
        return {"skipped": "there is no new model"}
    tables = night.read_json("build_features")["tables"]
    snapshot = load_snapshot(Lake(night.home / "lake"), night.run_date, tables)
    folder, coded = night.fresh_folder("index"), Coded(snapshot)
    _, users = query_users(len(coded.users))
    found = {
        source: indexed(night, source, model, coded, users, folder / source)
        for source, model in load_embeddings(night.folder / "model").items()
    }
    night.keep_folder("index")
    return {
        "recall": min(figures["recall"] for figures in found.values()),
        "min_recall": night.settings.index.min_recall,
        "queries": len(users),
        "gpus": gpus(),
        "indexes": found,
    }


def indexed(
    night: Night, source: str, model: VectorModel, coded: Coded, users: np.ndarray, folder: Path
) -> dict[str, Any]:
    """Build, measure and keep the index of one model's vectors. Returns its figures.

    Args:
        users: positions of those that it is measured with.

    Raises:
        GateError: there is nothing to find, or it does not find enough.
    """
    index, (ids, vectors), places = index_for(model, coded, night.settings), model.item_vectors(), model.places(coded)
    if not len(index) or not len(users):
        raise GateError(
            f"of {len(ids)} items that {source} knows {len(index)} can be sold tonight, to {len(users)} users: the "
            "index would find nothing. Look at lists.sellable, and at whether the events of the last days are there; "
            "then run build_features and train again"
        )
    among = vectors[places[coded.items.get_indexer(index.item_ids)]]
    truth = Truth.of(model.vectors_at(coded, users, places), among)
    recall = round(truth.recall(index.search(truth.queries, truth.k)[0]), 6)
    least = night.settings.index.min_recall
    if recall < least:
        raise GateError(
            f"the {index.kind} index of {source} finds {recall:.4f} of the {NEAREST} true neighbours, {least} are "
            "asked for: set index.kind to flat, or lower index.min_recall"
        )
    figures = {"recall": recall, "queries": len(truth.queries)}
    save_index(index, folder, {**figures, "as_of": coded.snapshot.as_of.isoformat()})
    return {
        "kind": index.kind,
        "effort": index.effort,
        "items": len(index),
        "items_known": len(ids),
        "dimension": vectors.shape[1],
        **figures,
    }


if __name__ == "__main__":
    command.run(build_index, __doc__)
