"""The ranker's features of a candidate. One function makes them, for training and for a night's lists alike."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nightshift.models.coded import Coded
from nightshift.models.recommender import SOURCES
from nightshift.models.rows import find

SOURCE_COLUMNS = tuple(f"{source}_{what}" for source in SOURCES for what in ("score", "rank"))


def assemble(candidates: pd.DataFrame, coded: Coded, users: np.ndarray) -> pd.DataFrame:
    """What is known of each candidate as of the snapshot.

    Args:
        candidates: see `Retriever.candidates`.
        users: position of the user that each `row` of the candidates stands for; -1: not known.

    Returns:
        float32, a row a candidate: `user_*`, `item_*` and `pair_*`, every number of the feature tables by its name (NaN
        where there is none), what follows from them, and the sources' scores and ranks.
    """
    user, item = users[candidates["row"].to_numpy()], candidates["item"].to_numpy()
    pair = _pair_rows(coded, user, item)
    columns = {
        **_numbers("user", coded.snapshot.users, user),
        **_numbers("item", coded.snapshot.items, item),
        **_numbers("pair", coded.snapshot.pairs, pair),
    }
    columns["pair_overdue"] = columns["pair_days_since_last"] / (1 + columns["pair_mean_gap_days"])
    columns["pair_price_ratio"] = columns["item_mean_price"] / np.maximum(columns["user_mean_price"], 0.01)
    columns["pair_share"] = columns["pair_baskets"] / np.maximum(columns["user_baskets_all"], 1)
    columns["pair_kind_events"] = _kind_events(coded, user, item) - np.nan_to_num(columns["pair_events"])
    columns |= {name: candidates[name].to_numpy(dtype=np.float32) for name in SOURCE_COLUMNS}
    return pd.DataFrame(columns, copy=False)


def _numbers(prefix: str, table: pd.DataFrame, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Every numeric column of a table at `rows`; NaN at row -1."""
    found = {}
    for name in table.columns:
        if table[name].dtype.kind in "iuf":
            values = np.append(table[name].to_numpy(dtype=np.float32, na_value=np.nan), np.float32(np.nan))
            found[f"{prefix}_{name}"] = values[rows]
    return found


def _pair_rows(coded: Coded, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Where the pairs table has (user, item); -1 where it has not."""
    width = len(coded.items)
    place = find(coded.pair_user * width + coded.pair_item, user * width + item)
    return np.where(user >= 0, place, -1)


def _kind_events(coded: Coded, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """How often the user got anything of the item's kind."""
    if "kind" not in coded.snapshot.items:
        return np.zeros(len(user), dtype=np.float32)
    kind, kinds = pd.factorize(coded.snapshot.items["kind"])
    known = (coded.pair_user >= 0) & (coded.pair_item >= 0)
    keys = coded.pair_user[known] * len(kinds) + kind[coded.pair_item[known]]
    keys, group = np.unique(keys, return_inverse=True)
    events = np.bincount(group, coded.snapshot.pairs["events"].to_numpy(dtype=np.float64)[known], len(keys))
    place = np.where((user >= 0) & (kind[item] >= 0), find(keys, user * len(kinds) + kind[item]), -1)
    return np.append(events, 0.0)[place].astype(np.float32)
