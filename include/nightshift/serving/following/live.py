"""The run that a channel serves, ready to answer from: its records, and what its answers begin with.

A request takes one of these and answers from it alone, so no answer mixes two runs. Runs are immutable and counted by
reference: one that was swapped out is unmapped when the last request that uses it lets go of it.
"""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import orjson

from nightshift.publishing import records
from nightshift.publishing.manifest import Manifest
from nightshift.publishing.read import OpenRun
from nightshift.serving.answers import ENCODING, JSON, Tagged, tag_of
from nightshift.serving.following.shards import Fetcher, NotHereError
from nightshift.serving.seams import Assignment

T = TypeVar("T")

MOST_STAMPS = 4096
MOST_ITEMS = 16_384  # whose attributes are remembered, at about 0.8 KB each, or 5.5 KB at the most
LONGEST = 256  # bytes of attributes that are
OVERRIDE = "x-nightshift-override"  # the header by which a tester asks for a variant
CONTROL = "control"  # the variant of who is in no experiment

OWN, SEGMENT, POPULAR = range(3)  # levels: whose list it is
LEVELS = ("own", "segment", "popular")


def degraded(level: str, reason: str) -> bytes:
    """The JSON members between whom a list is for and its entries."""
    return b',"degraded":' + orjson.dumps({"level": level, "reason": reason}) + b',"items":'


WELL = b',"degraded":null,"items":'


class Stamp:
    """What an answer says of the run it comes from, and the headers that go with it."""

    __slots__ = ("head", "headers", "of_user")

    def __init__(self, manifest: Manifest, variant: str, experiments: Mapping[str, str] | None, cache: str, also: str):
        says = {
            "surface": manifest.surface,
            "run_date": manifest.run_date,
            "run_id": manifest.run_id,
            "model": manifest.model.model_dump(),
            "variant": variant,
            **({"experiments": dict(experiments)} if experiments is not None else {}),
        }
        self.head = orjson.dumps(says)[:-1]
        self.of_user = self.head + b',"user_id":'
        tag = f"{manifest.content_hash[:12]}-{variant}-{tag_of(self.head, also.encode())}"
        vary = f"{ENCODING}, {OVERRIDE}" if experiments is not None else ENCODING
        self.headers = Tagged(JSON, cache, tag.encode("ascii", "replace").decode().replace('"', "_"), vary=vary)


ByName = dict[str, tuple[str, ...]]
Sized = tuple[ByName, int]  # and the bytes of its record


class Attributes:
    """The attributes of items: those asked for last are kept as values by name, `MOST_ITEMS` at most."""

    def __init__(self, read: Callable[[bytes, Callable[[bytes], Sized]], Sized | None]) -> None:
        self._read = read
        self._known: dict[str, ByName] = {}

    def of(self, item_id: str) -> ByName:
        """Raises `NotHereError`."""
        if (known := self._known.get(item_id)) is not None:
            return known
        found, size = self._read(records.attributes_key(item_id), _attributes) or ({}, 0)
        if size <= LONGEST:
            if len(self._known) >= MOST_ITEMS:
                self._known.clear()
            self._known[item_id] = found
        return found


