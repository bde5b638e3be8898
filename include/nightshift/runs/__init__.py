"""A run: which business day it is for, what it is called, where it works, and what made it."""

from nightshift.runs.code import code_version
from nightshift.runs.dates import RunDateError, day_end, resolve_run_date
from nightshift.runs.errors import GateError, StepError
from nightshift.runs.home import home_of
from nightshift.runs.night import Night, open_night

__all__ = [
    "GateError",
    "Night",
    "RunDateError",
    "StepError",
    "code_version",
    "day_end",
    "home_of",
    "open_night",
    "resolve_run_date",
]
