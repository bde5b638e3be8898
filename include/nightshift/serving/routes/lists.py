"""Whose list a user gets: their own, else their segment's, else the popular one; without what is to be left out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import orjson

from nightshift.publishing.records import NOTHING, array_of, entries_of, first
from nightshift.serving.following.live import OWN, POPULAR, SEGMENT, LiveRun
from nightshift.serving.following.shards import NotHereError
from nightshift.serving.problems import Problem
from nightshift.serving.routes.query import Query


class Found(NamedTuple):
    """A user's list.

    Attributes:
        degraded: the JSON members that say why it is not the user's own, up to the entries.
        entries: a JSON array.
        level: OWN, SEGMENT or POPULAR.
        refilled: whether entries of other lists had to make it up.
        awaited: whether the list may be a better one later, when all shards are here and can be read.
    """

    degraded: bytes
    entries: bytes
    level: int
    refilled: bool = False
    awaited: bool = False


def find(live: LiveRun, user_id: str, query: Query) -> Found:
    """The user's list, as far as the run has one.

    Raises:
        Problem: there is nothing to filter by.
    """
    why: str | None = None
    try:
        own = live.user(user_id, query.as_published)
    except NotHereError as absent:
        own, why = None, absent.why
    if own is not None and query.as_published:
        return Found(live.well, first(own, query.k), OWN)
    if own is not None:
        level, said, value = OWN, live.well, own
    else:
        level, said, value = _instead(live, query, why)
    if query.as_published:
        return Found(said, first(value, query.k), level, awaited=why is not None or live.fetcher.is_damaged)
    must_have(live, query)
    taken = list(selected(live, query, _lists(live, query, level, value)))
    entries = array_of(entry for entry, _ in taken)
    awaited = why is not None or live.fetcher.is_damaged
    return Found(said, entries, level, any(number for _, number in taken), awaited)


def shown(found: Found, query: Query) -> int | bytes:
    """What is noted of the list: how many of what the run has, where that was shown; else the items, as JSON."""
    if query.as_published and found.level != SEGMENT and not found.awaited:
        return query.k
    return found.entries


def selected(live: LiveRun, query: Query, lists: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """The first k entries of these lists, one after the other, that are not to be left out, each once.

    Yields:
        an entry, and the number of its list, from 0.
    """
    return islice(_selected(live, query, lists), query.k)


def _selected(live: LiveRun, query: Query, lists: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    seen = set(query.exclude)
    for number, value in enumerate(lists):
        for entry in entries_of(value):
            item = orjson.loads(entry)["item_id"]
            if item not in seen:
                seen.add(item)
                if not query.wanted or live.fits(item, query.wanted):
                    yield entry, number


def must_have(live: LiveRun, query: Query) -> None:
    """Raise a `Problem` if the run lacks an attribute to filter by, since else what must not be shown would be."""
    for attribute, _ in query.wanted:
        if live.attributes is None:
            raise Problem(400, f"The run of {live.run.manifest.run_date} has no attributes of items to filter by.")
        if attribute not in live.attributes:
            known = ", ".join(live.attributes)
            raise Problem(400, f"Items have no attribute {attribute[:64]!r}; they have {known}.")


def _instead(live: LiveRun, query: Query, why: str | None) -> tuple[int, bytes, bytes]:
    """The level, what is said of it, and the list of who has none of their own here.

    Args:
        why: it is not here; None: there is none.
    """
    lacks = f"{why} for this user" if why else "does not know this user"
    if query.segment is None:
        if why is None:
            return POPULAR, live.unknown, live.popular
        return POPULAR, live.degraded(POPULAR, f"{lacks}; these items are popular"), live.popular
    name, also = ":".join(query.segment), "has no list"
    try:
        found = live.segment(*query.segment)
    except NotHereError as absent:
        found, also = None, absent.why
    if found:
        return SEGMENT, live.degraded(SEGMENT, f"{lacks}; these items are for {name}"), found
    what = f"{lacks}, and {also} for {name}; these items are popular"
    return POPULAR, live.degraded(POPULAR, what), live.popular


def _lists(live: LiveRun, query: Query, level: int, value: bytes) -> Iterator[bytes]:
    """The list, and then those that make it up; looked for only where they are needed."""
    yield value
    if level == OWN and query.segment:
        with contextlib.suppress(NotHereError):
            yield live.segment(*query.segment) or NOTHING
    if level != POPULAR:
        yield live.popular
