"""All models on the same users, by the same rules."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from nightshift.evaluation.character import character_of, places_of
from nightshift.evaluation.metrics import Metrics, by_user, mean
from nightshift.features.snapshot import Snapshot
from nightshift.models.coded import Coded
from nightshift.models.recommender import Recommender
from nightshift.ranking.rerank.repurchase import typical_gaps

log = logging.getLogger("nightshift.evaluation")

BLOCK = 16_384  # users at a time; a whole number of the blocks in which models score
EMPTY = pd.DataFrame({"user_id": [], "rank": [], "item_id": []}, dtype=object)


class SeenTestError(ValueError):
    """A model has learnt from days that it is to be tested on."""


@dataclass(frozen=True)
class Comparison:
    """What a test found.

    Attributes:
        metrics: model -> metric -> mean; see `metrics.mean`, and `character.character` of its lists.
        values: model -> a row a user, see `metrics.by_user`; the users are the same for all.
    """

    metrics: dict[str, Metrics]
    values: dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Case:
    """Models, and what their lists are held against.

    Attributes:
        labels: see `labels`.
        k: length of the lists.
        character: whether it is told what the lists are like, too.
    """

    models: Mapping[str, Recommender]
    labels: pd.DataFrame
    k: int
    character: bool = True


def compare(models: Mapping[str, Recommender], snapshot: Snapshot, labels: pd.DataFrame, k: int) -> Comparison:
    """Let each model recommend for the users that have labels, and hold its lists against them.

    Args:
        snapshot: as of the test cut-off: what all the models may know.
        labels: see `labels`.

    Raises:
        SeenTestError: a model has learnt from what happened after `snapshot.as_of`.
    """
    return compare_all([Case(models, labels, k)], snapshot)[0]


def compare_all(cases: Sequence[Case], snapshot: Snapshot) -> list[Comparison]:
    """`compare` of each case. Users go through in blocks, all cases' models together: memory is bounded by a block.

    In each block every model is asked for the same users, whatever the case: one that is `Remembered` scores them once.
    """
    for name, model in ((name, model) for case in cases for name, model in case.models.items()):
        if model.as_of and model.as_of > snapshot.as_of:
            raise SeenTestError(
                f"{name} has learnt from days up to {model.as_of}, the test begins after {snapshot.as_of}"
            )
    coded = Coded(snapshot)
    found = [{name: _Found() for name in case.models} for case in cases]
    users = sorted(set[str]().union(*(case.labels["user_id"].unique() for case in cases)))
    for block, view in _blocks(coded, users):
        for case, into in zip(cases, found, strict=True):
            labels = case.labels[case.labels["user_id"].isin(block)]
            for name, model in case.models.items():
                into[name].add(model, view, coded, block, labels, case.k)
    return [_compared(case, into, coded) for case, into in zip(cases, found, strict=True)]


def _blocks(coded: Coded, users: list[str]) -> Iterator[tuple[list[str], Snapshot]]:
    """The users in blocks, each with a snapshot of them alone, so that what a model makes of it is of that size too."""
    if len(users) <= BLOCK:
        yield users, coded.snapshot
        return
    gaps = typical_gaps(coded.snapshot).rename_axis("item_id").reset_index(name="gap_days")
    whole = Coded(replace(coded.snapshot, gaps=gaps))
    for begin in range(0, len(users), BLOCK):
        block = users[begin : begin + BLOCK]
        known = whole.user_positions(block)
        yield block, whole.of_users(known[known >= 0])


@dataclass
class _Found:
    """Of one model, block by block: the figures a user, the lists as `places_of` gives them, and seconds."""

    values: list[pd.DataFrame] = field(default_factory=list)
    places: list[np.ndarray] = field(default_factory=list)
    seconds: float = 0.0

    def add(
        self, model: Recommender, view: Snapshot, coded: Coded, users: list[str], labels: pd.DataFrame, k: int
    ) -> None:
        started = time.monotonic()
        lists = model.recommend(view, users, k) if users else EMPTY
        lists = lists[lists["user_id"].isin(labels["user_id"].unique())]
        self.values.append(by_user(lists, labels, k))
        self.places.append(places_of(lists, self.values[-1]["user_id"].to_numpy(), coded, k))
        self.seconds += time.monotonic() - started


def _compared(case: Case, found: Mapping[str, _Found], coded: Coded) -> Comparison:
    values = {name: pd.concat(parts.values, ignore_index=True) for name, parts in found.items()}
    metrics: dict[str, Metrics] = {}
    for name, parts in found.items():
        metrics[name] = mean(values[name])
        if case.character:
            users = values[name]["user_id"].to_numpy()
            metrics[name] |= character_of(users, np.concatenate(parts.places), coded)
        log.info(
            "%s: %d users, %.1f s; at %d: %s", name, len(values[name]), parts.seconds, case.k, _told(metrics[name])
        )
    return Comparison(metrics, values)


def save_values(values: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """Write each model's figures a user as `<model>.parquet`, so that another step can compare with them."""
    for name, frame in values.items():
        frame.to_parquet(folder / f"{name}.parquet", index=False)


def load_values(folder: Path) -> dict[str, pd.DataFrame]:
    """What `save_values` wrote, by model."""
    return {file.stem: pd.read_parquet(file) for file in sorted(folder.glob("*.parquet"))}


def _told(metrics: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name in ("ndcg", "recall") if (value := metrics[name]) is not None)
