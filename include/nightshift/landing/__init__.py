"""From a company's own rows to events: read, map, judge by the contract, count."""

from nightshift.landing.events import business_days, first_of_each, judge
from nightshift.landing.source import DayFile, count_rows, day_files, read_rows

__all__ = ["DayFile", "business_days", "count_rows", "day_files", "first_of_each", "judge", "read_rows"]
