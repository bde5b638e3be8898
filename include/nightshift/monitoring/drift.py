"""Has a column changed? Two windows' counts over the same bins, compared. Pure functions, no files, no clock.

Measures, over bins i with reference shares p and current shares q:

- PSI = sum (q - p) ln(q / p): the population stability index of credit scoring; under 0.1 nothing to do, over 0.25 act
  (N. Siddiqi, Credit Risk Scorecards, Wiley 2006). It is Jeffreys' divergence, so it does not matter which is which.
- KL(q || p) = sum q ln(q / p), in nats: what describing the current window with the reference's shares would cost
  (S. Kullback and R. Leibler, On Information and Sufficiency, Ann. Math. Statist. 22, 1951).

Smoothing, of both: half a row is added to each bin that has a row in either window (Jeffreys' prior), so that an empty
bin costs much but not infinity. Bins empty in both are left out.

Chance: where nothing has changed, PSI / (1/n + 1/m) follows chi-squared with a degree of freedom less than there are
bins, for n and m rows (B. Yurdakul and J. Naranjo, Statistical properties of the population stability index, J. Risk
Model Validation 14(4), 2020). A PSI over a threshold that chance alone may reach once in a thousand times is not called
drift but insufficient data.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import chdtri

from nightshift.monitoring.bins import Bins, count, tally

Verdict = Literal["ok", "warn", "alert", "insufficient data"]
SEVERITY: dict[Verdict, int] = {"alert": 0, "warn": 1, "insufficient data": 2, "ok": 3}

NOTABLE_SHARE = 0.01  # new or lost categories holding this share of the rows are a warning by themselves
LOST_AFTER = 10.0  # rows to be expected of a category before its absence is no chance: e^-10 is 1 in 22,000
CHANCE = 0.001


@dataclass(frozen=True)
class Limits:
    """When a difference counts: `psi_warn` and `psi_alert` are PSI, `min_rows` is of either window."""

    psi_warn: float = 0.1
    psi_alert: float = 0.25
    min_rows: int = 200


@dataclass(frozen=True)
class Finding:
    """What was found for one column. Figures that could not be told are None, and `reason` says why.

    Attributes:
        noise: the PSI that chance alone exceeds once in a thousand times, at these rows and bins.
        new: values that the reference does not know, with their current rows, the most frequent first.
        lost: values of the reference that ought to be there and are not, with their reference rows.
    """

    frame: str
    column: str
    verdict: Verdict
    reason: str
    kind: str = ""
    psi: float | None = None
    kl: float | None = None
    noise: float | None = None
    reference_rows: int = 0
    current_rows: int = 0
    reference_missing: float | None = None  # share
    current_missing: float | None = None  # share
    new: tuple[tuple[str, int], ...] | None = None
    lost: tuple[tuple[str, int], ...] | None = None
    labels: tuple[str, ...] = ()
    reference_counts: tuple[int, ...] = ()
    current_counts: tuple[int, ...] = ()

    @property
    def severity(self) -> tuple[int, float, str, str]:
        """Sorts the worst first."""
        return SEVERITY[self.verdict], -(self.psi or 0.0), self.frame, self.column

    def moved(self, most: int = 3) -> list[tuple[str, float, float]]:
        """(bin, reference share, current share) of the bins that moved most, the furthest first."""
        before, now = self.reference_rows or 1, self.current_rows or 1
        counts = zip(self.labels, self.reference_counts, self.current_counts, strict=True)
        shares = [(label, old / before, new / now) for label, old, new in counts if old or new]
        return sorted(shares, key=lambda share: (-abs(share[2] - share[1]), share[0]))[:most]


# measures


def psi(reference: Sequence[int] | np.ndarray, current: Sequence[int] | np.ndarray) -> float:
    """The population stability index of two windows' counts over the same bins."""
    p, q = _shares(reference, current)
    return float(np.sum((q - p) * np.log(q / p)))


def kl(reference: Sequence[int] | np.ndarray, current: Sequence[int] | np.ndarray) -> float:
    """KL(current || reference) in nats, from counts over the same bins."""
    p, q = _shares(reference, current)
    return float(max(0.0, np.sum(q * np.log(q / p))))


def psi_noise(reference: Sequence[int] | np.ndarray, current: Sequence[int] | np.ndarray) -> float:
    """The PSI that two windows of the same distribution exceed by chance once in a thousand times.

    It takes rows for independent; those of one basket are not, so the true figure is somewhat higher.
    """
    reference, current = np.asarray(reference), np.asarray(current)
    freedom = np.count_nonzero(reference + current) - 1
    return float(chdtri(freedom, CHANCE) * (1 / reference.sum() + 1 / current.sum())) if freedom > 0 else 0.0


def _shares(reference: Sequence[int] | np.ndarray, current: Sequence[int] | np.ndarray) -> list[np.ndarray]:
    both = [np.asarray(reference, dtype="float64"), np.asarray(current, dtype="float64")]
    used = both[0] + both[1] > 0
    return [(counts[used] + 0.5) / (counts.sum() + 0.5 * np.count_nonzero(used)) for counts in both]


