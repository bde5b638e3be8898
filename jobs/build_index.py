"""Index the items that can be sold by their vectors, and gate how many of the true neighbours the index finds.

    python -m jobs.build_index --run-date 2011-11-30

Recall@100 against exact search is measured with the vectors of real users. Below `index.min_recall` the night stops,
and so it does where there is no item to index, or no user to measure with.
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
from nightshift.retrieval.index import gpus, index_for
from nightshift.runs import GateError, Night

QUERIES = 2000  # users that the recall is measured with, spread evenly
NEAREST = 100


def build_index(night: Night) -> dict[str, Any]:
    if not night.read_json("train")["trained"]:
        return {"skipped": "there is no new model"}
    tables = night.read_json("build_features")["tables"]
    snapshot = load_snapshot(Lake(night.home / "lake"), night.run_date, tables)
    users = snapshot.users["user_id"].to_numpy()[:: max(len(snapshot.users) // QUERIES, 1)]
    folder, coded = night.fresh_folder("index"), Coded(snapshot)
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
    night: Night, source: str, model: VectorModel, coded: Coded, user_ids: np.ndarray, folder: Path
) -> dict[str, Any]:
    """Build, measure and keep the index of one model's vectors. Returns its figures.

    Raises:
        GateError: there is nothing to find, or it does not find enough.
    """
    index, (ids, vectors), places = index_for(model, coded, night.settings), model.item_vectors(), model.places(coded)
    if not len(index.item_ids) or not len(user_ids):
        raise GateError(
            f"of {len(ids)} items that {source} knows {len(index.item_ids)} can be sold tonight, to {len(user_ids)} "
            "users: the index would find nothing. Look at lists.sellable, and at whether the events of the last days "
            "are there; then run build_features and train again"
        )
    queries = model.vectors_at(coded, coded.users.get_indexer(user_ids), places)
    among = vectors[places[coded.items.get_indexer(index.item_ids)]]
    recall = round(index.recall_at(NEAREST, queries, among), 6)
    least = night.settings.index.min_recall
    if recall < least:
        raise GateError(
            f"the {index.kind} index of {source} finds {recall:.4f} of the {NEAREST} true neighbours, {least} are "
            "asked for: set index.kind to flat, or lower index.min_recall"
        )
    index.save(folder, {"recall": recall, "queries": len(user_ids), "as_of": coded.snapshot.as_of.isoformat()})
    return {
        "kind": index.kind,
        "items": len(index.item_ids),
        "items_known": len(ids),
        "dimension": vectors.shape[1],
        "recall": recall,
    }


if __name__ == "__main__":
    command.run(build_index, __doc__)
