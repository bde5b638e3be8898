"""From a template to one HTML file: the words that figures are written in, and the writing itself."""

from __future__ import annotations

import datetime as dt
import functools
import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nightshift.runs.durable import replacing

NOTHING = "\N{EN DASH}"


def render(template: str, **context: Any) -> str:
    """Fill `templates/<template>`; whatever is not marked safe is escaped."""
    return _environment().get_template(template).render(**context)


def write(file: Path, html: str) -> Path:
    """Put the page in its place, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as partial:
        partial.write_text(html, encoding="utf-8")
    return file


def number(value: Any, digits: int = 4) -> str:
    """`12345` is 12,345 and `0.123456` is 0.1235; what is not a number is left as it is, and None is a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.{digits}f}" if 1e-4 <= abs(value) < 1e6 else f"{value:.3g}"
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)


def share(value: float | None, digits: int = 1) -> str:
    """A share as a percentage: `0.1234` is 12.3 %."""
    return NOTHING if value is None else f"{value * 100:.{digits}f} %"


def duration(seconds: float | None) -> str:
    """`93` is 1 min 33 s."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def day(value: Any) -> str:
    """`2011-11-30` is Wednesday 30 November 2011."""
    try:
        date = value if isinstance(value, dt.date) else dt.date.fromisoformat(str(value))
    except ValueError:
        return str(value)
    return f"{date:%A} {date.day} {date:%B} {date.year}"


def words(name: str) -> str:
    """`validate_events` is validate events."""
    return name.replace("_", " ")


@functools.cache
def _environment() -> Environment:
    folder = Path(__file__).parent / "templates"
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "share": share, "duration": duration, "day": day, "words": words}
    return environment
