"""Small histograms of two windows, drawn by hand: a page has dozens of them. Each says its figures when pointed at."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT, GAP = 168, 44, 1.5


def pair(bins: Sequence[tuple[str, float, float]], said: str) -> Markup:
    """Reference shares as grey bars, current shares as coloured bars beside them.

    Args:
        bins: label, reference share and current share of each bin to be drawn.
        said: the picture in words.
    """
    top = max((max(old, new) for _, old, new in bins), default=1)
    step = WIDTH / max(len(bins), 1)
    bars = Markup("").join(_bin(at * step, step, top, *values) for at, values in enumerate(bins))
    return Markup('<svg class="histogram" role="img" viewBox="0 0 {} {}" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, said, bars
    )


def _bin(x: float, step: float, top: float, label: str, old: float, new: float) -> Markup:
    wide = max((step - GAP) / 2, 0.8)
    bars = Markup("").join(
        Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
            name, left, HEIGHT - tall, wide, tall
        )
        for name, left, value in (("before", x, old), ("now", x + wide, new))
        for tall in [max(HEIGHT * value / top, 0.6 if value else 0)]
    )
    said = escape(f"{label}: {old:.1%} in the reference, {new:.1%} now")
    area = Markup('<rect class="area" x="{:.1f}" y="0" width="{:.1f}" height="{}"/>').format(x, step, HEIGHT)
    return Markup("<g><title>{}</title>{}{}</g>").format(said, area, bars)
