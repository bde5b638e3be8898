"""The best neighbours are those that sums over all layers give, as of each target, and are staged like any table."""

from __future__ import annotations

import datetime as dt
import math
import random
import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightshift.features.definitions import feature_tables
from nightshift.features.lineage import Plan
from nightshift.features.neighbours import COOCCURRENCE, number_of, stage_neighbours
from nightshift.lake import Lake, Staged
from nightshift.lake.stages import open_stage
from tests.features.history import SETTINGS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BASE, FIRST, SECOND = (dt.date(2011, 6, day) for day in (9, 10, 11))
MOST = SETTINGS.features.neighbours
ITEMS = ["bell", "jar", "lamp", "Käse", "茶", "mug", "tin", "a name of more than thirty-two characters", "'quoted'"]

Changes = dict[tuple[str, str], tuple[int, float]]  # of two items: by how many baskets, and of what weight together
Row = tuple[str, str, int, float]


def test_an_item_has_the_number_that_spark_gives_it(spark: SparkSession) -> None:
    names = [*ITEMS, "", *["x" * length for length in range(1, 70)], "é" * 40, "\U0001f56f"]
    rows = spark.createDataFrame([(name,) for name in names], "item string").selectExpr("item", "xxhash64(item)")
    assert dict(rows.collect()) == {name: number_of(name) for name in names}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_neighbours_are_the_best_by_all_that_the_layers_sum_up_to(tmp_path: Path, seed: int) -> None:
    """Whatever a layer takes away of what another brought; of equal scores the lower numbers are kept."""
    before, first, second = layers = [changes(random.Random(10 * seed + n)) for n in range(3)]
    lake = Lake(tmp_path)
    base = staged(lake, "item_pair_counts", {BASE: pairs(before)})
    counts = staged(lake, "item_pair_counts", {FIRST: pairs(first), SECOND: pairs(second)})
    items = staged(lake, "item_features", {day: named(ITEMS) for day in (FIRST, SECOND)})
    files = [str(file) for file in lake.staged_files(base)]
    found = stage_neighbours(lake, Plan(BASE, (FIRST, SECOND)), files, counts, items, SETTINGS)
    expected = {str(FIRST): best(layers[:2]), str(SECOND): best(layers)}
    assert by_day(lake, found) == expected
    for rows in expected.values():
        of_bell = [row for row in rows if row[0] == "bell"]
        assert len(of_bell) == MOST
        assert len({(item, score) for item, *_, score in rows}) < len(rows), "of equal scores some are kept"


def test_neighbours_are_seen_when_they_are_committed(tmp_path: Path) -> None:
    """A day without any has none, and what a killed run staged goes."""
    lake, table = Lake(tmp_path), feature_tables(SETTINGS)[COOCCURRENCE]
    together = {("jar", "jar"): (2, 2.0), ("lamp", "lamp"): (2, 2.0), ("jar", "lamp"): (2, 2.0)}
    counts = staged(lake, "item_pair_counts", {FIRST: pairs({("jar", "jar"): (1, 1.0)}), SECOND: pairs(together)})
    items = staged(lake, "item_features", {day: named(ITEMS) for day in (FIRST, SECOND)})
    plan = Plan(None, (FIRST, SECOND))
    killed = stage_neighbours(lake, plan, [], counts, items, SETTINGS)
    found = stage_neighbours(lake, plan, [], counts, items, SETTINGS)
    assert not lake.exists(COOCCURRENCE)
    assert not (lake.path(COOCCURRENCE) / killed.folder).exists()
    lake.commit(found, table)
    assert lake.staged_counts(found) == {str(FIRST): 0, str(SECOND): 2}
    assert lake.run_dates(COOCCURRENCE) == {str(SECOND)}
    assert lake.arrow(COOCCURRENCE).sort_by("item_id").to_pylist() == [
        {
            "item_id": one,
            "neighbour_id": other,
            "baskets": 2,
            "score": pytest.approx(2 / (3 * 2) ** 0.5),
            "run_date": SECOND,
        }
        for one, other in (("jar", "lamp"), ("lamp", "jar"))
    ]


