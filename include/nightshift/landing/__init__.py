"""From a company's own rows to events: read, map, judge by the contract, count."""

from nightshift.landing.events import KEPT, QUARANTINED, REPEATED, judge
from nightshift.landing.source import DayFile, day_files, read_rows

__all__ = ["KEPT", "QUARANTINED", "REPEATED", "DayFile", "day_files", "judge", "read_rows"]
