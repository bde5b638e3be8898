"""Make the night's lists with the model that the verdict names: for every user, for unknown ones, and for every item.

    python -m jobs.infer --run-date 2011-11-30

Leaves lists/: `lists` a user, `popular` for a user who is not known, `segments` for one of whom only an attribute is,
`similar` an item, the `items`, and `histories`, what each user bought last; all as .parquet.
Users go through in blocks (`inference.block_users`), by as many processes as there are cores, or by one where there is
a GPU; a run that was killed goes on at the block where it was.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs import command
from nightshift.config import Settings
from nightshift.config.settings import CURRENT, Lists
from nightshift.features.blocks import Blocks, split
from nightshift.features.purchases import latest_purchases
from nightshift.features.segments import Segments, segments_of
from nightshift.features.snapshot import Snapshot
from nightshift.lake import Lake
from nightshift.models.attributes import text_columns
from nightshift.models.baselines import RecentPopularity
from nightshift.models.coded import Coded
from nightshift.models.recommender import Recommender
from nightshift.models.two_tower import best_device
from nightshift.monitoring import reference
from nightshift.ranking.batch import Batch, Maker, folder_for, join
from nightshift.ranking.loading import load_recommender
from nightshift.ranking.reasons import with_reasons
from nightshift.ranking.rerank import Reranked, Rules
from nightshift.ranking.segments import segment_lists, summed, votes_of
from nightshift.ranking.similar import SIMILAR_BY, similar_items
from nightshift.ranking.two_stage import TwoStage
from nightshift.retrieval.devices import gpus
from nightshift.retrieval.files import load_index, save_index
from nightshift.retrieval.gate import gated_index
from nightshift.runs import Night, code_version

log = logging.getLogger("nightshift")

OF_USERS = ("lists", "histories")
BY_BLOCK = (*OF_USERS, "votes")


def infer(night: Night) -> dict[str, Any]:
    verdict = night.read_json("verdict")
    tables = night.read_json("build_features")["tables"]
    served, settings = verdict["served"], night.settings
    work = folder_for(night.folder / "lists.blocks", made_from(night, verdict, tables))
    blocks = split_anew(Lake(night.home / "lake"), night, tables, work / "users")
    snapshot = blocks.block(0)  # its items are all items
    indexes = night.folder / "index"
    if not verdict["accepted"]:  # the night's are of the new model
        indexes = index_champion(night.home / served["folder"], served["kind"], settings, snapshot, work / "index")

    rules = settings.lists
    if unknown := unknown_items(rules, snapshot):
        log.warning("infer: rules of the lists name items that nobody has ever got: %s", ", ".join(unknown))
    segments = segments_of(blocks.lake, night.run_date, tables, rules.segment_users, rules.segment_values)
    make = partial(maker, night.home / served["folder"], served["kind"], settings, indexes, segments)
    parts = Batch(blocks, work, make, BY_BLOCK).run(at_once(served["kind"], settings))
    folder = night.fresh_folder("lists")
    for name in OF_USERS:
        join(parts[name], folder / f"{name}.parquet")
    model = model_of(night.home / served["folder"], served["kind"], settings, indexes)
    frames = beside_users(model, snapshot, settings)
    frames["segments"] = segment_lists(summed(parts["votes"]), snapshot, rules)
    for name, frame in frames.items():
        pq.write_table(table_of(frame), folder / f"{name}.parquet")
    night.keep_folder("lists")
    shutil.rmtree(night.folder / "lists.blocks")
    if night.channel == CURRENT:
        reference.keep(night, night.home / served["folder"])  # what later nights are compared with
    return {
        "model": {name: served[name] for name in ("name", "version", "kind")},
        "blocks": len(blocks),
        "segments": int(frames["segments"].groupby(["attribute", "value"]).ngroups),
        **counted(night.folder / "lists" / "lists.parquet"),
    }


def unknown_items(rules: Lists, snapshot: Snapshot) -> list[str]:
    """Items that a rule names and the snapshot does not know: misspelt, or too new."""
    named = {item for rule in rules.rules for item in getattr(rule, "items", ())}
    return sorted(named - set(snapshot.items["item_id"]))


def made_from(night: Night, verdict: dict[str, Any], tables: dict[str, int]) -> dict[str, Any]:
    """All that the lists depend on."""
    return {
        "served": verdict["served"],
        "tables": tables,
        "run_date": night.run_date,
        "settings": night.settings.model_dump(mode="json"),
        "code": code_version(),
    }


def split_anew(lake: Lake, night: Night, tables: dict[str, int], folder: Path) -> Blocks:
    """The users in blocks. Where a run was killed, they are split again: that is one pass, and cannot be half done."""
    shutil.rmtree(folder, ignore_errors=True)
    return split(lake, night.run_date, tables, night.settings.inference.block_users, folder)


def index_champion(model: Path, kind: str, settings: Settings, snapshot: Snapshot, folder: Path) -> Path:
    """Indexes of a champion's vectors over what can be sold tonight, in `folder`; gated with the snapshot's users."""
    found, coded = load_recommender(model, kind, settings), Coded(snapshot)
    for source, embedding in found.embeddings.items() if isinstance(found, TwoStage) else ():
        index, figures = gated_index(source, embedding, coded, settings, of_items=source == SIMILAR_BY)
        save_index(index, folder / source, {"recall": figures["recall"]})
    return folder


def at_once(kind: str, settings: Settings) -> int:
    """How many processes share the blocks, as `Batch.run` takes it: one on a GPU, of which each would hold a part."""
    on_gpu = kind == TwoStage.kind and (best_device().type == "cuda" or gpus() > 0)
    return settings.inference.processes or int(on_gpu)


def model_of(folder: Path, kind: str, settings: Settings, indexes: Path) -> Recommender:
    """The served model, with its indexes."""
    model = load_recommender(folder, kind, settings)
    if not isinstance(model, TwoStage):
        return model
    return replace(model, indexes={source: load_index(indexes / source) for source in model.embeddings})


def maker(folder: Path, kind: str, settings: Settings, indexes: Path, segments: Segments, threads: int = 0) -> Maker:
    """What makes the tables of a block, loaded once a process, with so many threads; 0: as the settings say."""
    settings = settings.model_copy(update={"threads": threads or settings.threads})
    model = model_of(folder, kind, settings, indexes)

    def make(snapshot: Snapshot) -> dict[str, pa.Table]:
        lists = lists_for(model, snapshot, snapshot.users["user_id"].tolist(), settings)
        return {
            "lists": table_of(lists),
            "histories": latest_purchases(snapshot, settings.lists.histories),
            "votes": votes_of(snapshot, segments),
        }

    return make


def table_of(frame: pd.DataFrame) -> pa.Table:
    """As Arrow has it. What has no value at all is text but for ranks, so that files of nobody are like the others."""
    found = pa.Table.from_pandas(frame, preserve_index=False)
    for at, field in enumerate(found.schema):
        if pa.types.is_null(field.type):
            kind = pa.int32() if field.name == "rank" else pa.string()
            found = found.set_column(at, field.with_type(kind), found[at].cast(kind))
    return found


def lists_for(model: Recommender, snapshot: Snapshot, user_ids: list[str], settings: Settings) -> pd.DataFrame:
    """Lists as they are published: scored, re-ranked, with reasons; a calibrated model's scores are probabilities."""
    rules = settings.lists
    lists = Reranked(model, rules).recommend(snapshot, user_ids, rules.size)
    if isinstance(model, TwoStage) and model.calibration:
        lists["score"] = model.calibration(lists["score"].to_numpy())
    return with_reasons(lists, snapshot, rules.reasons)


