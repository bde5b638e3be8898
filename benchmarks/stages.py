"""What does each stage of the chain bring? The shipped sample, tested on its last 30 days, stage by stage.

    python -m benchmarks.stages --home var/stages --out var/figures

The first time, the events up to the run date are read and their features built by the jobs, into --home. Then the
models learn from what was known --test-days before the run date, and are held against what was bought since: baselines,
each retrieval model, their candidates merged without a ranker, the ranker over all candidates, and the rules of the
lists; then the ranker again without each source. Recall is capped at 20; users and items are those known before the
test. Each figure has its 95% bootstrap interval over users. A second table says what each other chain gains over
two_stage, user by user, a third whom two_stage serves. Nothing is fitted to the days of the test.
"""

from __future__ import annotations

import datetime as dt
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from benchmarks.measure import costs, report, say
from benchmarks.options import parser
from benchmarks.processes import ROOT, command, environment
from nightshift.config import Settings, load
from nightshift.evaluation.compare import compare
from nightshift.evaluation.discovery import OnlyNew, unseen
from nightshift.evaluation.intervals import interval
from nightshift.evaluation.labels import labels
from nightshift.evaluation.slices import by_slice, slices
from nightshift.features.snapshot import Snapshot, load_interactions, load_snapshot
from nightshift.lake import Lake
from nightshift.models.baselines import BASELINES
from nightshift.models.coded import Coded
from nightshift.models.fitting import fit
from nightshift.models.graph_model import fit_graph
from nightshift.models.nearest import VectorModel
from nightshift.models.recommender import NOTHING, SOURCES, Entries, Recommender, lists_of
from nightshift.models.rows import ranked
from nightshift.ranking.candidates import Retriever
from nightshift.ranking.ranker import Ranker
from nightshift.ranking.rerank import Reranked
from nightshift.ranking.training import train_ranker
from nightshift.ranking.two_stage import TwoStage, retriever_for
from nightshift.runs import Night

NIGHTLY = ("ingest", "validate_events", "build_features")
METRICS = ("recall", "ndcg")
WHOLE = "two_stage"


def main(argv: list[str] | None = None) -> None:
    arguments = parser("stages", __doc__, repeats=False)
    arguments.add_argument(
        "--home", type=Path, required=True, help="a folder for the lake; a prepared one is used again"
    )
    arguments.add_argument(
        "--config", type=Path, default=ROOT / "nightshift.yaml", help="of the shop (nightshift.yaml)"
    )
    arguments.add_argument("--run-date", type=dt.date.fromisoformat, default=dt.date(2011, 12, 8), help="(2011-12-08)")
    arguments.add_argument("--test-days", type=int, default=30, help="up to the run date (30)")
    args = arguments.parse_args(argv)
    night = prepared(args.home.absolute(), args.config, args.run_date, args.test_days)
    world = World.of(night)
    models = world.models()
    found = {name: world.held(model) for name, model in models.items()}
    rows = [{"model": name, **_row(values)} for name, values in found.items()]
    report("stages", rows, vars(args), args.out)
    print()
    report("stages_gains", gains(found), vars(args), args.out)
    print()
    report("stages_by_segment", world.segments(found[WHOLE]), vars(args), args.out)


def prepared(home: Path, config: Path, run_date: dt.date, test_days: int) -> Night:
    """A night whose features are built."""
    values = yaml.safe_load(config.read_text())
    values["source"]["address"] = str(config.parent / values["source"]["address"])
    values.setdefault("evaluation", {})["test_days"] = test_days
    home.mkdir(parents=True, exist_ok=True)
    own = home / "nightshift.yaml"
    own.write_text(yaml.safe_dump(values))
    night = Night(load(own), run_date, "benchmark", home)
    own_environment = environment(NIGHTSHIFT_HOME=str(home), NIGHTSHIFT_CONFIG=str(own))
    for step in NIGHTLY:
        if not (night.folder / f"{step}.json").exists():
            say(step)
            subprocess.run(
                command(f"jobs.{step}", "--run-date", str(run_date)), cwd=ROOT, env=own_environment, check=True
            )
    return night


