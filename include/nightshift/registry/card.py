"""The model card: what a version was made from, how well it does and for whom, and what it is not for.

After Mitchell et al. (2019), Model cards for model reporting, doi 10.1145/3287560.3287596.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FILE = "card.md"
SHOWN = ("ndcg", "recall", "map", "hit_rate", "coverage", "novelty", "personalisation", "popularity_lift")


def model_card(
    name: str, trained: Mapping[str, Any], days: Mapping[str, str], metric: str, k: int, made_by: str
) -> str:
    """Markdown; the same night gives the same text, also over tables that were written again with the same rows.

    Args:
        name: of the configuration.
        trained: what `jobs.train` leaves: first_fit, metrics, metrics_new, slices, calibration, params, users, items.
        days: ranker, test and serving: the last day that each part of the model has learnt from.
        metric: which decides, at `k`.
        made_by: the code's version.
    """
    sections = [
        f"# {name}: the two-stage model of {days['serving']}",
        "Candidates from two retrieval models, from what the user bought, from what is bought together and from what "
        f"is popular; ordered by gradient-boosted trees ({', '.join(trained['params']['ranker.objectives'])}) and "
        "small networks.",
        "## Data",
        _list(
            f"{trained['users']:,} users and {trained['items']:,} items by the end of {days['serving']}.",
            f"The first two-tower fit, as of {days['ranker']}, is {trained['first_fit']}.",
            f"The ranker learnt from candidates as of {days['ranker']} and what was bought up to {days['test']}.",
            f"Tested on what was bought after {days['test']} up to {days['serving']}, by the model as it was before.",
            "The tables' Delta versions are with its run in MLflow, and in the manifest of what it made.",
        ),
        f"## Quality at {k}",
        f"Means over the users who bought something in the days of the test. {metric.upper()} decides.",
        _metrics(trained["metrics"]),
        "Over items that are new to the user only:",
        _metrics(trained["metrics_new"]),
        "## By slice",
        f"{metric.upper()}@{k} with its 95% bootstrap interval over users.",
        _slices(trained["slices"]),
        "## Scores",
        _scores(trained["calibration"]),
        "## Limits",
        _list(*_limits(trained["slices"], k)),
        "## Made by",
        _list(f"Code: {made_by}.", f"Settings: {_told(trained['params'])}."),
    ]
    return "\n\n".join(sections) + "\n"


def _metrics(metrics: Mapping[str, Mapping[str, float | None]]) -> str:
    names = [name for name in SHOWN if any(name in found for found in metrics.values())]
    rows = [[model, *(_figure(found.get(name)) for name in names)] for model, found in metrics.items()]
    return _table(["model", *names], rows)


def _slices(slices: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    rows = []
    for row in slices.get("two_stage", []):
        interval = f"{_figure(row['low'])} to {_figure(row['high'])}"
        rows.append([row["by"], row["slice"], f"{row['users']:,}", _figure(row["mean"]), interval])
    return _table(["by", "slice", "users", "mean", "interval"], rows)


def _scores(calibration: Mapping[str, Any] | None) -> str:
    if not calibration:
        return "Scores say no more than the order: too little came true to tell what they mean."
    return (
        f"A published score is the share of such entries that their user buys within {calibration['days']} days "
        f"(isotonic regression over {calibration['entries']:,} entries of {calibration['users']:,} users, "
        f"{calibration['rate']:.2%} of which came true). Expected calibration error, across users: "
        f"{calibration['ece']:.4f}."
    )


def _limits(slices: Mapping[str, Sequence[Mapping[str, Any]]], k: int) -> Iterable[str]:
    yield "A user without a purchase gets what is popular; an item never bought is found by its attributes alone."
    yield f"Judged by what was bought within the days of the test, among the first {k}: not by what lists have caused."
    own = slices.get("two_stage", [])
    for name, others in slices.items():
        worse = [f"{a['by']} {a['slice']}" for a, b in zip(own, others, strict=True) if a["mean"] < b["mean"]]
        if worse:
            yield f"Worse than {name} for: {', '.join(worse)}."
    few = [f"{row['by']} {row['slice']}" for row in own if row["users"] < 30]
    if few:
        yield f"Fewer than 30 users of the test, so that little can be told: {', '.join(few)}."


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _list(*lines: str) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _told(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(values.items()))


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
