"""Plots as SVG for the middle of a page: they take the page's colours, in light and in dark, and its font.

matplotlib draws with stand-in colours that are then replaced by the page's CSS variables. Ids are made unique by the
plot's name, and nothing in the SVG points outside the page.
"""

from __future__ import annotations

import datetime as dt
import io
import itertools
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import matplotlib
import matplotlib.dates
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from nightshift.monitoring.report.page import words

PAGE_COLOURS = {
    "#010101": "var(--ink)",
    "#020202": "var(--soft)",
    "#030303": "var(--line)",
    "#040404": "var(--accent)",
    "#050505": "var(--second)",
    "#060606": "var(--quiet)",
    "#070707": "var(--bad)",
}
INK, SOFT, LINE, ACCENT, SECOND, QUIET, BAD = PAGE_COLOURS

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": LINE,
    "axes.linewidth": 1,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 2,
    "patch.linewidth": 0,
}


def volume(counts: Sequence[Mapping[str, Any]]) -> Markup:
    """Rows by day, kept and otherwise. `counts`: run_date, kept, quarantined, duplicates, in time's order."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _canvas(2.6)
        dates = [dt.date.fromisoformat(str(count["run_date"])) for count in counts]
        days = [float(day) for day in matplotlib.dates.date2num(dates)]  # type: ignore[no-untyped-call]
        floor = [0] * len(days)
        width = min(14.0, 240 / (days[-1] - days[0] + 1))  # points; lines are drawn ten times as fast as bars
        for name, colour in (("kept", ACCENT), ("quarantined", SECOND), ("duplicates", QUIET)):
            top = [low + count[name] for low, count in zip(floor, counts, strict=True)]
            axes.vlines(days, floor, top, linewidth=width, color=colour, label=name, capstyle="butt")
            floor = top
        axes.set_ylim(bottom=0)
        locator = matplotlib.dates.AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(matplotlib.dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        axes.margins(x=0.02)
        axes.grid(axis="x", visible=False)
        _thousands(axes)
        legend = axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, handlelength=0.8, borderaxespad=0.2)
        for line in legend.get_lines():
            line.set_linewidth(8)
        last = counts[-1]
        return _svg(
            figure,
            "volume",
            f"Rows by day, {dates[0]} to {dates[-1]}",
            f"The last day, {dates[-1]}: {last['kept']} kept, {last['quarantined']} quarantined, "
            f"{last['duplicates']} duplicates.",
        )


def curve(name: str, points: Sequence[Sequence[float]]) -> Markup:
    """One figure followed through training. `points`: (step, value)."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _canvas()
        steps, values = [point[0] for point in points], [point[1] for point in points]
        axes.plot(steps, values, color=ACCENT, marker="o" if len(points) < 3 else "", markersize=4)
        axes.plot(steps[-1:], values[-1:], color=ACCENT, marker="o", markersize=5)
        axes.annotate(f"{values[-1]:.4g}", (steps[-1], values[-1]), (0, 7), textcoords="offset points", ha="right")
        axes.margins(y=0.2)
        axes.grid(axis="x", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlabel("step")
        said = f"From {values[0]:.4g} at step {steps[0]:g} to {values[-1]:.4g} at step {steps[-1]:g}."
        return _svg(figure, f"curve-{name}", f"Training curve: {name}", said)


def quality(metric: str, values: Mapping[str, float], served: str | None) -> Markup:
    """A bar a model, the best on top; the served one stands out."""
    with matplotlib.rc_context(STYLE):
        ranked = sorted(values.items(), key=lambda pair: (pair[1], pair[0]))
        figure, axes = _canvas(0.5 + 0.34 * len(ranked))
        names, figures = [words(name) for name, _ in ranked], [value for _, value in ranked]
        colours = [ACCENT if name == served else QUIET for name, _ in ranked]
        bars = axes.barh(names, figures, color=colours, height=0.66)
        axes.bar_label(bars, [f"{value:.4f}" for value in figures], padding=5, color=INK)
        axes.margins(x=0.1)
        axes.set_xlim(left=0)
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        for label in axes.get_yticklabels():
            label.set_color(INK)
        said = ", ".join(f"{words(name)} {value:.4f}" for name, value in reversed(ranked))
        return _svg(figure, "quality", f"{metric} by model", f"{said}.")


def intervals(name: str, title: str, found: Mapping[str, Sequence[float]], least: float | None, label: str) -> Markup:
    """A point and its interval a row, the first on top.

    Args:
        found: name -> (mean, low, high).
        least: where a line is drawn, to be above.
    """
    with matplotlib.rc_context(STYLE):
        rows = list(found.items())[::-1]
        figure, axes = _canvas(0.6 + 0.3 * len(rows))
        means, lows, highs = (np.array([values[at] for _, values in rows], dtype=float) for at in range(3))
        at = np.arange(len(rows))
        axes.hlines(at, lows, highs, color=ACCENT, linewidth=2)
        axes.plot(means, at, "o", color=ACCENT, markersize=5)
        if least is not None:
            axes.axvline(least, color=BAD, linewidth=1.2, linestyle="--")
        axes.set_yticks(at, [words(name) for name, _ in rows])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(label)
        for tick in axes.get_yticklabels():
            tick.set_color(INK)
        said = "; ".join(f"{words(name)} {mean:.4f}, {low:.4f} to {high:.4f}" for name, (mean, low, high) in rows[::-1])
        return _svg(figure, name, title, f"{said}.")


def looks(name: str, title: str, days: Sequence[dt.date], found: Sequence[Sequence[float]], label: str) -> Markup:
    """How a difference and its interval went from look to look, with the line of no difference.

    Args:
        found: (difference, low, high) by day, all finite.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = _canvas()
        values, lows, highs = (np.array([one[at] for one in found], dtype=float) for at in range(3))
        at = matplotlib.dates.date2num(list(days))  # type: ignore[no-untyped-call]
        axes.fill_between(at, lows, highs, color=ACCENT, alpha=0.16, linewidth=0)
        axes.plot(at, values, color=ACCENT, marker="o", markersize=3 if len(values) > 1 else 5)
        axes.axhline(0, color=BAD, linewidth=1.2, linestyle="--")
        locator = matplotlib.dates.AutoDateLocator(minticks=2, maxticks=6)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(matplotlib.dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="x", visible=False)
        axes.set_ylabel(label)
        said = f"On {days[-1]}: {values[-1]:.4g}, from {lows[-1]:.4g} to {highs[-1]:.4g}."
        return _svg(figure, name, title, said)


def reliability(bins: Sequence[Sequence[float]]) -> Markup:
    """What was foretold against what came true, both in percent, and the line where they agree.

    Args:
        bins: (mean probability, share that came true, entries).
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = _canvas()
        foretold, true = [one[0] for one in bins], [one[1] for one in bins]
        most = max([*foretold, *true, 1e-9])
        axes.plot([0, most], [0, most], color=QUIET, linewidth=1.2, linestyle="--")
        axes.plot(foretold, true, color=ACCENT, marker="o", markersize=5)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4))
            axis.set_major_formatter(PercentFormatter(1))
        axes.set_xlabel("foretold")
        axes.set_ylabel("came true")
        said = "; ".join(f"foretold {p:.1%}, came true {t:.1%}" for p, t in zip(foretold, true, strict=True))
        return _svg(figure, "reliability", "What scores mean", f"{said}.")


