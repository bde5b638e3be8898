"""Which states of the features stand, what each was built upon, and which nights a correction has made stale.

The state as of a day follows from the events delivered up to that day and from the definitions. Its *lineage* is a
digest of both. A stored state stands if the lineage it was stored with is the one that its day has now, and so does
all that it is based on; so a corrected file, a late backfill or a changed definition need no bookkeeping of their own.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from nightshift.config import Settings
from nightshift.features.definitions import definitions_digest
from nightshift.lake import Lake
from nightshift.runs import StepError

LINEAGE = "feature_lineage"

SCHEMA = pa.schema([("run_date", pa.date32()), ("lineage", pa.string()), ("based_on", pa.date32())])


@dataclass(frozen=True)
class State:
    """The feature tables' partitions of one day: `based_on` is the day that their layers lie upon; None: on none."""

    run_date: dt.date
    lineage: str
    based_on: dt.date | None


@dataclass(frozen=True)
class Plan:
    """What is to be built: the states of `targets`, in time's order, the first upon `base`, others on each other."""

    base: dt.date | None
    targets: tuple[dt.date, ...]

    @property
    def states(self) -> dict[dt.date, dt.date | None]:
        """Each target and what it is based on."""
        return dict(zip(self.targets, (self.base, *self.targets), strict=False))


class Lineage:
    """The states on record, held against what the events are now.

    Args:
        states: what was stored.
        contents: run date -> identity of the events that it brought; days without a row brought nothing.
        definitions: identity of the definitions.
    """

    def __init__(self, states: Iterable[State], contents: Mapping[dt.date, str | None], definitions: str) -> None:
        self.states = {state.run_date: state for state in states}
        self._days = sorted(contents)
        self._digests = [definitions]
        for day in self._days:
            link = f"{self._digests[-1]} {day.isoformat()} {contents[day]}"
            self._digests.append(hashlib.sha256(link.encode()).hexdigest()[:32])

    def of(self, day: dt.date) -> str:
        """The lineage that a state as of `day` has, if it is built now."""
        return self._digests[bisect_right(self._days, day)] + f"@{day.isoformat()}"

    def stands(self, day: dt.date | None) -> bool:
        """Whether the stored state of `day` is what would be built now."""
        while day is not None:
            state = self.states.get(day)
            if state is None or state.lineage != self.of(day):
                return False
            day = state.based_on
        return True

    def chain(self, day: dt.date | None) -> list[dt.date]:
        """The days whose layers make up the state of `day`, the newest first.

        Raises:
            StepError: one of them is off the record.
        """
        days = []
        while day is not None:
            days.append(day)
            if day not in self.states:
                raise StepError(
                    f"features as of {days[0]} build upon {day}, which is being built again or was not finished: "
                    f"python -m jobs.build_features --run-date {day} makes them"
                )
            day = self.states[day].based_on
        return days

    def stale(self) -> list[dt.date]:
        """The nights whose features are not what would be built now, oldest first."""
        return [day for day in sorted(self.states) if not self.stands(day)]

    def expired(self, before: dt.date) -> list[dt.date]:
        """The days before a day whose states none of that day or later is based on, oldest first."""
        needed: set[dt.date] = set()
        for day in self.states:
            on = day if day >= before else None
            while on in self.states and on not in needed:
                needed.add(on)
                on = self.states[on].based_on
        return sorted(set(self.states) - needed)

    def plans(self, wanted: Sequence[dt.date], rebuild: bool = False) -> list[Plan]:
        """What to build so that the states of all `wanted` days stand; all of them from the events, if `rebuild`.

        Each day is built upon the newest earlier state that stands or is built itself, so that the fewest events move.
        """
        plans: list[Plan] = []
        for day in sorted(day for day in set(wanted) if rebuild or not self.stands(day)):
            last = plans[-1] if plans else None
            standing = [] if rebuild else [known for known in self.states if known < day and self.stands(known)]
            base = max(standing, default=None)
            if last and (base is None or base < last.targets[-1]):
                plans[-1] = Plan(last.base, (*last.targets, day))
            else:
                plans.append(Plan(base, (day,)))
        return plans


def load_lineage(lake: Lake, settings: Settings) -> Lineage:
    """The lineage as the lake has it now."""
    contents = lake.text_by_day("ingest_counts", "content") if lake.exists("ingest_counts") else {}
    return Lineage(load_states(lake), contents, definitions_digest(settings))


def load_states(lake: Lake, version: int | None = None) -> list[State]:
    """The states on record, at a version of their table."""
    if not lake.exists(LINEAGE):
        return []
    return [State(**row) for row in lake.arrow(LINEAGE, SCHEMA.names, version=version).to_pylist()]


def record(lake: Lake, states: Sequence[State]) -> int:
    """Put these states on record, in place of what there was of their days. Returns the table's version."""
    columns = {name: [getattr(state, name) for state in states] for name in SCHEMA.names}
    return lake.replace(LINEAGE, [state.run_date for state in states], pa.table(columns, schema=SCHEMA))


def forget(lake: Lake, days: Sequence[dt.date]) -> None:
    """Take these days off the record before their partitions change: half a change must not be taken for a state."""
    if set(days) & {state.run_date for state in load_states(lake)}:
        lake.replace(LINEAGE, list(days), SCHEMA.empty_table())


def layers(states: Iterable[State], day: dt.date) -> list[dt.date]:
    """The days whose layers make up the state of `day`, as recorded, the newest first."""
    recorded = Lineage(states, {}, "")
    return recorded.chain(day) if day in recorded.states else [day]