def beside_users(model: Recommender, snapshot: Snapshot, settings: Settings) -> dict[str, pd.DataFrame]:
    """The list of an unknown user, those of similar items, and the items."""
    popular = lists_for(RecentPopularity(), snapshot, [""], settings).drop(columns="user_id")
    rules = Rules(Coded(snapshot), settings.lists)
    if isinstance(model, TwoStage) and model.indexes:
        similar = similar_items(rules, model.embeddings[SIMILAR_BY], model.indexes[SIMILAR_BY])
    else:
        similar = similar_items(rules, None, None)
    items = snapshot.items[["item_id", "sellable"]].assign(title=None, kind=None)
    attributes = {name: snapshot.items[name] for name in text_columns(snapshot.items, "item_id")}
    items = items.assign(**attributes).astype({"title": "string", "kind": "string"})
    return {"popular": popular, "similar": similar, "items": items}


def counted(file: Path) -> dict[str, Any]:
    """Figures of the users' lists, read a row group at a time."""
    users, items, sources, entries = 0, set[str](), dict[str, int](), 0
    opened = pq.ParquetFile(file)
    for number in range(opened.num_row_groups):
        rows = opened.read_row_group(number, columns=["user_id", "item_id", "source"])
        users += pc.count_distinct(rows["user_id"]).as_py()  # no user is in two blocks
        items |= set(rows["item_id"].unique().to_pylist())
        entries += rows.num_rows
        for found in rows["source"].value_counts().to_pylist():
            sources[found["values"]] = sources.get(found["values"], 0) + found["counts"]
    shares = {source: round(sources[source] / entries, 4) for source in sorted(sources)}
    return {"users": users, "entries": entries, "items_listed": len(items), "sources": shares}


if __name__ == "__main__":
    command.run(infer, __doc__)
