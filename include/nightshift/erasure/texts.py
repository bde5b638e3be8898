"""People in texts: in JSON by its keys and whole values, in anything else by words.

What `cleaned` leaves, `counted` calls alike at most: the one removes what the other finds.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from nightshift.erasure.people import ERASED, People

USER = re.compile(r"(^|_)(user|customer)s?(_?ids?)?$", re.IGNORECASE)  # user, users, user_id, similar_user_id
ONE = re.compile(r"(^|_)(user|customer)(_?id)?$", re.IGNORECASE)  # of one of them: `users: 28` is a number of users
OF_ITEMS = frozenset({"item_id", "items", "neighbour_id", "similar_id", "title", "kind", "event_id"})


class Count(NamedTuple):
    """How often people are in something, and how often there is what may be something else."""

    found: int = 0
    alike: int = 0

    def __add__(self, other: Count) -> Count:  # type: ignore[override]
        return Count(self.found + other.found, self.alike + other.alike)


def names_users(name: str) -> bool:
    return USER.search(name) is not None


def cleaned(content: bytes, people: People) -> bytes:
    """A text without these people: JSON as a whole or line by line, and words in what is not JSON."""
    if not people.may_occur(content):
        return content
    value = _parsed(content)
    if value is not None:
        after = scrubbed(value, people)
        return content if after == value else json.dumps(after, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if b"\n" in content:
        return b"\n".join(cleaned(line, people) for line in content.split(b"\n"))
    return people.scrub(content)


def counted(content: bytes, people: People) -> Count:
    """How often they are in a text."""
    if not people.may_occur(content):
        return Count()
    value = _parsed(content)
    if value is not None:
        return counted_in(value, people)
    if b"\n" in content:
        return sum((counted(line, people) for line in content.split(b"\n")), Count())
    return Count(people.occur(content), people.alike(content))


def cleaned_text(text: str, people: People) -> str:
    return cleaned(text.encode("utf-8", "surrogatepass"), people).decode("utf-8", "surrogatepass")


def counted_text(text: str, people: People) -> Count:
    return counted(text.encode("utf-8", "surrogatepass"), people)


def scrubbed(value: Any, people: People, key: str = "") -> Any:
    """A JSON value without these people: elements and keys that are theirs go, other strings are `[erased]`.

    Args:
        key: under which it stands; what is under an item's is left as it is.
    """
    if key in OF_ITEMS and not isinstance(value, dict):
        return value
    if isinstance(value, str):
        return ERASED if _is_theirs(value, people, key) else cleaned_text(value, people)
    if isinstance(value, list):
        kept = [part for part in value if not (isinstance(part, str) and _is_theirs(part, people, key))]
        return [scrubbed(part, people, key) for part in kept]
    if isinstance(value, dict):
        kept_keys = [name for name in value if not _is_theirs(name, people, key)]
        return {cleaned_text(name, people): scrubbed(value[name], people, name) for name in kept_keys}
    return ERASED if _is_number_of_one(value, people, key) else value


def counted_in(value: Any, people: People, key: str = "") -> Count:
    """How often they are in a JSON value; a number names nobody, but under a user's key."""
    if isinstance(value, str):
        if _is_theirs(value, people, key):
            return Count(1)
        if value in people.ids:
            return Count(alike=1)
        count = counted_text(value, people)
        return Count(alike=sum(count)) if key in OF_ITEMS else count
    if isinstance(value, list):
        return sum((counted_in(part, people, key) for part in value), Count())
    if isinstance(value, dict):
        names = sum((counted_in(name, people, key) for name in value), Count())
        return sum((counted_in(part, people, name) for name, part in value.items()), names)
    return Count(int(_is_number_of_one(value, people, key)))


def _is_theirs(text: str, people: People, key: str) -> bool:
    """Whether a whole string is one of them."""
    return text in people.ids and key not in OF_ITEMS and (names_users(key) or text not in people.doubtful)


def _is_number_of_one(value: Any, people: People, key: str) -> bool:
    return type(value) in (int, float) and ONE.search(key) is not None and f"{value:.15g}" in people.ids


def _parsed(content: bytes) -> Any:
    """The list or object that a text is, else None."""
    if content.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