def test_what_does_not_fit_is_spilled_into_the_stage_and_gone_with_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, many = Lake(tmp_path), [f"item {n}" for n in range(800)]
    changed: Changes = {(one, other): (2, 2.0) for at, one in enumerate(many) for other in many[at:]}
    counts = staged(lake, "item_pair_counts", {FIRST: pairs(changed)})
    items = staged(lake, "item_features", {FIRST: named(many)})
    spilled, remove = set[Path](), shutil.rmtree

    def look_and_remove(folder: Path, **how: bool) -> None:
        spilled.update(Path(folder).glob("*"))
        remove(folder, **how)

    monkeypatch.setattr("nightshift.contracts.figures.shutil.rmtree", look_and_remove)
    little = SETTINGS.validation.model_copy(update={"memory": "32MB"})
    settings = SETTINGS.model_copy(update={"validation": little, "threads": 2})
    found = stage_neighbours(lake, Plan(None, (FIRST,)), [], counts, items, settings)
    stage = lake.path(COOCCURRENCE) / found.folder
    assert lake.staged_counts(found) == {str(FIRST): len(many) * MOST}
    assert {file.parent.parent for file in spilled} == {stage}
    assert [left.name for left in stage.iterdir()] == [f"run_date={FIRST}"]


def changes(dice: random.Random) -> Changes:
    """A basket more, or less, of many pairs; each item more often than all its pairs together."""
    found: Changes = {(item, item): (20, 32.0) for item in ITEMS}
    for at, one in enumerate(ITEMS):
        for other in ITEMS[at + 1 :]:
            baskets = dice.choice([-1, 0, 1, 1, 2])
            found[one, other] = (baskets, baskets * 2.0 ** dice.randint(0, 1))
    return found


def best(layers: list[Changes]) -> list[Row]:
    """The neighbours by hand, in the order of the file."""
    baskets, weight = defaultdict[tuple[str, str], int](int), defaultdict[tuple[str, str], float](float)
    for layer in layers:
        for pair, (more, heavier) in layer.items():
            baskets[pair] += more
            weight[pair] += heavier
    sides = defaultdict[str, list[tuple[float, int, str, int]]](list)
    for (one, other), met in baskets.items():
        if one != other and met >= 2:
            score = weight[one, other] / math.sqrt(weight[one, one] * weight[other, other])
            sides[one].append((-score, number_of(other), other, met))
            sides[other].append((-score, number_of(one), one, met))
    rows = [(item, other, met, -away) for item, found in sides.items() for away, _, other, met in sorted(found)[:MOST]]
    return sorted(rows, key=lambda row: (row[0].encode(), -row[3], row[1].encode()))


def pairs(changed: Changes) -> pa.Table:
    numbers = [sorted((number_of(one), number_of(other))) for one, other in changed]
    return pa.table(
        {
            "a": pa.array([a for a, _ in numbers], pa.int64()),
            "b": pa.array([b for _, b in numbers], pa.int64()),
            "baskets": pa.array([baskets for baskets, _ in changed.values()], pa.int64()),
            "weight": pa.array([weight for _, weight in changed.values()], pa.float64()),
        }
    )


def named(items: list[str]) -> pa.Table:
    return pa.table({"item_id": pa.array(items, pa.string())})


def staged(lake: Lake, table: str, rows: Mapping[dt.date, pa.Table]) -> Staged:
    """A stage as Spark leaves it."""
    stage = open_stage(lake.path(table), tuple(map(str, rows)))
    for day, content in rows.items():
        file = lake.path(table) / stage.folder / f"run_date={day}" / "part-0.parquet"
        file.parent.mkdir(parents=True)
        pq.write_table(content, file)
    return stage


def by_day(lake: Lake, found: Staged) -> dict[str, list[Row]]:
    """A stage's rows, in their order."""
    return {
        file.parent.name.removeprefix("run_date="): [
            tuple(row.values()) for row in pq.read_table(file, partitioning=None).to_pylist()
        ]
        for file in lake.staged_files(found)
    }
