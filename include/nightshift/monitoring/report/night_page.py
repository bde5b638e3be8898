"""A night's report as one HTML page: what was gathered, drawn and put into the sections that have something to say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from nightshift.config import Settings
from nightshift.evaluation.character import CHARACTER
from nightshift.monitoring.report import plots
from nightshift.monitoring.report.night import NightReport
from nightshift.monitoring.report.page import number, render, words
from nightshift.runs import code_version

CURVES = 6
FIRST_COLUMNS = ("ndcg", "recall", "map", "mrr", "hit_rate")
LAST_COLUMNS = (*CHARACTER, "users")
METRIC_NAMES = {"ndcg": "NDCG", "map": "MAP", "mrr": "MRR", "recall": "Recall", "hit_rate": "Hit rate"}


def night_page(night: NightReport, settings: Settings) -> str:
    """The HTML of a night's report."""
    evaluation = settings.evaluation
    quality = _quality(night, evaluation.metric)
    drawn = _plots(night, quality, settings)
    context = {
        "night": night,
        "rows": _rows(night.summaries.get("ingest", {})),
        "index": _index(night.summaries.get("build_index", {}), settings.index.min_recall),
        "calibration": night.summaries.get("train", {}).get("calibration"),
        "params": night.summaries.get("train", {}).get("params"),
        "rules_cost": night.summaries.get("train", {}).get("rules_cost") or [],
        "publish": night.summaries.get("publish", {}),
        "verdict": night.verdict or {},
        "served_name": _served_name(night),
        "quality": quality,
        "new": _new(night, evaluation.metric),
        "slices": _slices(night),
        "plots": drawn,
        "longest": max((stage.seconds or 0 for stage in night.stages), default=0) or 1,
        "metric": evaluation.metric,
        "metric_name": f"{METRIC_NAMES[evaluation.metric]}@{evaluation.k}",
        "metric_names": METRIC_NAMES,
        "colours": {name: at % 6 for at, (name, _) in enumerate(night.lists.sources)} if night.lists else {},
        "test_days": evaluation.test_days,
        "trace": _trace(night),
        "code": code_version(),
    }
    tone, sentence = night.headline
    return render("night.html", **context, sections=_sections(context), tone=tone, sentence=sentence)