def histogram(name: str, title: str, edges: Sequence[float], shares: Sequence[float], label: str) -> Markup:
    """Shares by bin, from bins already counted: `edges` has one more than `shares`. A share axis runs in percent."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _canvas()
        widths = [high - low for low, high in itertools.pairwise(edges)]
        gap = 0.06 * widths[0]
        axes.bar(edges[:-1], shares, width=[width - gap for width in widths], align="edge", color=ACCENT)
        axes.grid(axis="x", visible=False)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(label)
        top = max(range(len(shares)), key=lambda at: shares[at])
        said = f"From {edges[0]:.3g} to {edges[-1]:.3g}; most, {shares[top]:.0%}, from {edges[top]:.3g} to "
        return _svg(figure, name, title, f"{said}{edges[top + 1]:.3g}.")


def concentration(shares: Sequence[float]) -> Markup:
    """The part of all list places that the most listed items take. `shares`: cumulative, the most listed item first."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _canvas()
        items = sorted({*range(1, len(shares) + 1, 1 + len(shares) // 200), len(shares)})
        taken = [shares[item - 1] for item in items]
        axes.plot(items, taken, color=ACCENT)
        axes.fill_between(items, taken, color=ACCENT, alpha=0.12)
        axes.set_ylim(0, 1.02)
        axes.set_xlim(left=0)
        axes.grid(axis="x", visible=False)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set_xlabel("items, the most listed first")
        half = next(at for at, value in enumerate(shares, 1) if value >= 0.5)
        return _svg(
            figure, "concentration", "Places taken by the most listed items", f"{half} items take half of them."
        )


def _canvas(height: float = 2.3) -> tuple[Figure, Axes]:
    """As wide as half a page or a whole phone, so that text keeps about its size on both. `height` is in inches."""
    figure = Figure(figsize=(4.7, height), layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.03))
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    return figure, axes


def _thousands(axes: Axes) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _svg(figure: Figure, name: str, title: str, description: str) -> Markup:
    """The figure as an `<svg>` element with a title and a description that are read aloud."""
    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):  # the same figure is the same text
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = file.getvalue()
    svg = re.sub(r"<(metadata|style).*?</\1>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    unique = "plot-" + re.sub(r"[^a-z0-9]+", "-", name.lower())
    svg = re.sub(r'(<[^<>]*? id=")', rf"\g<1>{unique}-", svg)
    svg = re.sub(r"url\(#", f"url(#{unique}-", svg).replace('xlink:href="#', f'href="#{unique}-')
    svg = re.sub(r"font(-family)?: ([^;\"]*)'DejaVu Sans'[^;\"]*", _size_only, svg)
    for stand_in, colour in PAGE_COLOURS.items():
        svg = svg.replace(stand_in, colour)
    head = re.search(r'viewBox="[^"]*"', svg)
    opening = (
        f'<svg class="plot" role="img" aria-label="{escape(f"{title}. {description}")}" {head[0] if head else ""}>'
    )
    words = f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
    return Markup(re.sub(r"<svg[^>]*>", lambda _: opening + words, svg, count=1).strip())


def _size_only(match: re.Match[str]) -> str:
    """Keep a text's size and take the page's font."""
    size = re.search(r"[\d.]+px", match[2])
    return f"font-size: {size[0]}; font-family: inherit" if size else "font-family: inherit"
