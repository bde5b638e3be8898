"""Whether the figures meet an expectation: what GX's own code decides, in a few lines, without its import.

Importing Great Expectations takes longer than a gate's audit. So a gate decides here; as soon as it stops the night,
else with the night's report, `data_docs` has GX decide on the same figures. If GX says otherwise, that is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NONNULL = "column_values.nonnull.unexpected_count"
LIKE = ", like "  # between what was observed and an example of it


@dataclass(frozen=True)
class Verdict:
    """Whether an expectation is met, by what."""

    success: bool
    observed: str  # as a person says it
    value: float | None  # for the history: the figure, or how many rows break the expectation
    waived: bool = False  # met for another reason than its figures; the expectation's note says which


def judge(kwargs: Mapping[str, Any], figures: Mapping[str, Any]) -> Verdict:
    """Decide on an expectation's figures, which go by GX's names of metrics (see `figures.measure`)."""
    counts = [metric for metric in figures if metric.endswith(".unexpected_count")]
    if not counts:
        (value,) = figures.values()
        return Verdict(_within(value, kwargs), _words(value), _number(value))
    own = next((metric for metric in counts if metric != NONNULL), NONNULL)
    rows, unexpected = figures["table.row_count"], figures[own]
    asked = next((figures[metric] for metric in figures if metric.endswith(".filtered_row_count")), rows)
    if own != NONNULL:
        asked -= figures.get(NONNULL, 0)
    success = asked == 0 or (asked - unexpected) / asked >= kwargs.get("mostly", 1)
    examples = figures[own.removesuffix("count") + "values"]
    like = f"{LIKE}{_example(examples[0])}" if examples and examples[0] is not None else ""
    return Verdict(success, f"{unexpected} of {rows} rows{like}", float(unexpected))


def _within(value: Any, kwargs: Mapping[str, Any]) -> bool:
    if value is None:
        return False
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    above = low is None or (value > low if kwargs.get("strict_min") else value >= low)
    return bool(above and (high is None or (value < high if kwargs.get("strict_max") else value <= high)))


def _words(value: Any) -> str:
    return "nothing" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _example(value: Any) -> str:
    return ", ".join(f"{k} {v!r}" for k, v in value.items()) if isinstance(value, dict) else repr(value)
