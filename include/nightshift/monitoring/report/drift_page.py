"""The drift report as one HTML page: what has changed the most on top."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from nightshift.monitoring.alert import Raised
from nightshift.monitoring.drift import SEVERITY, Finding
from nightshift.monitoring.report.histogram import pair
from nightshift.monitoring.report.page import render, share
from nightshift.monitoring.windows import Window
from nightshift.runs import code_version

NAMED = 5  # new and lost values spelled out


@dataclass(frozen=True)
class Comparison:
    """Which two windows were compared.

    Attributes:
        origin: whose reference it is, in words.
        reference: its days; None where they are not known.
        current: the days that are judged.
        made_by: the command that makes this page again.
        trouble: why there is no reference; empty where there is one.
    """

    run_date: str
    run_id: str
    origin: str
    reference: Window | None
    current: Window
    made_by: str
    trouble: str = ""

    @property
    def shared_days(self) -> int:
        return self.current.overlap(self.reference) if self.reference else 0


def drift_page(
    comparison: Comparison, findings: Sequence[Finding], raised: Raised, thresholds: tuple[float, float]
) -> str:
    """The HTML of a drift report; `thresholds` are the PSI that warns and the PSI that alerts."""
    verdicts = Counter(finding.verdict for finding in findings)
    alerts, warnings, unknown = (verdicts[name] for name in ("alert", "warn", "insufficient data"))
    if alerts:
        headline = ("bad", _count(alerts, "alert"))
    elif warnings:
        headline = ("warn", _count(warnings, "warning"))
    elif unknown == len(findings):
        headline = ("warn", "Insufficient data")
    else:
        headline = ("good", "No drift")
    ranked = sorted(findings, key=lambda finding: finding.severity)
    return render(
        "drift.html",
        comparison=comparison,
        tone=headline[0],
        sentence=headline[1],
        counts={verdict: verdicts[verdict] for verdict in SEVERITY},
        groups=[
            (verdict, [f for f in ranked if f.verdict == verdict])
            for verdict in SEVERITY
            if verdicts[verdict] and verdict != "insufficient data"
        ],
        unjudged=_alike([f for f in ranked if f.verdict == "insufficient data"]),
        histograms={(f.frame, f.column): _histogram(f) for f in ranked if f.labels},
        raised=raised,
        warn=thresholds[0],
        alert=thresholds[1],
        named=NAMED,
        code=code_version(),
    )


def _alike(findings: Sequence[Finding]) -> list[tuple[Finding, list[str]]]:
    """Findings that differ in their column alone, as one of them with all their columns."""
    found: dict[tuple[str, str, int, int], tuple[Finding, list[str]]] = {}
    for finding in findings:
        key = (finding.frame, finding.reason, finding.reference_rows, finding.current_rows)
        found.setdefault(key, (finding, []))[1].append(finding.column)
    return list(found.values())


def _histogram(finding: Finding) -> Markup:
    bins = list(zip(finding.labels, finding.reference_counts, finding.current_counts, strict=True))
    if finding.kind == "categorical" and 2 * bins[-2][1] > finding.reference_rows:
        bins.pop(-2)  # the others together would dwarf the categories that have a name
    said = "; ".join(f"{label}: {share(old)} to {share(new)}" for label, old, new in finding.moved())
    shares = [
        (label, old / finding.reference_rows, new / finding.current_rows) for label, old, new in bins if old or new
    ]
    return pair(shares, f"Reference to now. {said}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
