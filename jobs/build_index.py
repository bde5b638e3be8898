"""Index the items that can be sold by their vectors, and gate how many of the true neighbours the index finds.

    python -m jobs.build_index --run-date 2011-11-30

Recall@100 against exact search is measured with the vectors of real users. Below `index.min_recall` the night stops,
and so it does where there is no item to index, or no user to measure with.
"""

from __future__ import annotations

from typing import Any

from jobs import command
from nightshift.features.snapshot import load_snapshot
from nightshift.lake import Lake
from nightshift.models.coded import Coded
from nightshift.models.two_tower import load_two_tower
from nightshift.retrieval.index import gpus, index_for
from nightshift.runs import GateError, Night

QUERIES = 2000  # users that the recall is measured with, spread evenly
NEAREST = 100


def build_index(night: Night) -> dict[str, Any]:
    if not night.read_json("train")["trained"]:
        return {"skipped": "there is no new model"}
    tables = night.read_json("build_features")["tables"]
    snapshot = load_snapshot(Lake(night.home / "lake"), night.run_date, tables)
    model = load_two_tower(night.folder / "model" / "two_tower")
    index = index_for(model, Coded(snapshot), night.settings)

    users = snapshot.users["user_id"].to_numpy()[:: max(len(snapshot.users) // QUERIES, 1)]
    ids, vectors = model.item_vectors()
    if not len(index.item_ids) or not len(users):
        raise GateError(
            f"of {len(ids)} items that the model knows {len(index.item_ids)} can be sold tonight, to {len(users)} "
            "users: the index would find nothing. Look at lists.sellable, and at whether the events of the last days "
            "are there; then run build_features and train again"
        )
    indexed = vectors[model.vocabulary.get_indexer(index.item_ids)]
    recall = round(index.recall_at(NEAREST, model.user_vectors(snapshot, users), indexed), 6)
    least = night.settings.index.min_recall
    if recall < least:
        raise GateError(
            f"the {index.kind} index finds {recall:.4f} of the {NEAREST} true neighbours, {least} are asked for: "
            "set index.kind to flat, or lower index.min_recall"
        )
    index.save(
        night.fresh_folder("index"), {"recall": recall, "queries": len(users), "as_of": snapshot.as_of.isoformat()}
    )
    night.keep_folder("index")
    return {
        "kind": index.kind,
        "items": len(index.item_ids),
        "items_known": len(ids),
        "dimension": vectors.shape[1],
        "recall": recall,
        "min_recall": least,
        "queries": len(users),
        "gpus": gpus(),
    }


if __name__ == "__main__":
    command.run(build_index, __doc__)
