"""The lists of segments of users: what is popular among, say, the users of one country, for one who is not known yet.

A user has one vote for each item bought, which loses half of its weight in a month. Votes are counted block by block,
in integers, so that no cut into blocks can show in the sums.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nightshift.config.settings import Lists
from nightshift.features.segments import Segments
from nightshift.features.snapshot import Snapshot
from nightshift.models.coded import Coded
from nightshift.models.recommender import RECENT_DAYS, Entries, lists_of, popular
from nightshift.ranking.reasons import with_reasons
from nightshift.ranking.rerank import CANDIDATES, rerank

VOTES = pa.schema([("attribute", pa.string()), ("value", pa.string()), ("item_id", pa.string()), ("votes", pa.int64())])
SEGMENT = ["attribute", "value"]
PARTS = 2**20  # of a vote


def votes_of(snapshot: Snapshot, segments: Segments) -> pa.Table:
    """The votes of a snapshot's users (`VOTES`), in parts of a vote; what has none is left out."""
    coded = Coded(snapshot)
    user = np.repeat(np.arange(len(coded.users)), np.diff(coded.pair_start))
    days = snapshot.pairs["days_since_last"].to_numpy(dtype=np.float64)
    weight = np.rint(PARTS * np.exp2(-days / RECENT_DAYS)).astype(np.int64)
    width, found = len(coded.items), [VOTES.empty_table()]
    for attribute, values in segments.items():
        value = pd.Index(values, dtype=object).get_indexer(snapshot.users[attribute])[user]
        votes = pd.Series(weight).where(value >= 0, 0).groupby(value * width + coded.pair_item).sum()
        votes = votes[votes > 0]
        columns = {
            "attribute": np.full(len(votes), attribute, dtype=object),
            "value": np.asarray(values, dtype=object)[votes.index // width],
            "item_id": coded.item_ids[votes.index % width],
            "votes": votes.to_numpy(),
        }
        found.append(pa.table(columns, VOTES))
    return pa.concat_tables(found)


def summed(files: Iterable[Path]) -> pd.DataFrame:
    """The votes of all blocks together, by segment and item."""
    total = VOTES.empty_table()
    for file in files:
        both = pa.concat_tables([total, pq.read_table(file, partitioning=None)])
        total = both.group_by([*SEGMENT, "item_id"]).aggregate([("votes", "sum")])
        total = total.rename_columns(VOTES.names).cast(VOTES)
    return total.to_pandas().sort_values([*SEGMENT, "item_id"], ignore_index=True)


def segment_lists(votes: pd.DataFrame, snapshot: Snapshot, settings: Lists) -> pd.DataFrame:
    """The list of each segment, by the rules of all lists; one that is short is completed with what is popular.

    Args:
        votes: as `summed` gives them.
        snapshot: whose items and rules they are; its users do not matter.

    Returns:
        attribute, value, rank, item_id, score (a share of the votes of the item that has most), source, reason.
    """
    votes = votes[votes["item_id"].isin(snapshot.items.loc[snapshot.items["sellable"], "item_id"])]
    if votes.empty:
        empty = [*SEGMENT, "rank", "item_id", "score", "source", "reason"]
        return pd.DataFrame({name: pd.Series(dtype="float64" if name == "score" else "object") for name in empty})
    nobody = {name: getattr(snapshot, name).iloc[:0] for name in ("users", "pairs", "sequences")}
    strangers = replace(snapshot, **nobody)
    coded = Coded(strangers)
    groups = votes.groupby(SEGMENT)
    names = groups.size().index
    score = votes["votes"] / groups["votes"].transform("max")
    items = coded.items.get_indexer(votes["item_id"])
    entries = Entries.of(groups.ngroup().to_numpy(), items, score.to_numpy(), "trending")
    numbers = [str(number) for number in range(len(names))]
    candidates = lists_of(coded, numbers, entries, max(CANDIDATES, settings.size), popular(coded))
    lists = with_reasons(rerank(candidates, strangers, settings), strangers, settings.reasons)
    number = lists.pop("user_id").astype(int).to_numpy()
    for place, name in enumerate(SEGMENT):
        lists.insert(place, name, names.get_level_values(name)[number])
    return lists
