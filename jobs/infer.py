"""Make the night's lists with the model that the verdict names: for every user, for unknown ones, and for every item.

    python -m jobs.infer --run-date 2011-11-30

Leaves lists/: `lists` a user, `popular` for a user who is not known, `similar` an item, and the `items`, as .parquet.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from jobs import command
from nightshift.features.snapshot import Snapshot, load_snapshot
from nightshift.lake import Lake
from nightshift.models.attributes import text_columns
from nightshift.models.baselines import RecentPopularity
from nightshift.models.coded import Coded
from nightshift.models.recommender import Recommender
from nightshift.monitoring import reference
from nightshift.ranking.loading import load_recommender
from nightshift.ranking.reasons import with_reasons
from nightshift.ranking.rerank import Reranked, Rules
from nightshift.ranking.similar import similar_items
from nightshift.ranking.two_stage import TwoStage
from nightshift.retrieval.index import index_for, load_index
from nightshift.runs import Night


def infer(night: Night) -> dict[str, Any]:
    verdict = night.read_json("verdict")
    tables = night.read_json("build_features")["tables"]
    snapshot = load_snapshot(Lake(night.home / "lake"), night.run_date, tables)
    model = served_model(night, verdict, snapshot)
    lists = lists_for(model, snapshot, snapshot.users["user_id"].tolist(), night)
    popular = lists_for(RecentPopularity(), snapshot, [""], night).drop(columns="user_id")
    rules = Rules(Coded(snapshot), night.settings.lists)
    if isinstance(model, TwoStage) and model.indexes:
        similar = similar_items(rules, model.embeddings["two_tower"], model.indexes["two_tower"])
    else:
        similar = similar_items(rules, None, None)
    items = snapshot.items[["item_id", "sellable"]].assign(title=None, kind=None)
    attributes = {name: snapshot.items[name] for name in text_columns(snapshot.items, "item_id")}
    items = items.assign(**attributes).astype({"title": "string", "kind": "string"})

    folder = night.fresh_folder("lists")
    frames = {"lists": lists, "popular": popular, "similar": similar, "items": items}
    for name, frame in frames.items():
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), folder / f"{name}.parquet")
    night.keep_folder("lists")
    reference.keep(night, night.home / verdict["served"]["folder"])  # what later nights are compared with
    by_source = lists["source"].value_counts(normalize=True)
    return {
        "model": {name: verdict["served"][name] for name in ("name", "version", "kind")},
        "users": int(lists["user_id"].nunique()),
        "entries": len(lists),
        "items_listed": int(lists["item_id"].nunique()),
        "sources": {source: round(float(by_source[source]), 4) for source in sorted(by_source.index)},
    }


def served_model(night: Night, verdict: dict[str, Any], snapshot: Snapshot) -> Recommender:
    """The model that the verdict names. The night's indexes are of the new model; for a champion others are built."""
    served = verdict["served"]
    model = load_recommender(night.home / served["folder"], served["kind"], night.settings)
    if not isinstance(model, TwoStage):
        return model
    coded, folder = Coded(snapshot), night.folder / "index"
    if verdict["accepted"]:
        return replace(model, indexes={source: load_index(folder / source) for source in model.embeddings})
    indexes = {source: index_for(found, coded, night.settings) for source, found in model.embeddings.items()}
    return replace(model, indexes=indexes)


def lists_for(model: Recommender, snapshot: Snapshot, user_ids: list[str], night: Night) -> pd.DataFrame:
    """Lists as they are published: scored, re-ranked, with reasons."""
    rules = night.settings.lists
    return with_reasons(Reranked(model, rules).recommend(snapshot, user_ids, rules.size), snapshot)


if __name__ == "__main__":
    command.run(infer, __doc__)
