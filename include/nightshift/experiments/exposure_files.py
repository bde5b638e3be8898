"""What was shown, as files: one of JSON lines for every few seconds of a process, whole or not there.

    exposures/pending/2011-11-30/20111130T080512123456-20111130T080522004711-<writer>-000007.jsonl
    exposures/landed/2011-11-29/...          rows that the lake has; they go after `experiments.exposures.keep_days`

A file's name says from when to when its rows are. Folders are UTC days, by a file's first row. The first line is about
the file, and every other has rows that are alike in most, so that what they share is said once:

    {"writer":"<writer>","rows":2,"dropped":0}
    {"surface":"home","channel":"current","list_run":"2011-11-29/by-hand","experiments":[...],"holdouts":[],
     "overridden":false,"number":[0,1],"shown_at":[1322640312123456,1322640312123999],"user_id":["17850","13047"],
     "shown":[20,20],"answer":null,"request_id":["5f1c9a7e00000001","5f1c9a7e00000002"]}
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from nightshift.runs.durable import flush, make_folder, replacing

if TYPE_CHECKING:
    from nightshift.experiments.assignment import Assignment

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
TIME = "%Y%m%dT%H%M%S%f"
NAME = re.compile(r"(\d{8}T\d{12})-(\d{8}T\d{12})-[0-9a-f]+-\d+\.jsonl")
SHARED = ("surface", "channel", "list_run", "experiments", "holdouts", "overridden")
OWN = ("number", "shown_at", "user_id", "shown", "answer", "request_id")


class Exposure(NamedTuple):
    """One list that was shown. `items`: how many of the run's own list for the user, else the answer's, as JSON."""

    assignment: Assignment
    run: str  # <run date>/<run id>
    channel: str | None  # that was answered from, where it is not the assignment's
    user_id: str
    items: int | bytes
    at: float  # seconds since 1970
    request_id: str | None = None


class Part(NamedTuple):
    """Rows as lines of a file, and from when to when they are, in microseconds since 1970."""

    lines: bytes
    rows: int
    first: int
    last: int


@dataclass(frozen=True)
class File:
    """A file of exposures, and from when to when its rows are."""

    path: Path
    first: dt.datetime
    last: dt.datetime


class Contents(NamedTuple):
    """What a file has: each of its columns, of so many rows, and how many its process dropped since the file before.

    `shown`: so many, from the first, of the list that the run has for the user, or popular ones; None: `answer` has the
    items of the answer, as JSON. `shown_at` is in microseconds since 1970.
    """

    columns: dict[str, list[Any]]
    dropped: int


def part_of(rows: Sequence[tuple[Any, ...]], first: int) -> Part:
    """Rows, each as an `Exposure` has its fields, as lines; those of one assignment and run are a line.

    Args:
        first: the number of the first: with who wrote them, the numbers make the exposures' ids.
    """
    groups: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for row in rows:
        groups.setdefault(row[:3], []).append(row)
    lines, times = list[bytes](), list[int]()
    for shared, of in groups.items():
        _, _, _, users, items, ats, request_ids = zip(*of, strict=True)
        shown_at = [round(at * 1e6) for at in ats]
        own: dict[str, Any] = {
            "number": list(range(first, first + len(of))),
            "shown_at": shown_at,
            "user_id": users,
            "shown": items,
            "answer": None,
            "request_id": request_ids,
        }
        if set(map(type, items)) != {int}:
            own["shown"] = [one if type(one) is int else None for one in items]
            own["answer"] = [one.decode() if type(one) is bytes else None for one in items]
        lines.append(_begun(shared) + orjson.dumps(own, option=orjson.OPT_APPEND_NEWLINE)[1:])
        times += shown_at
        first += len(of)
    return Part(b"".join(lines), len(rows), min(times), max(times))


@lru_cache(maxsize=512)
def _begun(shared: tuple[Any, ...]) -> bytes:
    """How a line begins: with what all its rows share."""
    assignment, run, channel = shared
    experiments = [
        {"experiment": name, "variant": variant, "propensity": assignment.propensities.get(name)}
        for name, variant in assignment.variants.items()
    ]
    values = (assignment.surface, channel or assignment.channel, run, experiments, assignment.holdouts)
    said = dict(zip(SHARED, (*values, assignment.overridden), strict=True))
    return orjson.dumps(said)[:-1] + b","


def write(pending: Path, parts: Sequence[Part], writer: str, number: int, dropped: int) -> Path:
    """Write a file, whole or not at all; a power cut after this takes nothing of it.

    Raises:
        OSError: the disk does not take it.
    """
    times = (min(part.first for part in parts), max(part.last for part in parts))
    first, last = (EPOCH + dt.timedelta(microseconds=time) for time in times)
    folder = pending / f"{first:%Y-%m-%d}"
    make_folder(folder)
    target = folder / f"{first:{TIME}}-{last:{TIME}}-{writer}-{number:06}.jsonl"
    rows = sum(part.rows for part in parts)
    _replace(target, [_about(writer, rows, dropped), *(part.lines for part in parts)])
    return target


def read(path: Path) -> Contents:
    """The rows of a file.

    Raises:
        ValueError: it is not as `write` leaves it.
        OSError: it cannot be read.
    """
    about, lines = _lines_of(path)
    columns: dict[str, list[Any]] = {name: [] for name in ("exposure_id", *SHARED, *OWN[1:])}
    for line in lines:
        rows = len(line["number"])
        columns["exposure_id"] += [f"{about['writer']}-{number}" for number in line["number"]]
        for name in SHARED:
            columns[name] += [line[name]] * rows
        for name in OWN[1:]:
            columns[name] += line[name]
    return Contents(columns, about["dropped"])


def remove(path: Path, is_gone: Callable[[str], bool]) -> int:
    """Take the rows of some users out of a file; the others keep their ids. Returns how many. Raises as `read` does."""
    about, lines = _lines_of(path)
    kept = []
    for line in lines:
        stays = [not is_gone(user) for user in line["user_id"]]
        line |= {name: [value for value, stay in zip(line[name], stays, strict=True) if stay] for name in OWN}
        kept += [line] if any(stays) else []
    rows = sum(len(line["number"]) for line in kept)
    if gone := about["rows"] - rows:
        lines_kept = [orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in kept]
        _replace(path, [_about(about["writer"], rows, about["dropped"]), *lines_kept])
    return int(gone)


def files_in(folder: Path) -> list[File]:
    """The files below `pending` or `landed`, by time. What a killed process left half written is none."""
    found = []
    for path in folder.glob("*/*.jsonl"):
        if name := NAME.fullmatch(path.name):
            first, last = (dt.datetime.strptime(time, TIME).replace(tzinfo=dt.UTC) for time in name.groups())
            found.append(File(path, first, last))
    return sorted(found, key=lambda file: (file.first, file.path.name))


def is_exposures(path: Path) -> bool:
    """Whether a file is one of these, by its name."""
    return NAME.fullmatch(path.name) is not None


def _about(writer: str, rows: int, dropped: int) -> bytes:
    return orjson.dumps({"writer": writer, "rows": rows, "dropped": dropped}, option=orjson.OPT_APPEND_NEWLINE)


def _lines_of(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the first line says of the file, and the others."""
    try:
        about, *lines = map(orjson.loads, path.read_bytes().splitlines())
        rows = sum(len(line["number"]) for line in lines)
        for line in lines:
            line["answer"] = line["answer"] or [None] * len(line["number"])
        if rows != about["rows"] or any(len({len(line[name]) for name in OWN}) != 1 for line in lines):
            raise ValueError(f"it has {rows} rows, or columns of several lengths; it says {about['rows']}")
        if not all(line.keys() >= {*SHARED} for line in lines) or not about.keys() >= {"writer", "dropped"}:
            raise ValueError("it lacks a member")
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no file of exposures: {error!r}") from None
    return about, lines


def _replace(target: Path, lines: Sequence[bytes]) -> None:
    """Put a file in its place once the disk has it, and have its name on the disk too."""
    with replacing(target) as partial:
        with partial.open("wb") as opened:
            opened.writelines(lines)
        flush(partial)
    flush(target.parent)
