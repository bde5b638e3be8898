"""The ranker's features of a candidate. One function makes them, for training and for a night's lists alike."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from nightshift.models.coded import Coded
from nightshift.models.recommender import SOURCES
from nightshift.models.rows import expand, find

CONTEXT, HALF_LIFE_DAYS = 50, 90.0
"""Of a user's recent items, what speaks for a title: so many, and half as much each so many days."""

SHARE_DAYS, MOMENTUM_DAYS = (7, 28), (28, 90)
"""Windows, or the nearest that `features.windows_days` has, of an item's demand."""

SOURCE_COLUMNS = tuple(f"{source}_{what}" for source in SOURCES for what in ("score", "rank"))


def assemble(candidates: pd.DataFrame, coded: Coded, users: np.ndarray) -> pd.DataFrame:
    """What is known of each candidate as of the snapshot.

    Args:
        candidates: see `Retriever.candidates`.
        users: position of the user that each `row` of the candidates stands for; -1: not known.

    Returns:
        float32, a row a candidate: `user_*`, `item_*` and `pair_*`, every number of the feature tables by its name (NaN
        where there is none), what follows from them, the sources' scores and ranks, and the place of the candidate
        among those of its user by what is not comparable between users or days: see `_places`.
    """
    row, item = candidates["row"].to_numpy(), candidates["item"].to_numpy()
    user, width = users[row], len(coded.items)
    pair_row, pair = expand(coded.pair_start, users)
    place = find(pair_row * width + coded.pair_item[pair], row * width + item)
    events = np.append(coded.snapshot.pairs["events"].to_numpy(dtype=np.float64)[pair], 0.0)
    pair = np.append(pair, -1)
    columns = {
        **_numbers("user", coded.snapshot.users, user),
        **_numbers("item", coded.snapshot.items, item),
        **_numbers("pair", coded.snapshot.pairs, pair[place]),
    }
    columns["pair_overdue"] = columns["pair_days_since_last"] / (1 + columns["pair_mean_gap_days"])
    columns["pair_price_ratio"] = columns["item_mean_price"] / np.maximum(columns["user_mean_price"], 0.01)
    columns["pair_share"] = columns["pair_baskets"] / np.maximum(columns["user_baskets_all"], 1)
    of_kind = _events_of_kind(coded, pair_row, coded.pair_item[pair[:-1]], events[:-1], row, item)
    columns["pair_kind_events"] = np.maximum(of_kind - events[place], 0).astype(np.float32)  # on others of its kind
    columns["pair_title_likeness"] = _title_likeness(coded, users, row, item)
    span = columns["user_days_since_first"] - columns["user_days_since_last"]
    more = columns["user_baskets_all"] - 1
    columns["user_mean_gap_days"] = np.divide(span, more, out=np.full_like(span, np.nan), where=more > 0)
    columns["user_overdue"] = columns["user_days_since_last"] / (1 + columns["user_mean_gap_days"])
    columns |= _demand(coded, item)
    columns |= {name: candidates[name].to_numpy(dtype=np.float32) for name in SOURCE_COLUMNS}
    columns |= _places(row, columns, _placed(coded))
    return pd.DataFrame(columns, copy=False)


def _demand(coded: Coded, item: np.ndarray) -> dict[str, np.ndarray]:
    """Each candidate's events of late over the mean item's, which no season moves, and over those of a longer time."""
    found = {}
    for days in SHARE_DAYS:
        events = coded.item_column(coded.window("events", days))
        found[f"item_share_{days}d"] = (events / max(events.mean(), 1e-9)).astype(np.float32)[item]
    late, long = (coded.item_column(coded.window("events", days)) for days in MOMENTUM_DAYS)
    found["item_momentum"] = ((late + 0.5) / (long + 0.5)).astype(np.float32)[item]
    return found


def _placed(coded: Coded) -> list[str]:
    """The item's features that a place is told by: its price, and its events over each window."""
    windows = [name for name in coded.snapshot.items.columns if re.fullmatch(r"events_\d+d", name)]
    return [f"item_{name}" for name in (*windows, "mean_price")]


def _places(row: np.ndarray, columns: dict[str, np.ndarray], of_items: Sequence[str]) -> dict[str, np.ndarray]:
    """Where a candidate comes among its user's, whoever brought it: from 1 by each source's score, and as a share of
    them by each of these features of items. Of equals, the mean."""
    names = {f"{source}_score": f"{source}_place" for source in SOURCES} | {name: f"{name}_place" for name in of_items}
    values = pd.DataFrame({place: columns[name] for name, place in names.items()}).fillna(0)
    places = values.groupby(row).rank(ascending=False)
    shares = [names[name] for name in of_items]
    places[shares] = places[shares].div(np.bincount(row)[row], axis=0)
    return {name: places[name].to_numpy(dtype=np.float32) for name in places}


def _numbers(prefix: str, table: pd.DataFrame, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Every numeric column of a table at `rows`; NaN at row -1."""
    found = {}
    for name in table.columns:
        if table[name].dtype.kind in "iuf":
            values = np.append(table[name].to_numpy(dtype=np.float32, na_value=np.nan), np.float32(np.nan))
            found[f"{prefix}_{name}"] = values[rows]
    return found


def _title_likeness(coded: Coded, users: np.ndarray, row: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Cosine of each candidate's title and those of its user's recent items taken together."""
    taste = (coded.recent(users, CONTEXT, HALF_LIFE_DAYS) @ coded.titles).toarray().astype(np.float32)
    taste /= np.maximum(np.linalg.norm(taste, axis=1, keepdims=True), 1e-9)
    entry, place = expand(coded.titles.indptr, item)
    shared = taste[row[entry], coded.titles.indices[place]] * coded.titles.data[place]
    return np.bincount(entry, shared, len(item)).astype(np.float32)


def _events_of_kind(
    coded: Coded, pair_row: np.ndarray, pair_item: np.ndarray, events: np.ndarray, row: np.ndarray, item: np.ndarray
) -> np.ndarray:
    """How often each candidate's user has got anything of its kind; 0 for an item without a kind."""
    kind = coded.of_items.kind
    width = len(coded.items)  # there are no more kinds than items
    keys, group = np.unique(pair_row * width + kind[pair_item], return_inverse=True)
    total = np.append(np.bincount(group, events, len(keys)), 0.0)
    return np.where(kind[item] >= 0, total[find(keys, row * width + kind[item])], 0.0)
