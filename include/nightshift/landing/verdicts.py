"""What is said of a day's rows as a whole: that they are another day's, or why so many were refused and what to do."""

from __future__ import annotations

import datetime as dt
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from nightshift.config.settings import Source
from nightshift.landing.events import AFTER, GARBLED_TEXT, NO_TYPE
from nightshift.landing.files import Look
from nightshift.runs import GateError

log = logging.getLogger("nightshift.landing")

FEW_ROWS = 20  # fewer of another day say nothing of the file

ADVICE = {  # how a reason ends -> what to do; a contract's own rules explain themselves
    NO_TYPE: "give the value a place in source.event_types",
    GARBLED_TEXT: "write the file as UTF-8 and deliver it again",
    AFTER: "compare the clock of the file with source.timezone",
    "is unreadable": "write a record as one line of the header's fields and deliver the file again",
    "a record is one line": "write a record as one line of the header's fields and deliver the file again",
    "is not ": "write the column as before and deliver the file again, or widen its type in source.types",
}


def refuse_another_days_file(source: Source, looks: Sequence[Look], dates: Mapping[dt.date, Counter[dt.date]]) -> None:
    """Hold the days that a file's rows are of against the day it is for.

    Args:
        dates: run date -> the business days of its rows.

    Raises:
        GateError: most rows are of one other day, and source.evolution.wrong_day does not accept it.
    """
    for look in looks:
        day, found = look.file.run_date, dates[look.file.run_date]
        other, rows = max(((d, n) for d, n in found.items() if d != day), key=lambda pair: pair[1], default=(day, 0))
        if rows * 2 <= found.total():
            continue
        told = f"{look.file.address} is the file of {day}, but {rows} of its {found.total()} rows are of {other}"
        if source.evolution.wrong_day == "accept" or rows < FEW_ROWS:
            log.warning("%s", told)
            continue
        raise GateError(
            f"{told}: deliver the file of {day}; if the day's file is to catch up, set source.evolution.wrong_day: "
            "accept for this night. Nothing is committed."
        )


def tell_refusals(refused: Mapping[str, Mapping[str, Any]], first: dt.date, last: dt.date) -> None:
    """Say once of each reason that a change of the files may be behind how many rows it took, and what to do."""
    for reason, found in refused.items():
        advice = next((told for words, told in ADVICE.items() if words in reason), None)
        if advice:
            values = ", ".join(f"{value!r} ({rows})" for value, rows in found["values"].items())
            log.warning(
                "quarantine: %s: %d rows%s: %s, then python -m jobs.replay_quarantine --from %s --to %s",
                reason, found["rows"], f", like {values}" if values else "", advice, first, last,
            )  # fmt: skip


def tell_garbled(attributes: Mapping[str, int]) -> None:
    """Say of accepted attributes that they hold garbled text, and what to do."""
    if attributes:
        told = ", ".join(f"{name} in {rows} events" for name, rows in attributes.items())
        log.warning("garbled text is accepted in attributes: %s: %s", told, ADVICE[GARBLED_TEXT])