def _sections(context: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(template and anchor, heading) of the sections that have something to say."""
    night, drawn = context["night"], context["plots"]
    named = {
        "stages": ("Stages", True),
        "data": ("Data", context["rows"] or night.reasons or drawn["volume"]),
        "checks": ("Checks", night.gates),
        "training": ("Training", drawn["curves"] or context["params"] or context["index"]),
        "quality": ("Quality", context["quality"] or "accepted" in context["verdict"]),
        "lists": ("Lists", night.lists and night.lists.users),
        "customers": ("Three customers", night.customers),
        "trace": ("What made it", night.tables or context["trace"]),
    }
    return [(name, heading) for name, (heading, there) in named.items() if there]


def _rows(ingest: Mapping[str, Any]) -> dict[str, int] | None:
    names = ("rows_in", "kept", "quarantined", "duplicates")
    return {**{name: ingest[name] for name in names}, "days": ingest.get("days", 1)} if {*names} <= {*ingest} else None


def _index(summary: Mapping[str, Any], min_recall: float) -> dict[str, Any]:
    if summary.get("recall") is None:
        return {}
    facts = [
        f"{words(source)}: {found['kind']}, {number(found['items'])} items of {number(found['dimension'])} dimensions"
        for source, found in (summary.get("indexes") or {}).items()
    ]
    return {"recall": summary["recall"], "min_recall": summary.get("min_recall", min_recall), "facts": facts}


def _quality(night: NightReport, metric: str) -> dict[str, Any] | None:
    """The table of models: rows as they are in the verdict, sorted by the metric that decides."""
    rows = [row for row in (night.verdict or {}).get("table") or [] if row.get("model") and _is_number(row.get(metric))]
    if not rows:
        return None
    rows = sorted(rows, key=lambda row: (-row[metric], row["model"]))
    found = {name for row in rows for name, value in row.items() if _is_number(value)}
    columns = _in_order(found)
    by_model = {row["model"]: row[metric] for row in rows}
    served = _served_row(night.verdict or {}, by_model)
    others = [row for row in rows if row["model"] != served]
    beside = (
        f"{words(others[0]['model'])}: {number(others[0][metric])}" if others and served else words(rows[0]["model"])
    )
    best = {column: max(row[column] for row in rows if _is_number(row.get(column))) for column in columns}
    return {
        "rows": rows,
        "columns": columns,
        "by_model": by_model,
        "served": served,
        "figure": by_model[served or rows[0]["model"]],
        "beside": beside,
        "best": {column: best[column] if column in FIRST_COLUMNS else None for column in columns},
    }


def _in_order(columns: set[str]) -> list[str]:
    named = [*FIRST_COLUMNS, *sorted(columns - {*FIRST_COLUMNS, *LAST_COLUMNS}), *LAST_COLUMNS]
    return [name for name in named if name in columns]


def _new(night: NightReport, metric: str) -> list[dict[str, Any]]:
    """The models over items new to the user, the best first."""
    found = night.summaries.get("train", {}).get("metrics_new") or {}
    rows = [{"model": name, **figures} for name, figures in found.items() if _is_number(figures.get(metric))]
    return sorted(rows, key=lambda row: (-row[metric], row["model"]))


def _slices(night: NightReport) -> list[dict[str, Any]]:
    """The model's figure in each slice, beside that of the baseline that is best there."""
    found = dict(night.summaries.get("train", {}).get("slices") or {})
    own = found.pop("two_stage", [])
    rows = []
    for at, row in enumerate(own):
        others = {name: slices[at]["mean"] for name, slices in found.items()}
        name = max(others, key=lambda name: (others[name], name)) if others else ""
        rows.append({**row, "baseline": name, "baseline_mean": others.get(name)})
    return rows


def _served_row(verdict: Mapping[str, Any], models: Mapping[str, float]) -> str | None:
    """The table's row of the model served: where the challenger was refused, the champion's, if there is one."""
    served = verdict.get("served") or {}
    names = [served.get("kind"), served.get("name")] if verdict.get("accepted") else ["champion", served.get("kind")]
    return next((name for name in names if name in models), None)


def _served_name(night: NightReport) -> str:
    served = (night.verdict or {}).get("served") or {}
    version = f" version {served['version']}" if served.get("version") else ""
    name = served.get("kind") or served.get("name")
    return f"{words(str(name))}{version}" if name else ""


def _plots(night: NightReport, quality: Mapping[str, Any] | None, settings: Settings) -> dict[str, Any]:
    metric, k = settings.evaluation.metric, settings.evaluation.k
    gains = _intervals((night.verdict or {}).get("gains") or {})
    sliced = {f"{row['by']}: {row['slice']}": (row["mean"], row["low"], row["high"]) for row in _slices(night)}
    sliced = {name: values for name, values in sliced.items() if all(map(_is_number, values))}
    label = f"{METRIC_NAMES[metric]}@{k}"
    found = night.summaries.get("train", {}).get("curves") or {}
    curves = {name: [point for point in points if _is_number(point[1])] for name, points in found.items()}
    lists = night.lists
    calibration = night.summaries.get("train", {}).get("calibration")
    return {
        "volume": plots.volume(night.counts) if night.counts else None,
        "curves": [(name, plots.curve(name, points)) for name, points in sorted(curves.items()) if points][:CURVES],
        "quality": plots.quality(METRIC_NAMES[metric], quality["by_model"], quality["served"]) if quality else None,
        "reliability": plots.reliability(calibration["bins"]) if calibration else None,
        "gains": plots.intervals("gains", "Gain of the new model", gains, 0.0, f"gain in {label}") if gains else None,
        "slices": plots.intervals("slices", "The new model by slice", sliced, None, label) if sliced else None,
        "scores": _histogram("scores", "Scores", lists.score_edges, lists.score_shares, "score") if lists else None,
        "overlap": _histogram(
            "overlap", "Users by overlap", [at / 10 for at in range(11)], lists.overlap_shares, "share of the list"
        )
        if lists
        else None,
        "concentration": plots.concentration(lists.concentration) if lists and lists.concentration else None,
    }


def _intervals(gains: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[float, ...]]:
    """Those that are known, the smallest gain first."""
    found = {name: tuple(gain.get(part) for part in ("mean", "low", "high")) for name, gain in gains.items()}
    known = {f"over {name}": values for name, values in found.items() if all(map(_is_number, values))}
    return dict(sorted(known.items(), key=lambda pair: pair[1][0]))  # type: ignore[arg-type, return-value]


def _histogram(name: str, title: str, edges: list[float], shares: list[float], label: str) -> Markup | None:
    return plots.histogram(name, title, edges, shares, label) if shares else None


def _trace(night: NightReport) -> list[tuple[str, str]]:
    """What an answer can be traced by."""
    publish, served = night.summaries.get("publish", {}), (night.verdict or {}).get("served") or {}
    name = f", in the registry as {served['name']}" if served.get("name") else ""
    codes = sorted({str(summary["code"]) for summary in night.summaries.values() if summary.get("code")})
    found = [
        ("Run", night.run_id),
        ("Model served", f"{_served_name(night)}{name}" if served else None),
        ("Content hash", publish.get("content_hash")),
        ("Published at", publish.get("folder")),
        ("Live", publish.get("live")),
        ("Code", ", ".join(codes)),
        ("First two-tower fit", night.summaries.get("train", {}).get("first_fit")),
        ("MLflow run", night.summaries.get("train", {}).get("mlflow_run")),
    ]
    return [(name, str(value)) for name, value in found if value]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
