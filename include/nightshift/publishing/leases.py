"""Leases: who reads which run, so that `prune` leaves it alone. A reader that follows the live run needs none to be
right; one that reads on after the pointer has moved, or reads an old run, does.

A batch reader holds one while it reads:

    with Lease(storage, "home", "newsletter").of(manifest.run) as lease:
        for batch in batches:
            ...
            lease.keep()

One that goes from run to run, as a service of yours might, holds one for as long as it reads (nightshift's own lookup
service takes none: docs/lookup.md):

    lease = Lease(storage, "home", "catalogue")
    lease.hold(manifest.run)                      # before the run is opened; and again for the next run
    lease.keep()                                  # every few seconds or minutes; it writes now and then
    lease.release()                               # at the end; a reader that dies needs not: the lease ends by itself

It is one small object, `<surface>/leases/<reader>-<random>.json`: two readers of one name do not end each other's. How
long it holds is counted from the time at which the store says it was written: the reader's clock does not come into it.
`prune` adds `SKEW` for its own, and lets no lease hold longer than `LONGEST` without being written again, whatever it
says. So a clock may be off by minutes, and a reader that died holds nothing up for longer than a day and a quarter of
an hour.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import secrets
import time
from collections.abc import Callable, Iterator

from pydantic import Field, ValidationError

from nightshift.publishing.layout import leases_folder, run_folder_of
from nightshift.publishing.manifest import Record, Run
from nightshift.publishing.storage import ForbiddenError, Listed, NotThereError, Storage, StoreError

HOUR = 3600.0  # seconds
LONGEST = dt.timedelta(days=1)
SKEW = dt.timedelta(minutes=15)
READER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


class LapsedError(StoreError):
    """The lease had run out, and its run was pruned. Open the run that is live now."""


class LeaseRecord(Record):
    """A lease as it lies in the store.

    Attributes:
        seconds: how long it holds, from when it was written.
        until: the same by the reader's clock, for people who look at it.
    """

    reader: str
    run: Run
    seconds: float = Field(gt=0)
    until: dt.datetime


class Lease:
    """One reader's lease; it holds one run at a time.

    Args:
        reader: a name of 1 to 128 letters, digits and `_.-`, for people who look at it. Others may have the same.
        seconds: how long it holds unless it is kept. A reader that cannot call `keep` as often asks for more, up to a
            day.
        clock, now: the time, for tests.
    """

    def __init__(
        self,
        storage: Storage,
        surface: str,
        reader: str,
        seconds: float = HOUR,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        if not READER.fullmatch(reader):
            raise StoreError(f"a reader cannot be called {reader!r}: 1 to 128 letters, digits and _.-")
        self.storage, self.reader, self.seconds = storage, reader, min(seconds, LONGEST.total_seconds())
        self.key = f"{leases_folder(surface)}{reader}-{secrets.token_hex(8)}.json"
        self.run: Run | None = None
        self._clock, self._now, self._written = clock, now, 0.0

    def hold(self, run: Run) -> None:
        """Hold `run`, and no longer what was held before.

        Raises:
            LapsedError: the run is not there, or not any more.
            StoreError: the lease cannot be written.
        """
        record = LeaseRecord(
            reader=self.reader, run=run, seconds=self.seconds, until=self._now() + dt.timedelta(seconds=self.seconds)
        )
        started = self._clock()
        try:
            self.storage.write(self.key, record.to_json())
        except ForbiddenError as error:
            raise ForbiddenError(f"{error} Reading without a lease needs no such right.") from None
        self.run, self._written = run, started
        if not self.storage.exists(run.manifest):
            self.release()
            raise LapsedError(f"{run} is not in {self.storage.address} any more: open the run that is live now")

    def keep(self) -> None:
        """Write the lease again, once a third of its time has passed.

        Raises:
            LapsedError: too late: the run was pruned meanwhile. Its files stay for a day after that.
            StoreError: the lease cannot be written; what is left of its time remains.
        """
        if self.run and self._clock() - self._written > self.seconds / 3:
            self.hold(self.run)

    def release(self) -> None:
        """Hold nothing. Where the store cannot be reached the lease ends by itself."""
        self.run = None
        with contextlib.suppress(StoreError):
            self.storage.delete(self.key)

    @contextlib.contextmanager
    def of(self, run: Run) -> Iterator[Lease]:
        """Hold `run` for as long as the body takes; the body calls `keep`."""
        self.hold(run)
        try:
            yield self
        finally:
            self.release()


def leased(storage: Storage, surface: str, now: dt.datetime) -> set[str]:
    """The folders of the runs that readers hold. Leases that have ended are removed.

    Raises:
        StoreError: a lease that may hold cannot be read; nobody can say which run it names.
    """
    held = set()
    for item in storage.list(leases_folder(surface)):
        try:
            record = LeaseRecord.model_validate_json(storage.read(item.key).body)
        except NotThereError:
            continue
        except ValidationError as error:
            if now - item.modified <= LONGEST + SKEW:
                why = f"is no lease: {error.errors()[0]['msg']}. Delete it"
                raise StoreError(f"{storage.address}/{item.key} {why}, or wait until it is a day old.") from None
            storage.delete(item.key)
            continue
        if _holds(item, record, now):
            held.add(run_folder_of(record.run.manifest))
        else:
            storage.delete(item.key)
    return held


def _holds(item: Listed, record: LeaseRecord, now: dt.datetime) -> bool:
    return now - item.modified <= min(dt.timedelta(seconds=record.seconds), LONGEST) + SKEW
