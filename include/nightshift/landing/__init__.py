"""From a company's own rows to events: look at the files, read, judge by the contract, take out repetitions, count.

`delivery` says what there is to read, `files` and `columns` whether it can be, `source` makes rows of it, `expressions`
says whether these can be judged, `events` judges them, `repetitions` keeps an event once, `figures` and `verdicts` say
what came of a day.
"""

from nightshift.landing.delivery import (
    Delivery,
    delivered,
    erased_of_gone_days,
    events_of_gone_days,
    lines_of_gone_days,
)
from nightshift.landing.events import business_days, judge, once_a_day, refused_rows, sound_rows
from nightshift.landing.expressions import check_types
from nightshift.landing.figures import dates_of, day_figures, garbled_attributes, refusals
from nightshift.landing.files import DayFile, Look, day_files, look_at
from nightshift.landing.repetitions import drop_repeated, later_days_that_share
from nightshift.landing.source import read_rows
from nightshift.landing.suppression import Suppression, load_suppression
from nightshift.landing.verdicts import refuse_another_days_file, tell_garbled, tell_refusals

__all__ = [
    "DayFile",
    "Delivery",
    "Look",
    "Suppression",
    "business_days",
    "check_types",
    "dates_of",
    "day_figures",
    "day_files",
    "delivered",
    "drop_repeated",
    "erased_of_gone_days",
    "events_of_gone_days",
    "garbled_attributes",
    "judge",
    "later_days_that_share",
    "lines_of_gone_days",
    "load_suppression",
    "look_at",
    "once_a_day",
    "read_rows",
    "refusals",
    "refuse_another_days_file",
    "refused_rows",
    "sound_rows",
    "tell_garbled",
    "tell_refusals",
]
