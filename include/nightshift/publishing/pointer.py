"""The pointer `current.json`: which run is live. Publishing moves it forward; rollback moves it to a run before.

Every channel has a pointer of its own, by the same rules: `layout.pointer_key`.

Two rules keep a bad night away from readers. A publish goes forward in date only (a run of the same date replaces the
one before; a backfill leaves the pointer). And it never makes live again what was live already: the retry of a task
must not undo a rollback. A new run of the night that was rolled back moves the pointer as any other run does.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from nightshift.config.settings import CURRENT
from nightshift.publishing.layout import channels_folder, pointer_key
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
    channel: str = CURRENT
    moved_at: dt.datetime
    moved_by: Literal["publish", "rollback"]
    history: tuple[Run, ...] = ()
    withdrawn: tuple[Run, ...] = ()

    @property
    def run(self) -> Run:
        return Run.model_validate(self.model_dump(include=set(Run.model_fields)))


@dataclass(frozen=True)
class Standing:
    """What a run is, or was, to the readers of a channel; `published`: no pointer names it."""

    channel: str | None
    state: Literal["live", "was live", "rolled back", "published"]


UNNAMED = Standing(None, "published")


@dataclass(frozen=True)
class Move:
    """What became of a wish to make a run live; `why` says in a sentence what was done, or what kept it."""

    moved: bool
    live: Run
    previous: Run | None
    why: str


def read_pointer(storage: Storage, surface: str, channel: str = CURRENT) -> tuple[Pointer, str] | None:
    """The pointer and its tag; None where nothing was published yet.

    Raises:
        StoreError: it is not a pointer, or the store cannot be read.
    """
    key = pointer_key(surface, channel)
    try:
        stored = storage.read(key)
    except NotThereError:
        return None
    return parse_pointer(stored.body, f"{storage.address}/{key}"), stored.etag


def channels_of(storage: Storage, surface: str) -> list[str]:
    """The channels that have a pointer, `current` first."""
    keys = [item.key for item in storage.list(channels_folder(surface)) if item.key.endswith(".json")]
    current = [CURRENT] if storage.exists(pointer_key(surface)) else []
    return current + [key.removeprefix(channels_folder(surface)).removesuffix(".json") for key in keys]


def standings(storage: Storage, surface: str) -> dict[str, Standing]:
    """The runs that pointers name, by their manifests' keys. Of those that several name, `current`'s word counts."""
    found: dict[str, Standing] = {}
    for channel in channels_of(storage, surface):
        if read := read_pointer(storage, surface, channel):
            pointer = read[0]
            found.setdefault(pointer.manifest, Standing(channel, "live"))
            for run in pointer.history:
                found.setdefault(run.manifest, Standing(channel, "was live"))
            for run in pointer.withdrawn:
                found.setdefault(run.manifest, Standing(channel, "rolled back"))
    return found


def parse_pointer(body: bytes, where: str) -> Pointer:
    try:
        return Pointer.model_validate_json(body)
    except ValidationError as error:
        raise StoreError(f"{where} is no pointer: {error.errors()[0]['msg']}") from None


def make_live(storage: Storage, surface: str, run: Run, now: dt.datetime, channel: str = CURRENT) -> Move:
    """Move the channel's pointer forward to `run`, whose manifest is written; or leave it, and say why.

    Of two publishers of one run date at the same time, the second to come leaves it.

    Raises:
        StoreError: it could not be moved, or nobody can say whether it was; the message says which.
    """
    for attempt in range(ATTEMPTS):
        try:
            found = read_pointer(storage, surface, channel)
        except StoreError as error:
            raise StoreError(
                f"{run} is published and not live, and readers see what they saw before: {error}"
            ) from error
        pointer, etag = found or (None, None)
        previous = pointer.run if pointer else None
        if pointer and (why := keeps(pointer, run) or (_lost(pointer, run) if attempt else None)):
            return Move(False, pointer.run, previous, why)
        try:
            put_pointer(storage, forward(pointer, surface, run, now, channel), etag)
        except ConflictError:
            continue  # another publish came between: decide again on what it left
        except StoreError as error:
            must_have_moved(storage, surface, run, channel, previous, error, "run this again when the store answers")
        return Move(True, run, previous, f"{run} is live")
    raise StoreError(f"the pointer of {surface} changes all the time: is one publish run in a loop?")


def _lost(pointer: Pointer, run: Run) -> str | None:
    """Why a publish stops that another came before, while it was moving the pointer; None where it goes on."""
    if pointer.run_date != run.run_date:
        return None
    to = f"`python -m jobs.rollback --to {run}` makes it live"
    return f"another publisher made {pointer.run} live at the same time: {run} is published beside it; {to}"


def must_have_moved(
    storage: Storage, surface: str, run: Run, channel: str, previous: Run | None, error: StoreError, then: str
) -> None:
    """Look whether a move was done whose answer never came.

    Args:
        error: what came instead.
        then: what to do where nobody can say.

    Raises:
        StoreError: it was not, or nobody can say; the message says which.
    """
    before = previous or "nothing"
    try:
        found = read_pointer(storage, surface, channel)
    except StoreError:
        raise StoreError(
            f"{run} is published, and the store fell silent while it went live: readers see it or {before}, whole; "
            f"{then}: {error}"
        ) from error
    if not found or found[0].run != run:
        now = found[0].run if found else before
        raise StoreError(f"{run} is published and not live, and readers see {now}: {error}") from error


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


def forward(pointer: Pointer | None, surface: str, run: Run, now: dt.datetime, channel: str = CURRENT) -> Pointer:
    """The pointer after a publish of `run`."""
    history = (pointer.run, *pointer.history) if pointer else ()
    withdrawn = pointer.withdrawn if pointer else ()
    return _pointer(surface, channel, run, now, "publish", history, withdrawn)


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
    left = tuple(r for r in withdrawn if r != run)
    return _pointer(pointer.surface, pointer.channel, run, now, "rollback", tuple(history), left)


def _pointer(
    surface: str,
    channel: str,
    run: Run,
    now: dt.datetime,
    by: Literal["publish", "rollback"],
    history: tuple[Run, ...],
    withdrawn: tuple[Run, ...],
) -> Pointer:
    return Pointer(
        **run.model_dump(),
        surface=surface,
        channel=channel,
        moved_at=now,
        moved_by=by,
        history=history[:REMEMBERED],
        withdrawn=withdrawn[:REMEMBERED],
    )


def put_pointer(storage: Storage, pointer: Pointer, etag: str | None) -> None:
    """Write the pointer over the one that has this tag; None: over none. Raises `ConflictError`."""
    key = pointer_key(pointer.surface, pointer.channel)
    if etag is None:
        storage.create(key, pointer.to_json())
    else:
        storage.replace(key, pointer.to_json(), etag)
