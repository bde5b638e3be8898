"""What a request asks for: how many items, of which surface, and which not. Whatever is wrong is a `Problem`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from nightshift.serving.problems import URL_CHARACTERS, Problem, too_long

ID_BYTES = 1024
MOST_VALUES = 200  # items to exclude, or values to filter by
SHORT = 128  # characters of a query string that is remembered: long ones would take hundreds of MB
UNREADABLE = "\ufffd"  # what the server puts in the place of bytes that are no text

Wanted = tuple[tuple[str, frozenset[str]], ...]  # an attribute, and the values that will do


@dataclass(frozen=True)
class Limits:
    """The longest lists that can be asked for, and the most users in one batch."""

    recommendations: int
    similar: int
    batch: int

    @property
    def body(self) -> int:
        """Bytes of a batch request: every character of an id may be written as six (backslash u)."""
        return 4096 + (self.batch + 2 * MOST_VALUES) * (6 * ID_BYTES + 8)


@dataclass(frozen=True, slots=True)
class Query:
    """What was asked.

    Attributes:
        run: another run than the live one, as `<run date>/<run id>`.
        as_published: nothing is excluded or filtered, so lists are cut and no more.
    """

    k: int
    surface: str
    exclude: frozenset[str] = frozenset()
    wanted: Wanted = ()
    segment: tuple[str, str] | None = None
    run: str | None = None
    as_published: bool = True


OF_ITEMS = ("k", "surface", "exclude", "filter")
OF_USERS = (*OF_ITEMS, "segment")
OF_RUNS = (*OF_USERS, "run")


class Queries:
    """Reads the query strings of one route; the same string is read once, if it is no longer than `SHORT`.

    Args:
        parameters: their names.
        surfaces: those that there are, the default first.
        most: the largest k, and the default.
    """

    def __init__(self, parameters: Sequence[str], surfaces: Sequence[str], most: int = 1) -> None:
        self.parameters, self._surfaces, self._most = parameters, surfaces, most
        self._known: Callable[[str], Query] = functools.lru_cache(maxsize=4096)(self._parse)

    def parse(self, text: str) -> Query:
        """What a query string asks. Raises `Problem`."""
        return self._known(text) if len(text) <= SHORT else self._parse(text)

    def _parse(self, text: str) -> Query:
        given = self._given(text)
        exclude = frozenset(checked_id(item, "exclude") for item in given.get("exclude", []))
        filters: dict[str, set[str]] = {}
        for pair in given.get("filter", []):
            attribute, value = _pair("filter", pair)
            filters.setdefault(attribute, set()).add(value)
        wanted = tuple((attribute, frozenset(values)) for attribute, values in filters.items())
        segment = _single("segment", given)
        return Query(
            k=self._k(_single("k", given)),
            surface=self.surface(_single("surface", given)),
            exclude=exclude,
            wanted=wanted,
            segment=_pair("segment", segment) if segment is not None else None,
            run=_single("run", given),
            as_published=not exclude and not wanted,
        )

    def _given(self, text: str) -> dict[str, list[str]]:
        if len(text) > URL_CHARACTERS:
            raise too_long(text)
        try:
            pairs = parse_qsl(text, keep_blank_values=True, errors="strict")
        except UnicodeDecodeError:
            raise Problem(400, "The query is not UTF-8 text, percent-encoded.") from None
        given: dict[str, list[str]] = {}
        for name, value in pairs:
            if name not in self.parameters:
                raise Problem(400, f"There is no parameter {name[:40]!r}; there are {', '.join(self.parameters)}.")
            given.setdefault(name, []).append(value)
        return given

    def _k(self, text: str | None) -> int:
        if text is None:
            return self._most
        if text.isascii() and text.isdigit() and len(text) <= 6:
            return self.k(int(text))
        raise self._no_k(text)

    def k(self, value: Any) -> int:
        """A number of items, as JSON has it: 5.0 is a whole number too."""
        if type(value) not in (int, float) or not 1 <= value <= self._most or value != int(value):
            raise self._no_k(value)
        return int(value)

    def _no_k(self, value: object) -> Problem:
        return Problem(400, f"k must be a whole number from 1 to {self._most}, not {str(value)[:40]!r}.")

    def surface(self, name: object) -> str:
        """A surface that there is; None: the default."""
        if name is None:
            return self._surfaces[0]
        if name not in self._surfaces:
            raise Problem(400, f"There is no surface {str(name)[:64]!r}; there are {', '.join(self._surfaces)}.")
        return str(name)


def checked_id(value: object, name: str) -> str:
    """An id of 1 to `ID_BYTES` bytes."""
    if not isinstance(value, str) or not value:
        raise Problem(400, f"{name} must be a text of 1 to {ID_BYTES} bytes.")
    if len(value) * 4 > ID_BYTES and (size := len(value.encode(errors="replace"))) > ID_BYTES:
        if len(value) > URL_CHARACTERS:
            raise too_long(value)
        raise Problem(400, f"{name} has {size} bytes; at most {ID_BYTES} are allowed.")
    return value


def id_in_path(value: str, name: str) -> str:
    """As `checked_id`, of an id that the server has decoded."""
    if UNREADABLE in value:
        raise Problem(400, f"{name} is not UTF-8 text, percent-encoded, or has U+FFFD, which only a batch can ask for.")
    return checked_id(value, name)


def _single(name: str, given: Mapping[str, list[str]]) -> str | None:
    values = given.get(name, [])
    if len(values) > 1:
        raise Problem(400, f"{name} is given {len(values)} times; give it once.")
    return values[0] if values else None


def _pair(name: str, text: str) -> tuple[str, str]:
    attribute, _, value = text.partition(":")
    if not attribute or not value:
        raise Problem(400, f"{name} must be like attribute:value, not {text[:40]!r}.")
    return attribute, value
