"""The catalogue of features: each with its lineage, and what the lake says of it as of a day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from nightshift.config import Settings
from nightshift.features.definitions import KEYS, Feature, all_features
from nightshift.features.measures import ALIVE, EVENTS, PAIRS
from nightshift.features.snapshot import duckdb_of, partition_rows
from nightshift.lake import Lake

DRIFT = "drift_results"  # the table that the drift report keeps


@dataclass(frozen=True)
class Entry:
    """A feature on the page.

    Attributes:
        lineage: how it follows from events.
        nulls: share of the night's rows that have none; None: there are no rows.
        drift: verdict and population stability index of the last drift report that looked at it, and its run date.
    """

    feature: Feature
    lineage: str
    nulls: float | None
    drift: tuple[str, float | None, dt.date] | None


def describe(feature: Feature) -> str:
    """A feature's lineage in words: its expression, the measures in it, and the columns of the events these read."""
    measures = sorted({kept.name for kept in feature.kept})
    origin = [
        f"`{name}` = pairs where `{PAIRS[name]}`" if name in PAIRS else f"`{name}` = `{EVENTS[name].expression}`"
        for name in measures
    ]
    return f"`{feature.expression}`, where {', '.join(origin)}, over {feature.source}"


def null_shares(lake: Lake, run_date: dt.date, settings: Settings) -> dict[str, float]:
    """Share of a night's rows without a value of a feature, by `<entity>.<name>`; of pairs, those that it touched."""
    shares: dict[str, float] = {}
    for entity in KEYS:
        features = {name: f for name, f in all_features(settings).items() if f.entity == entity}
        value = duckdb_of if entity == "user_item" else lambda feature: feature.name
        nulls = ", ".join(f'avg(({value(f)} is null)::int) as "{name}"' for name, f in features.items())
        alive = f"where {ALIVE}" if entity == "user_item" else ""
        dated = f"(select *, date '{run_date}' as as_of from rows)"
        with partition_rows(lake, f"{entity}_features", [run_date]) as rows:
            found = rows.sql(f"select {nulls} from {dated} {alive}").fetchall()[0]
        shares |= {name: share for name, share in zip(features, found, strict=True) if share is not None}
    return shares


def catalogue(settings: Settings, nulls: Mapping[str, float], drift: pd.DataFrame | None) -> list[Entry]:
    """All features, as they are declared, with what the lake says of them.

    Args:
        nulls: see `null_shares`.
        drift: columns run_date, frame, feature, verdict, psi; None: no drift report has been made.
    """
    return [
        Entry(feature, describe(feature), nulls.get(name), _last_drift(drift, feature))
        for name, feature in all_features(settings).items()
    ]


def _last_drift(drift: pd.DataFrame | None, feature: Feature) -> tuple[str, float | None, dt.date] | None:
    if drift is None:
        return None
    found = drift[(drift["frame"] == f"{feature.entity}_features") & (drift["feature"] == feature.name)]
    if found.empty:
        return None
    last = found.sort_values("run_date").iloc[-1]
    return str(last["verdict"]), None if pd.isna(last["psi"]) else float(last["psi"]), last["run_date"]