@dataclass(frozen=True)
class World:
    """What may be known before the test, and what came true in it."""

    settings: Settings
    early: Snapshot
    known: Snapshot
    interactions: pd.DataFrame
    ranker_labels: pd.DataFrame
    truth: pd.DataFrame

    @classmethod
    def of(cls, night: Night) -> World:
        lake, tables = Lake(night.home / "lake"), night.read_json("build_features")["tables"]
        early, known = (load_snapshot(lake, day, tables) for day in night.cutoffs[:2])
        happened = load_interactions(lake, night.run_date, tables["events"])
        of_ranker = labels(happened, early.as_of, known.as_of, known=early)
        truth = labels(happened, known.as_of, night.run_date, known=known)
        return cls(night.settings, early, known, happened, of_ranker, truth)

    def models(self) -> dict[str, Recommender]:
        """By name, in the order of the table; each knows nothing of the test."""
        found: dict[str, Recommender] = {baseline.kind: baseline() for baseline in BASELINES}
        first, _ = fit(self.early, self.interactions, self.settings)
        tested, _ = fit(self.known, self.interactions, self.settings, warm_start=first)
        early = {"graph_filter": fit_graph(self.early, self.settings), "two_tower": first}
        known = {"graph_filter": fit_graph(self.known, self.settings), "two_tower": tested}
        found |= known
        found["merged, no ranker"] = Merged(known, self.settings)
        found[WHOLE] = whole = self.two_stage(early, known, self.settings)
        found[f"{WHOLE}, rules of the lists"] = Reranked(whole, self.settings.lists)
        for source in SOURCES:
            found[f"{WHOLE} without {source}"] = self.two_stage(early, known, without(self.settings, source))
        return found

    def two_stage(
        self, early: Mapping[str, VectorModel], known: Mapping[str, VectorModel], settings: Settings
    ) -> TwoStage:
        """A ranker fitted on candidates as of the earlier cut-off, over the candidates as of the test's."""
        ranker: Ranker = train_ranker(early, self.early, self.ranker_labels, settings)
        return TwoStage(known, ranker, settings.candidates, settings)

    def held(self, model: Recommender) -> dict[str, pd.DataFrame]:
        """Figures a user over all items, and over those new to the user."""
        k = self.settings.evaluation.k
        with costs() as cost:
            all_items = compare({model.kind: model}, self.known, self.truth, k)
            new = compare({model.kind: OnlyNew(model)}, self.known, unseen(self.truth, self.known), k)
        say(f"{model.kind}: {cost.seconds:.1f} s")
        return {"all": all_items.values[model.kind], "new": new.values[model.kind]}

    def segments(self, values: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
        """Recall by history and country."""
        rows = []
        for case, found in values.items():
            sliced = slices(self.known, found["user_id"].tolist())
            rows += [_segment(case, of) for of in by_slice(found, sliced, "recall", self.settings.seed)]
        return rows


def gains(found: Mapping[str, Mapping[str, pd.DataFrame]]) -> list[dict[str, Any]]:
    """Each other chain's figures less those of two_stage, on the same users.

    Args:
        found: model -> all or new items -> a row a user, see `metrics.by_user`.
    """
    rows = []
    for name in (name for name in found if name.startswith(WHOLE) and name != WHOLE):
        row: dict[str, Any] = {"model": name}
        for case, of in found[name].items():
            other, whole = (values.set_index("user_id")[[*METRICS]] for values in (of, found[WHOLE][case]))
            for metric, gain in (other - whole).items():
                row[f"{metric}@20, {case}"] = interval(gain.to_numpy(), seed=1).signed
        rows.append(row)
    return rows


def without(settings: Settings, source: str) -> Settings:
    """The settings with a source switched off."""
    return settings.model_copy(update={"candidates": settings.candidates.model_copy(update={source: 0})})


@dataclass(frozen=True)
class Merged:
    """The candidates of all sources, ordered by the sum of 1 / (60 + rank): what there is without a ranker.

    Cormack, Clarke, Büttcher (2009), Reciprocal rank fusion, doi 10.1145/1571941.1572114.
    """

    embeddings: Mapping[str, VectorModel]
    settings: Settings

    kind = "merged"

    @property
    def as_of(self) -> dt.date:
        return max(model.as_of for model in self.embeddings.values())

    def recommend(self, snapshot: Snapshot, user_ids: Sequence[str], k: int) -> pd.DataFrame:
        """See `Recommender`."""
        coded = Coded(snapshot)
        retriever: Retriever = retriever_for(self.embeddings, coded, self.settings)
        candidates = retriever.candidates(coded.user_positions(user_ids))
        ranks = candidates[[f"{source}_rank" for source in SOURCES]].to_numpy()
        score = np.nansum(1 / (60 + ranks), axis=1)
        row, item = candidates["row"].to_numpy(), candidates["item"].to_numpy()
        best, _ = ranked(row, item, score, k)
        entries = Entries.of(row[best], item[best], score[best], SOURCES[0])
        return lists_of(coded, user_ids, Entries.joined([NOTHING, entries]), k, retriever.popular)

    def save(self, folder: Path) -> None:
        raise NotImplementedError("it is for comparison only")


def _segment(case: str, of: Mapping[str, Any]) -> dict[str, Any]:
    bounds = "" if of["low"] is None else f" ({of['low']:.3f} to {of['high']:.3f})"
    keys = {"by": of["by"], "slice": of["slice"], "users": of["users"]}
    return {"items": case, **keys, "recall@20": f"{of['mean']:.3f}{bounds}"}


def _row(values: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for case, found in values.items():
        for metric in METRICS:
            of = interval(found[metric].to_numpy(), seed=1)
            row[f"{metric}@20, {case}"] = f"{of.mean:.4f} ({of.low:.3f} to {of.high:.3f})"
        row[f"users, {case}"] = len(found)
    return row


if __name__ == "__main__":
    main()
