"""What a search has found, and which nights train with it.

A winner is a challenger's settings, no more. The first night that has trained with it judges it: if the gate accepts
that night's model, the winner stays until a later one; if not, it is put aside, with the reason.

A night that is run again must find what it found then. So a winner counts only for run dates after that of its search
and after the last night that had begun when it was made; and one that is put aside stays in use for the night that
judged it, and for those before. Nothing here depends on when a night runs, only on run dates and on what is recorded.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from nightshift.config import Settings
from nightshift.runs import Night, StepError
from nightshift.runs.dates import RunDateError, parse_run_date
from nightshift.runs.durable import replacing
from nightshift.tuning.space import overridden, values_of

log = logging.getLogger("nightshift.tuning")

FOLDER, FILE = "search", "winner.json"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Gain(_Part):
    """Of the metric, over the settings in force, on users whom the search had not seen; see `intervals.interval`."""

    metric: str
    mean: float
    low: float
    high: float
    users: int


class Judgement(_Part):
    """What the gate said of the model of the first night that trained with a winner."""

    run_date: dt.date
    accepted: bool
    reasons: tuple[str, ...]


class Winner(_Part):
    """Settings that were better.

    Attributes:
        search, trial: which search has found them, and where.
        run_date: of the search.
        after: it counts for run dates after this one.
        overrides: all that differs from the configuration.
        configured: what the configuration said of the same keys.
    """

    search: str
    trial: str
    run_date: dt.date
    after: dt.date
    overrides: dict[str, int | float]
    configured: dict[str, int | float]
    gain: Gain
    judgement: Judgement | None = None

    @property
    def name(self) -> str:
        return f"{self.search} {self.trial}"

    @property
    def told(self) -> dict[str, Any]:
        """For the summary of a night that trains with it."""
        return {"name": self.name, "overrides": self.overrides, "gain": self.gain.model_dump()}

    def counts_for(self, run_date: dt.date) -> bool:
        """Whether a night of this run date trains with it, if there is no later winner."""
        judged = self.judgement
        return self.after < run_date and (judged is None or judged.accepted or run_date <= judged.run_date)


class _Record(_Part):
    """`winner.json`: the last winner, and those before it, the latest first."""

    winner: Winner
    earlier: tuple[Winner, ...] = ()

    @property
    def winners(self) -> tuple[Winner, ...]:
        return (self.winner, *self.earlier)


def winners(home: Path) -> tuple[Winner, ...]:
    """All that were ever found, the latest first.

    Raises:
        StepError: the record cannot be read: nobody can say then what the nights trained with.
    """
    file = home / FOLDER / FILE
    try:
        return _Record.model_validate_json(file.read_bytes()).winners
    except FileNotFoundError:
        return ()
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise StepError(f"{file} is not a record of winners: {told}. Bring it back, or remove it") from None


def tuned(night: Night) -> tuple[Night, Winner | None]:
    """The night with the settings that it trains with, and the winner that they are of, if any."""
    if not night.settings.tuning.use_winner:
        return night, None
    winner = next((one for one in winners(night.home) if one.counts_for(night.run_date)), None)
    if winner is None:
        return night, None
    if told := misfit(winner, night.settings):
        log.warning("tuning: %s is not used: %s", winner.name, told)
        return night, None
    return replace(night, settings=overridden(night.settings, winner.overrides)), winner


def in_force(night: Night) -> tuple[Settings, Winner | None]:
    """The settings that the next night would train with, and the winner that they are of: what a search must beat."""
    found, winner = tuned(replace(night, run_date=dt.date.max))
    return found.settings, winner


def misfit(winner: Winner, settings: Settings) -> str | None:
    """Why a winner does not fit the configuration, if so: what somebody has written there since counts for more."""
    try:
        now = values_of(settings, list(winner.overrides))
        overridden(settings, winner.overrides)
    except (AttributeError, ValueError) as error:
        return str(error)
    moved = [f"{key} is {now[key]} now, was {old}" for key, old in winner.configured.items() if now[key] != old]
    return f"the configuration has changed: {', '.join(moved)}. Search again" if moved else None


def last_begun(home: Path) -> dt.date:
    """The latest run date of which a night has begun."""
    found = [dt.date.min]
    for folder in (home / "nights").glob("*-*-*"):
        with contextlib.suppress(RunDateError):
            found.append(parse_run_date(folder.name))
    return max(found)


def keep(home: Path, winner: Winner) -> None:
    """Make this the last winner; one that is on record already stays as it is, with what was said of it."""
    with _alone(home):
        known = winners(home)
        if winner.name not in {one.name for one in known}:
            _write(home, (winner, *known))


def judge(home: Path, name: str, run_date: dt.date, accepted: bool, reasons: tuple[str, ...]) -> Winner:
    """Record what the gate said of a night that trained with a winner. Only the first such night decides.

    Returns:
        the winner as it is on record now.

    Raises:
        StepError: there is no such winner any more.
    """
    with _alone(home):
        known = winners(home)
        winner = next((one for one in known if one.name == name), None)
        if winner is None:
            raise StepError(f"{home / FOLDER / FILE} does not name {name}, which the night of {run_date} trained with")
        if winner.judgement is None or winner.judgement.run_date == run_date:
            told = Judgement(run_date=run_date, accepted=accepted, reasons=reasons)
            judged = winner.model_copy(update={"judgement": told})
            _write(home, tuple(judged if one.name == name else one for one in known))
            return judged
        return winner


def _write(home: Path, known: tuple[Winner, ...]) -> None:
    """Whole or not at all."""
    value = _Record(winner=known[0], earlier=known[1:]).model_dump(mode="json")
    with replacing(home / FOLDER / FILE) as partial:
        partial.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    """A night may judge while a search ends: the one reads after the other has written."""
    with locked(home / FOLDER / "winner.lock", wait=True):
        yield


@contextlib.contextmanager
def locked(file: Path, wait: bool) -> Iterator[None]:
    """Hold a lock of the kernel's, which ends with the process.

    Raises:
        BlockingIOError: somebody else holds it, and it was not to be waited for.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