# verdicts


def compare(frame: str, column: str, reference: Bins | None, current: pd.Series | None, limits: Limits) -> Finding:
    """Judge one column: `current` values against the `reference` bins. None stands for what is not there."""
    trouble = _insufficient(reference, current, limits)
    if trouble or reference is None or current is None:
        rows = (reference.rows if reference else 0, 0 if current is None else len(current))
        return Finding(frame, column, "insufficient data", trouble, reference_rows=rows[0], current_rows=rows[1])
    counts = count(reference, current)
    new, lost = _new_and_lost(reference, current)
    index, noise = psi(reference.counts, counts), psi_noise(reference.counts, counts)
    verdict, reason = _judge(index, noise, limits)
    if verdict == "ok" and (notable := _notable(new, lost, len(current), reference.rows)):
        verdict, reason = "warn", notable
    return Finding(
        frame,
        column,
        verdict,
        reason,
        reference.kind,
        index,
        kl(reference.counts, counts),
        noise,
        reference.rows,
        len(current),
        reference.missing / reference.rows,
        float(counts[-1]) / len(current),
        new,
        lost,
        reference.labels,
        reference.counts,
        tuple(counts.tolist()),
    )


def compare_frames(
    reference: Mapping[str, Mapping[str, Bins]], current: Mapping[str, pd.DataFrame], limits: Limits
) -> list[Finding]:
    """Judge every column of the reference, and every frame of the current window that the reference does not know.

    Returns:
        The findings, the worst first.
    """
    pairs = {(frame, column) for frame, columns in reference.items() for column in columns}
    pairs |= {(frame, column) for frame, rows in current.items() for column in rows.columns}
    found = []
    for frame, column in sorted(pairs):
        rows = current.get(frame)
        values = rows[column] if rows is not None and column in rows.columns else None
        found.append(compare(frame, column, reference.get(frame, {}).get(column), values, limits))
    return sorted(found, key=lambda finding: finding.severity)


def freshness(newest: dt.datetime | None, end: dt.datetime, max_age_hours: float) -> Finding:
    """Judge the age, at the `end` of the current window, of the newest event that there is."""
    if newest is None:
        reason = "there is no event up to the end of the window"
        return Finding("events", "freshness", "insufficient data", reason, "freshness")
    hours = (end - newest).total_seconds() / 3600
    verdict: Verdict = "alert" if hours > max_age_hours else "ok"
    reason = f"the newest event is {hours:.0f} h older than the window's end; up to {max_age_hours:g} h is allowed"
    return Finding("events", "freshness", verdict, reason, "freshness")


def _insufficient(reference: Bins | None, current: pd.Series | None, limits: Limits) -> str:
    if reference is None:
        return "the reference has no bins for it"
    if current is None:
        return "the current window does not have it"
    if reference.rows == reference.missing:
        return "the reference has no bins for it: every value was missing"
    for which, rows in (("current", len(current)), ("reference", reference.rows)):
        if rows == 0:
            return f"the {which} window is empty"
        if rows < limits.min_rows:
            return f"{rows} rows in the {which} window, fewer than {limits.min_rows}"
    return ""


def _judge(index: float, noise: float, limits: Limits) -> tuple[Verdict, str]:
    if index < limits.psi_warn:
        return "ok", f"PSI {index:.3f} is under {limits.psi_warn:g}"
    if index <= noise:
        return "insufficient data", f"PSI {index:.3f} may be chance: so few rows reach {noise:.3f} without any change"
    if index < limits.psi_alert:
        return "warn", f"PSI {index:.3f} is over {limits.psi_warn:g}"
    return "alert", f"PSI {index:.3f} is over {limits.psi_alert:g}"


Values = tuple[tuple[str, int], ...]


def _new_and_lost(reference: Bins, current: pd.Series) -> tuple[Values | None, Values | None]:
    if reference.known is None:
        return None, None
    now = tally(current)
    new = {name: rows for name, rows in now.items() if name not in reference.known}
    expected = len(current) / reference.rows
    lost = {name: rows for name, rows in reference.known.items() if name not in now and rows * expected >= LOST_AFTER}
    return _ranked(new), _ranked(lost)


def _ranked(tally: dict[str, int]) -> Values:
    return tuple(sorted(tally.items(), key=lambda pair: (-pair[1], pair[0])))


def _notable(new: Values | None, lost: Values | None, current_rows: int, reference_rows: int) -> str:
    """A sentence where new or lost categories matter by themselves, else nothing."""
    for what, values, rows in (("new", new, current_rows), ("lost", lost, reference_rows)):
        share = sum(count for _, count in values or ()) / rows
        if values and share >= NOTABLE_SHARE:
            of = "current" if what == "new" else "reference"
            noun = "category" if len(values) == 1 else "categories"
            return f"{len(values)} {what} {noun}, {share:.1%} of the {of} rows"
    return ""
