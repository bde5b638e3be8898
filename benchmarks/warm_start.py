"""Is a first fit that goes on from last night's model as good as one from the beginning? Nights in a row on the sample.

    python -m benchmarks.warm_start --home var/warm_start --out var/figures

The first time, the events are read by the jobs, into --home, and the features of all nights' cut-offs computed by
DuckDB. For each of --seeds a chain of nights follows: the first fits from the beginning, each later one goes on from
the one before, with what was known at its own ranker cut-off. On the nights named by --judge the same night is also
fitted from the beginning, with and without early stopping, and each way's two-tower model and two-stage model (a ranker
of its own) are held against the night's test, on the same users. Seconds are processor time of the first fit, the ways
in turns in one process.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from benchmarks.measure import report, say
from benchmarks.options import parser
from benchmarks.processes import ROOT
from benchmarks.stages import prepared
from benchmarks.yardstick import compute
from nightshift.config import Settings
from nightshift.evaluation.compare import compare
from nightshift.evaluation.intervals import interval
from nightshift.evaluation.labels import labels
from nightshift.features.snapshot import Snapshot, load_interactions
from nightshift.lake import Lake
from nightshift.models.fitting import fit
from nightshift.models.graph_model import fit_graph
from nightshift.models.two_tower import TwoTower
from nightshift.ranking.training import train_ranker
from nightshift.ranking.two_stage import TwoStage
from nightshift.runs import Night

MODELS = ("two_tower", "two_stage")
ORDER = [
    ("user_features", "user_id"),
    ("item_features", "item_id"),
    ("pairs", "user_id, item_id"),
    ("sequences", "user_id"),
    ("cooccurrence", "item_id, score desc, neighbour_id"),
]
WAYS = ("warm", "cold", "cold, no early stopping")


def main(argv: list[str] | None = None) -> None:
    arguments = parser("warm_start", __doc__, repeats=False)
    arguments.add_argument("--home", type=Path, required=True, help="for the lake; a prepared one is used again")
    arguments.add_argument("--config", type=Path, default=ROOT / "nightshift.yaml", help="(nightshift.yaml)")
    arguments.add_argument(
        "--run-date", type=dt.date.fromisoformat, default=dt.date(2011, 12, 8), help="the last night"
    )
    arguments.add_argument("--nights", type=int, default=29, help="in a row (29)")
    arguments.add_argument("--judge", type=int, nargs="+", default=[2, 4, 8, 15, 22, 29], help="(2 4 8 15 22 29)")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="(0 1)")
    args = arguments.parse_args(argv)
    last = prepared(args.home.absolute(), args.config, args.run_date, test_days=14)
    days = (args.run_date - dt.timedelta(days=back) for back in reversed(range(args.nights)))
    nights = [dataclasses.replace(last, run_date=day) for day in days]
    known = load_interactions(Lake(last.home / "lake"), args.run_date)
    judged = [found for seed in args.seeds for found in chain_of_nights(nights, known, set(args.judge), seed)]
    figures = pd.DataFrame([dataclasses.asdict(one) for one in judged])
    raw = figures.assign(values=figures["values"].map(lambda of: {name: list(value) for name, value in of.items()}))
    report("warm_start_nights", by_night(figures), vars(args), args.out)
    print()
    report("warm_start", against_cold(figures), vars(args), args.out, raw.to_dict("records"))


def features(night: Night, as_of: dt.date) -> Snapshot:
    """As of a day, by the yardstick: many days' states would take Spark longer than all else here."""
    folder, sellable = night.home / "yardstick" / as_of.isoformat(), night.settings.lists.sellable
    if not (folder / "cooccurrence.parquet").exists():
        compute(Lake(night.home / "lake"), as_of, night.settings, folder, cores=2, memory="2GB")
    with duckdb.connect() as database:
        frames = [database.sql(f"select * from '{folder}/{name}.parquet' order by {by}").df() for name, by in ORDER]
        users, items, pairs, sequences, cooccurrence = frames
        items["sellable"] = database.sql(f"select coalesce({sellable}, false) from items").df().iloc[:, 0]
    return Snapshot(as_of, users, items, pairs, sequences, cooccurrence)


@dataclass(frozen=True)
class Judged:
    """What one way gave on one night: processor seconds of the first fit, and by model NDCG by user_id."""

    number: int
    seed: int
    way: str
    seconds: float
    values: dict[str, pd.Series]


