"""The pointer `current.json`: which run is live. Publishing moves it forward; rollback moves it to a run before.

Two rules keep a bad night away from readers. A publish goes forward in date only (a run of the same date replaces the
one before; a backfill leaves the pointer). And it never makes live again what was live already: the retry of a task
must not undo a rollback. A new run of the night that was rolled back moves the pointer as any other run does.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from nightshift.publishing.layout import pointer_key
from nightshift.publishing.manifest import Run
from nightshift.publishing.storage import ConflictError, NotThereError, Storage, StoreError

REMEMBERED = 100  # runs to go back to
ATTEMPTS = 20


class Pointer(Run):
    """The live run, and how we came to it.

    Attributes:
        history: the runs that were live before, the latest first: where a rollback goes.
        withdrawn: the runs that rollbacks have left, the latest first.
    """

    surface: str
    moved_at: dt.datetime
    moved_by: Literal["publish", "rollback"]
    history: tuple[Run, ...] = ()
    withdrawn: tuple[Run, ...] = ()

    @property
    def run(self) -> Run:
        return Run.model_validate(self.model_dump(include=set(Run.model_fields)))


@dataclass(frozen=True)
class Move:
    """What became of a wish to make a run live; `why` says in a sentence what was done, or what kept it."""

    moved: bool
    live: Run
    previous: Run | None
    why: str


def read_pointer(storage: Storage, surface: str) -> tuple[Pointer, str] | None:
    """The pointer and its tag; None where nothing was published yet.

    Raises:
        StoreError: it is not a pointer, or the store cannot be read.
    """
    try:
        stored = storage.read(pointer_key(surface))
    except NotThereError:
        return None
    return parse_pointer(stored.body, f"{storage.address}/{pointer_key(surface)}"), stored.etag


def parse_pointer(body: bytes, where: str) -> Pointer:
    try:
        return Pointer.model_validate_json(body)
    except ValidationError as error:
        raise StoreError(f"{where} is no pointer: {error.errors()[0]['msg']}") from None


def make_live(storage: Storage, surface: str, run: Run, now: dt.datetime) -> Move:
    """Move the pointer forward to `run`, whose manifest is written; or leave it, and say why."""
    for _ in range(ATTEMPTS):
        found = read_pointer(storage, surface)
        if found is None:
            pointer, previous, etag = None, None, None
        else:
            pointer, etag = found
            previous = pointer.run
            if why := keeps(pointer, run):
                return Move(False, previous, previous, why)
        moved = forward(pointer, surface, run, now)
        try:
            put_pointer(storage, moved, etag)
        except ConflictError:
            continue  # another publish came between: decide again on what it left
        return Move(True, run, previous, f"{run} is live")
    raise StoreError(f"the pointer of {surface} changes all the time: is one publish run in a loop?")


def keeps(pointer: Pointer, run: Run) -> str | None:
    """Why publishing `run` must leave the pointer where it is; None if it may move."""
    if run == pointer.run:
        return f"{run} is live already"
    if run in pointer.withdrawn:
        return f"{run} was rolled back; `python -m jobs.rollback --to {run}` makes it live again"
    if run in pointer.history:
        return f"{run} was live before {pointer.run}; `python -m jobs.rollback --to {run}` goes back to it"
    if run.run_date < pointer.run_date:
        return f"{pointer.run} is live and newer: {run} is published beside it"
    return None


def forward(pointer: Pointer | None, surface: str, run: Run, now: dt.datetime) -> Pointer:
    """The pointer after a publish of `run`."""
    history = (pointer.run, *pointer.history) if pointer else ()
    withdrawn = pointer.withdrawn if pointer else ()
    return _pointer(surface, run, now, "publish", history, withdrawn)


def back(pointer: Pointer, run: Run, now: dt.datetime) -> Pointer:
    """The pointer after a rollback to `run`: what was live since is withdrawn.

    `run` may also be one that was withdrawn, or never live: then it stands in the line by its date.
    """
    line = (pointer.run, *pointer.history)
    if run in line:
        place = line.index(run)
    else:
        place = next((at for at, before in enumerate(line) if before.run_date <= run.run_date), len(line))
    withdrawn = (*line[:place], *pointer.withdrawn)
    history = (before for before in line[place:] if before != run)
    return _pointer(pointer.surface, run, now, "rollback", tuple(history), tuple(r for r in withdrawn if r != run))


def _pointer(
    surface: str,
    run: Run,
    now: dt.datetime,
    by: Literal["publish", "rollback"],
    history: tuple[Run, ...],
    withdrawn: tuple[Run, ...],
) -> Pointer:
    return Pointer(
        **run.model_dump(),
        surface=surface,
        moved_at=now,
        moved_by=by,
        history=history[:REMEMBERED],
        withdrawn=withdrawn[:REMEMBERED],
    )


def put_pointer(storage: Storage, pointer: Pointer, etag: str | None) -> None:
    """Write the pointer over the one that has this tag; None: over none. Raises `ConflictError`."""
    key = pointer_key(pointer.surface)
    if etag is None:
        storage.create(key, pointer.to_json())
    else:
        storage.replace(key, pointer.to_json(), etag)
