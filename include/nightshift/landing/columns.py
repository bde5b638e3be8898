"""Which columns of the files are read, and what is done where a file has others than these."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from nightshift.config.settings import Source
from nightshift.config.sql import columns_of
from nightshift.landing.files import Look
from nightshift.runs import StepError

log = logging.getLogger("nightshift.landing")


def needed_columns(source: Source) -> list[str]:
    """The source's columns that the configuration reads, sorted."""
    return _read_by([*_of_events(source), *source.item_attributes.values(), *source.user_attributes.values()])


def required_columns(source: Source) -> list[str]:
    """Those without which a row cannot be judged, sorted: attributes can do without theirs.

    A line of JSON may leave out what is null, so that of these only the ones of user, item and time must be there.
    """
    if source.format == "jsonl":
        return _read_by([source.columns.user, source.columns.item, source.columns.time])
    return _read_by(_of_events(source))


def type_columns(source: Source) -> list[str]:
    """The columns that tell an event's type, and not who acted, sorted; those of text alone, if there are any."""
    read = [name for name in _read_by(kind.when for kind in source.event_types) if name not in user_columns(source)]
    return [name for name in read if name not in source.types] or read


def user_columns(source: Source) -> list[str]:
    """The columns that say who acted: their values are kept in the lake alone, where a person can be erased."""
    return _read_by([source.columns.user])


def require_columns(source: Source, names: Sequence[str], address: str) -> None:
    """Hold the columns of a file against those that are read.

    Raises:
        StepError: one that must be there is not, or one that is read is there twice.
    """
    for name in required_columns(source):
        if name not in names:
            raise StepError(
                f"{address} lacks the column {name!r} (it has {', '.join(names) or 'none'}): "
                "correct the file, or the expressions under source: in the configuration"
            )
    for name in needed_columns(source):
        if sum(name.lower() == other.lower() for other in names) > 1:
            raise StepError(f"{address} has the column {name!r} twice: which is meant? Correct the file")


def settle_columns(source: Source, looks: Sequence[Look]) -> dict[str, Any]:
    """What the files have that nothing reads, and lack that attributes read: column -> number of files.

    Each is pointed out once, whatever the number of files.

    Raises:
        StepError: a file lacks a column that must be there, or one is new or lacking where that is to stop the night.
    """
    new, missing = Counter[str](), Counter[str]()
    evolution, needed = source.evolution, needed_columns(source)
    for look in looks:
        if look.rows or source.format != "jsonl":
            require_columns(source, look.columns, look.file.address)
        if source.format != "jsonl":
            missing.update(name for name in needed if name not in look.columns)
        new.update(name for name in look.columns if name not in {*needed, *evolution.unused_columns})
    if new:
        first = next(look.file.address for look in looks if new.keys() & set(look.columns))
        told = (
            f"columns that nothing reads: {_told(new)}, first in {first}: read them in an expression under source, or "
            "name them in source.evolution.unused_columns"
        )
        _settle(told, evolution.new_columns)
    if missing:
        told = (
            f"columns that attributes read are not there: {_told(missing)}: these attributes are none for the whole "
            "day. Correct the file, or the expressions under source.item_attributes and source.user_attributes"
        )
        _settle(told, evolution.missing_attributes)
    return {"new_columns": dict(sorted(new.items())), "missing_columns": dict(sorted(missing.items()))}


def _of_events(source: Source) -> list[str]:
    """The expressions that make a row an event, or none."""
    fields = [value for value in source.columns.model_dump().values() if value is not None]
    return [*fields, *[kind.when for kind in source.event_types], *source.contract.values()]


def _settle(told: str, decided: str) -> None:
    if decided == "stop":
        raise StepError(told)
    log.warning("%s", told)


def _told(names: Counter[str]) -> str:
    return ", ".join(f"{name} ({files} file{'s'[: files > 1]})" for name, files in sorted(names.items()))


def _read_by(expressions: Iterable[str]) -> list[str]:
    return sorted(set[str]().union(*map(columns_of, expressions)))