def chain_of_nights(nights: Sequence[Night], known: pd.DataFrame, judge: set[int], seed: int) -> Iterator[Judged]:
    """The judged nights of a chain, each way in turn."""
    settings = nights[0].settings.model_copy(update={"seed": seed})
    model: TwoTower | None = None
    for number, night in enumerate(nights, 1):
        early = features(night, night.ranker_cutoff)
        before = model
        model, seconds = timed(partial(fit, early, known, settings, warm_start=before))
        say(f"seed {seed}, night {number}: {seconds:.1f} s")
        if number in judge:
            trial = Trial.of(night, early, known, settings)
            yield Judged(number, seed, "warm", seconds, trial.figures(model))
            for way, of in {"cold": settings, "cold, no early stopping": to_the_end(settings)}.items():
                first, seconds = timed(partial(fit, early, known, of))
                yield Judged(number, seed, way, seconds, trial.figures(first))


def timed(fitted: Callable[[], tuple[TwoTower, Any]]) -> tuple[TwoTower, float]:
    """The model, and the processor seconds of its fit."""
    begun = time.process_time()
    return fitted()[0], time.process_time() - begun


def to_the_end(settings: Settings) -> Settings:
    """All epochs over all days, none left out to stop by."""
    return settings.model_copy(update={"two_tower": settings.two_tower.model_copy(update={"validation_days": 0})})


@dataclass(frozen=True)
class Trial:
    """A night's test: what all ways have in common."""

    early: Snapshot
    tested: Snapshot
    known: pd.DataFrame
    of_ranker: pd.DataFrame
    truth: pd.DataFrame
    graphs: tuple[Any, Any]
    settings: Settings

    @classmethod
    def of(cls, night: Night, early: Snapshot, known: pd.DataFrame, settings: Settings) -> Trial:
        tested = features(night, night.test_cutoff)
        of_ranker = labels(known, early.as_of, tested.as_of, known=early)
        truth = labels(known, tested.as_of, night.run_date, known=tested)
        graphs = fit_graph(early, settings), fit_graph(tested, settings)
        return cls(early, tested, known, of_ranker, truth, graphs, settings)

    def figures(self, first: TwoTower) -> dict[str, pd.Series]:
        """NDCG a user of the tested model that follows from a first fit, and of the two stages upon both."""
        tested, _ = fit(self.tested, self.known, self.settings, warm_start=first)
        ranker = train_ranker(
            {"graph_filter": self.graphs[0], "two_tower": first}, self.early, self.of_ranker, self.settings
        )
        embeddings = {"graph_filter": self.graphs[1], "two_tower": tested}
        whole = TwoStage(embeddings, ranker, self.settings.candidates, self.settings)
        found = compare({"two_tower": tested, "two_stage": whole}, self.tested, self.truth, self.settings.evaluation.k)
        return {name: found.values[name].set_index("user_id")["ndcg"] for name in MODELS}


def by_night(figures: pd.DataFrame) -> list[dict[str, Any]]:
    """A row a night: the means over seeds, one way beside the other."""
    rows = []
    for number, of_night in figures.groupby("number"):
        row: dict[str, Any] = {"night": int(number)}
        for model in MODELS:
            for way in WAYS:
                found = of_night[of_night["way"] == way]["values"]
                row[f"{model}, {way}"] = f"{np.mean([values[model].mean() for values in found]):.4f}"
        rows.append(row)
    return rows


def against_cold(figures: pd.DataFrame) -> list[dict[str, Any]]:
    """A row a way: processor seconds, NDCG, and the gain over a fit from the beginning on the same users.

    A user of several nights and seeds counts once, by the mean gain: the interval is over users.
    """
    keys = ["seed", "number"]
    cold = figures[figures["way"] == "cold"].set_index(keys)["values"]
    rows = []
    for way in WAYS:
        found = figures[figures["way"] == way].set_index(keys)
        row: dict[str, Any] = {"first fit": way, "CPU s": round(float(found["seconds"].median()), 1)}
        for model in MODELS:
            row[f"{model}, NDCG@20"] = f"{np.mean([values[model].mean() for values in found['values']]):.4f}"
            gains = [values[model] - cold[key][model] for key, values in found["values"].items()]
            row[f"{model}, gain"] = (
                "" if way == "cold" else interval(pd.concat(gains).groupby(level=0).mean().to_numpy(), seed=1).signed
            )
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
