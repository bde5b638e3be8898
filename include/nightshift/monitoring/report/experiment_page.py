"""An experiment's readout for people and for programs: one HTML page, the same as Markdown, and as JSON."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from markupsafe import Markup

from nightshift.experiments.comparison import Result
from nightshift.experiments.readout import Readout
from nightshift.experiments.statistics import POWER, Interval
from nightshift.monitoring.report.page import NOTHING, number, render, share, words
from nightshift.monitoring.report.plots import looks
from nightshift.runs import code_version

SHARES = frozenset({"conversion", "bought_per_list"})  # metrics that are told in percent
MEANINGS = {
    "conversion": "users who bought",
    "value": "value a user: weight x quantity x price",
    "value_per_basket": "value a basket",
    "bought_per_list": "items bought after they were shown, by list shown",
}
TONES = {"better": "good", "worse": "bad", "not decided": "warn"}
MARKS = {"better": "✓", "worse": "✕", "not decided": "?"}


def experiment_page(readout: Readout, made_by: str) -> str:
    """The HTML of a readout."""
    return render(
        "experiment.html",
        readout=readout,
        tone=_tone(readout),
        rows=[(result, readout.verdict(result), told(result)) for result in readout.results],
        groups=group_rows(readout),
        plots=[_plot(result) for result in readout.results if _seen(result)],
        meanings=MEANINGS,
        tones=TONES,
        marks=MARKS,
        power=POWER,
        made_by=made_by,
        code=code_version(),
    )


def experiment_markdown(readout: Readout, made_by: str) -> str:
    """The same in Markdown, without the plots."""
    parts = [
        f"# {readout.experiment}: {readout.headline}\n",
        f"Exposures {readout.first} to {readout.last}; events of {readout.horizon_days} days from a user's first "
        f"exposure. Confidence {readout.confidence:.0%}.\n",
        *(f"**Do not use this:** {trouble}.\n" for trouble in readout.troubles),
        *(f"- {note}" for note in readout.notes),
        "",
        _table(("Variant", "Declared", "Users", "Expected", "Complete"), group_rows(readout)),
        f"Sample ratio: p = {number(readout.ratio_p)}\n",
    ]
    if readout.results:
        heads = ("Metric", "Variant", "Verdict", "Control", "Variant's", "Difference", "At any look", "p, any look",
                 "p, adjusted", "At one look", "Variance taken", "Detectable")  # fmt: skip
        rows = [(one.metric, one.variant, readout.verdict(one), *told(one).values()) for one in readout.results]
        parts += [_table(heads, rows), *(f"- {name}: {MEANINGS[name]}" for name in dict.fromkeys(r[0] for r in rows))]
    return "\n".join([*parts, f"\nMade by `{made_by}` with code `{code_version()}`.\n"])


def as_json(readout: Readout) -> dict[str, Any]:
    """Everything, for JSON: days as text, and None for what is infinite."""
    plain = _plain(asdict(readout)) | {"headline": readout.headline}
    for result, one in zip(readout.results, plain["results"], strict=True):
        one["verdict"] = readout.verdict(result)
        one["relative_difference"] = result.relative(result.difference)
    return plain


def told(result: Result) -> dict[str, str]:
    """A result's figures in words."""
    return {
        "control": _figure(result, result.control),
        "mean": _figure(result, result.mean),
        "difference": _signed(result, result.difference),
        "always": _bounds(result, result.always),
        "p_value": number(result.p_value),
        "p_adjusted": number(result.p_adjusted),
        "single": f"{_bounds(result, result.single)} (p = {number(result.single_p)})",
        "variance_taken": share(result.variance_taken, 0),
        "detectable": _signed(result, result.detectable).removeprefix("+"),
    }


def group_rows(readout: Readout) -> list[tuple[str, str, str, str, str]]:
    """Of each variant: its name, the declared share, users, how many that would be, and complete ones."""
    total = sum(group.users for group in readout.groups)
    return [
        (one.variant, share(one.share), number(one.users), number(round(one.share * total)), number(one.complete))
        for one in readout.groups
    ]


def _tone(readout: Readout) -> str:
    verdicts = {readout.verdict(result) for result in readout.results}
    return "bad" if readout.troubles or "worse" in verdicts else "good" if "better" in verdicts else "warn"


def _plot(result: Result) -> tuple[str, Markup]:
    seen = _seen(result)
    title = f"{words(result.metric)}, {result.variant} less control"
    found = [(one.difference, one.interval.low, one.interval.high) for one in seen]
    return title, looks(f"{result.variant} {result.metric}", title, [one.day for one in seen], found, "difference")


def _seen(result: Result) -> list[Any]:
    return [look for look in result.looks if math.isfinite(look.interval.low)]


def _figure(result: Result, value: float) -> str:
    return share(value, 2) if result.metric in SHARES else number(value)


def _signed(result: Result, value: float) -> str:
    """A difference, also as a share of the control's mean."""
    if not math.isfinite(value):
        return NOTHING
    relative = result.relative(value)
    plain = f"{value * 100:+.2f} points" if result.metric in SHARES else f"{value:+.4g}"
    return plain if relative is None else f"{plain} ({relative:+.1%})"


def _bounds(result: Result, interval: Interval) -> str:
    if not math.isfinite(interval.low):
        return NOTHING
    bounds = (result.relative(interval.low), result.relative(interval.high))
    if None in bounds:
        return f"{interval.low:+.4g} to {interval.high:+.4g}"
    return f"{bounds[0]:+.1%} to {bounds[1]:+.1%}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.isoformat() if isinstance(value, dt.date) else value