class LiveRun:
    """An open run, since when and why it is served.

    Attributes:
        stale: why this may not be the run that readers should get now; None while all is well.
        form: see `Follows`.
        key: the run's name, for what is noted of its answers.
        first: of a user and k, the first k entries of the user's list, as a JSON array; None where the run has no
            list. Raises `NotHereError`.
        segments, attributes: names of what there are lists for, and of what items can be filtered by; None: nothing.
    """

    def __init__(
        self,
        run: OpenRun,
        since: dt.datetime,
        fetcher: Fetcher,
        *,
        stale: str | None = None,
        max_age: int = 60,
        form: str = "",
    ) -> None:
        self.run, self.since, self.fetcher, self.max_age, self.form = run, since, fetcher, max_age, form
        self.key = str(run.manifest.run)
        self.popular = run.popular()
        self._attributes = Attributes(partial(_of_item, fetcher))
        self.first = records.first_of_user(fetcher.users.reads, run.manifest.counts["longest"])
        self.segments = self._names(records.SEGMENTS)
        self.attributes = self._names(records.ATTRIBUTES)
        self._set(stale)

    def now(self, stale: str | None) -> LiveRun:
        """The same run, stale or well."""
        other = copy.copy(self)
        other._set(stale)
        return other

    def _set(self, stale: str | None) -> None:
        self.stale = stale
        self._cache = "private, no-cache" if stale else f"private, max-age={self.max_age}"
        self._also = f"{self.form} {stale or ''}"
        self._stamps: dict[object, Stamp] = {}
        self.stamp = Stamp(self.run.manifest, CONTROL, None, self._cache, self._also)
        self.well = degraded("stale", stale) if stale else WELL
        self.unknown = self.degraded(POPULAR, "does not know this user; these items are popular")

    def stamp_of(self, assignment: Assignment, as_control: bool = False) -> Stamp:
        """The stamp for users who are assigned so; `as_control`: who are answered as if they were not."""
        key = (assignment, True) if as_control else assignment
        if (stamp := self._stamps.get(key)) is not None:
            return stamp
        variant = CONTROL if as_control else assignment.variant
        stamp = Stamp(self.run.manifest, variant, assignment.variants, self._cache, self._also)
        if len(self._stamps) < MOST_STAMPS and not assignment.overridden:  # those are made for one request
            self._stamps[key] = stamp
        return stamp

    def degraded(self, level: int, what: str) -> bytes:
        """The members that say that this is not the user's own list; `what` goes on after "the run of ..."."""
        also = f"; {self.stale}" if self.stale else ""
        return degraded(LEVELS[level], f"the run of {self.run.manifest.run_date} {what}{also}")

    def user(self, user_id: str, as_it_is: bool = True) -> bytes | None:
        """The user's list; None where the run has none. Raises `NotHereError`.

        Args:
            as_it_is: whether nobody will parse it.
        """
        return self._of_user(user_id, records.user_key(user_id), bytes if as_it_is else _list)

    def history(self, user_id: str) -> bytes | None:
        """What the user bought; None where the run tells of nothing. Raises `NotHereError`."""
        return self._of_user(user_id, records.history_key(user_id), _json)

    def similar(self, item_id: str) -> bytes | None:
        """Raises `NotHereError`."""
        return self._item(records.similar_key(item_id), _list)

    def title(self, item_id: str) -> bytes | None:
        """The item's title as JSON; None where the run does not know the item. Raises `NotHereError`."""
        return self._item(records.title_key(item_id), _json)

    def segment(self, attribute: str, value: str) -> bytes | None:
        """Raises `NotHereError`."""
        return self._item(records.segment_key(attribute, value), _list)

    def fits(self, item_id: str, wanted: tuple[tuple[str, frozenset[str]], ...]) -> bool:
        """Whether the item has one of the values that are wanted of every attribute, as far as they can be read."""
        try:
            has = self._attributes.of(item_id)
        except NotHereError:
            return False
        return all(not values.isdisjoint(has.get(name, ())) for name, values in wanted)

    def _of_user(self, user_id: str, key: bytes, parse: Callable[[bytes], T]) -> T | None:
        users = self.fetcher.users
        return self.fetcher.read(users, records.shard_of(records.user_key(user_id), len(users.reads)), key, parse)

    def _item(self, key: bytes, parse: Callable[[bytes], T]) -> T | None:
        return _of_item(self.fetcher, key, parse)

    def _names(self, key: bytes) -> tuple[str, ...] | None:
        return self._item(key, lambda found: tuple(orjson.loads(found)))


def _of_item(fetcher: Fetcher, key: bytes, parse: Callable[[bytes], T]) -> T | None:
    """What is under a key, in the shard that has it."""
    return fetcher.read(fetcher.items, records.shard_of(key, len(fetcher.items.reads)), key, parse)


def _attributes(record: bytes) -> Sized:
    """An item's attributes; raises for what is no record of them."""
    named = orjson.loads(record).items()
    return {name: (has,) if isinstance(has, str) else tuple(has) for name, has in named}, len(record)


def _json(value: bytes) -> bytes:
    """The same, if it is JSON; else it raises."""
    orjson.loads(value)
    return value


def _list(value: bytes) -> bytes:
    """The same, if it is a list of entries; else it raises."""
    for entry in records.entries_of(value):
        orjson.loads(entry)["item_id"]
    return value
