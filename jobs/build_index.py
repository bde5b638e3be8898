"""Index the items that can be sold by their vectors, and gate how many of the true neighbours the index finds.

    python -m jobs.build_index --run-date 2011-11-30

Recall@100 against exact search is measured with the vectors of real users, others than the search was tuned with, and
of items where similar ones are looked for. Below `index.min_recall` the night stops, and so it does where there is no
item to index, or no user to measure with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jobs import command
from nightshift.features.snapshot import load_snapshot
from nightshift.lake import Lake
from nightshift.models.coded import Coded
from nightshift.models.nearest import VectorModel
from nightshift.ranking.similar import SIMILAR_BY
from nightshift.ranking.two_stage import load_embeddings
from nightshift.retrieval.devices import gpus
from nightshift.retrieval.files import save_index
from nightshift.retrieval.gate import gated_index
from nightshift.retrieval.recall import split_queries
from nightshift.runs import Night


def build_index(night: Night) -> dict[str, Any]:
    if not night.read_json("train")["trained"]:
        return {"skipped": "there is no new model"}
    tables = night.read_json("build_features")["tables"]
    snapshot = load_snapshot(Lake(night.home / "lake"), night.run_date, tables)
    folder, coded = night.fresh_folder("index"), Coded(snapshot)
    found = {
        source: indexed(night, source, model, coded, folder / source)
        for source, model in load_embeddings(night.folder / "model").items()
    }
    night.keep_folder("index")
    return {
        "recall": min(figures["recall"] for figures in found.values()),
        "min_recall": night.settings.index.min_recall,
        "queries": len(split_queries(len(coded.users))[1]),
        "gpus": gpus(),
        "indexes": found,
    }


def indexed(night: Night, source: str, model: VectorModel, coded: Coded, folder: Path) -> dict[str, Any]:
    """Build, measure and keep the index of one model's vectors. Returns its figures; see `gated_index`."""
    index, figures = gated_index(source, model, coded, night.settings, of_items=source == SIMILAR_BY)
    told = {name: value for name, value in figures.items() if name in ("recall", "recall_items", "queries")}
    save_index(index, folder, {**told, "as_of": coded.snapshot.as_of.isoformat()})
    return figures


if __name__ == "__main__":
    command.run(build_index, __doc__)
