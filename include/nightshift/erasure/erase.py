"""Erase people: keep them out, remove them, look for them everywhere, and leave a record without them."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from nightshift.config import Settings
from nightshift.erasure.landed import COUNTS, EVENTS, QUARANTINE, erase_landed, refused_lines
from nightshift.erasure.leftovers import erase_leftovers
from nightshift.erasure.people import People
from nightshift.erasure.proof import SCRATCH, Proof, ids_of_items, prove
from nightshift.erasure.published import remove_old, remove_unnamed, replace_runs
from nightshift.erasure.tables import (
    commit,
    forget_past,
    past_holds,
    refuse_while_at_work,
    stage_without,
    sweep_unfinished,
    tables_of,
)
from nightshift.lake import Lake, engine
from nightshift.landing.suppression import ERASED, FOLDER, suppress
from nightshift.publishing.storage import Storage
from nightshift.runs import StepError, code_version
from nightshift.runs.lock import alone, at_work

log = logging.getLogger("nightshift.erasure")

ERASURES = "erasures"
GRACE_SECONDS = 5.0  # between the pointer's move and the end of the runs it named: a reader may be opening one


@dataclass(frozen=True)
class Place:
    """What an erasure works on."""

    settings: Settings
    home: Path
    storage: Storage

    @property
    def lake(self) -> Lake:
        return Lake(self.home / "lake")

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for what is looked into, in the home: the next erasure finds what a killed one left there."""
        folder = self.home / FOLDER
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=folder) as work:
            yield Path(work)

    def sweep_scratch(self) -> None:
        for left in (self.home / FOLDER).glob(f"{SCRATCH}*"):
            shutil.rmtree(left, ignore_errors=True)


@dataclass
class Erasure:
    """What was removed, by place, and what a look at everything found afterwards."""

    request: str
    removed: Counter[str] = field(default_factory=Counter)
    run_dates: list[dt.date] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)  # tables whose older versions are gone
    proof: Proof = field(default_factory=Proof)


def look(at: Place, people: People) -> Proof:
    """Where these people are now; nothing is changed. Lines in quarantine that only parsing tells count too."""
    with at_work(at.home, "a look for people"):
        return _look(at, people.beside(ids_of_items(at.lake, people)), len(_refused(at, people)))


def erase(at: Place, people: People, now: dt.datetime, grace: float = GRACE_SECONDS) -> Erasure:
    """Remove these people everywhere, and prove it. Meanwhile no step of a night runs in this home.

    Every step can be done again: one that was killed is finished by the next call. The record is written last.

    Raises:
        StepError: a night is at work, a live run is damaged, or something cannot be read or written.
    """
    with alone(at.home, "erase"), _ended_by_the_next():
        refuse_while_at_work(at.lake)
        at.sweep_scratch()
        listed = suppress(at.home, people.ids)  # first: no night that starts later brings them back
        done = Erasure(f"erased-{listed.name_for(people.ids)}")
        people = people.beside(ids_of_items(at.lake, people))
        done.removed["lake, unfinished"] = sweep_unfinished(at.lake)
        refused = _refused(at, people)
        with at.scratch() as work:
            replaced, damaged = replace_runs(at.storage, people, done.request, now, work)
        moved_at = time.monotonic()
        done.removed["published runs"] = len(replaced)
        done.removed["published runs, damaged"] = len(damaged)
        _erase_lake(at, people, refused, done)
        done.removed.update(erase_leftovers(at.home, people))
        if replaced:
            time.sleep(max(0.0, grace - (time.monotonic() - moved_at)))
        remove_old(at.storage, replaced)
        done.removed["published, unfinished"] = remove_unnamed(at.storage)
        still = len(_refused(at, people))
        if engine.stop(at.home):
            log.info("the warm Spark server is stopped: it may have kept rows of theirs")
        done.proof = _look(at, people, still)
        done.removed += Counter()  # without zeros
        record(at.lake, done, len(people.ids), now)
    return done


@contextlib.contextmanager
def _ended_by_the_next() -> Iterator[None]:
    """Say so of whatever stops an erasure."""
    try:
        yield
    except (StepError, OSError) as error:
        raise StepError(f"{error}. The erasure is not done: when that is mended, run it again") from error


def _look(at: Place, people: People, refused: int) -> Proof:
    with at.scratch() as work:
        proof = prove(at.home, at.lake, at.storage, people, work)
    proof.add(f"lake/{QUARANTINE}, by parsing", refused)
    return proof


def _refused(at: Place, people: People) -> set[str]:
    if not at.lake.exists(QUARANTINE) or not at.lake.run_dates(QUARANTINE):
        return set()
    with engine.session(at.settings.engine, at.home) as spark:
        return refused_lines(spark, at.lake, at.settings.source, people)


def _erase_lake(at: Place, people: People, refused: set[str], done: Erasure) -> None:
    lake = at.lake
    before = {name: lake.version(name) for name in tables_of(lake)}
    landed = erase_landed(lake, at.settings, people, refused)
    done.removed.update({f"lake/{name}": rows for name, rows in landed.items()})
    for name in tables_of(lake):
        if name not in (EVENTS, QUARANTINE, COUNTS, ERASURES):
            staged, gone = stage_without(lake, name, people)
            if staged:
                commit(lake, staged)
                done.removed[f"lake/{name}"] += sum(gone.values())
                log.info("%s: %d rows are gone", name, sum(gone.values()))
    for name in tables_of(lake):
        was_rewritten = name not in (COUNTS, ERASURES) and lake.version(name) != before.get(name)
        if was_rewritten or past_holds(lake, name, people):
            forget_past(lake, name, people)
            done.forgotten.append(name)
    done.run_dates = sorted(landed_days(lake))


def landed_days(lake: Lake) -> set[dt.date]:
    """Run dates with erased rows: the source's files of these days may still hold the people."""
    if not lake.exists(QUARANTINE):
        return set()
    return set(lake.arrow(QUARANTINE, ["run_date"], [("reason", "=", ERASED)])["run_date"].to_pylist())


def record(lake: Lake, done: Erasure, people: int, now: dt.datetime) -> int:
    """Put the erasure on record: when, how much, where, and what the proof found; nothing that names anybody."""
    row = {
        "request": done.request,
        "at": now,
        "people": people,
        "removed": json.dumps(dict(sorted(done.removed.items()))),
        "proof": "clean" if done.proof.clean else "found",
        "found": json.dumps(dict(sorted(done.proof.found.items()))),
        "alike": json.dumps(dict(sorted(done.proof.alike.items()))),
        "looked_at": done.proof.looked_at,
        "code": code_version(),
    }
    kinds: dict[str, Any] = {"at": pa.timestamp("us", tz="UTC"), "people": pa.int64(), "looked_at": pa.int64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in row])
    return lake.replace(
        ERASURES, now.date(), pa.Table.from_pylist([row], schema=schema), only={"request": done.request}
    )
