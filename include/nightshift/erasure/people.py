"""Whom to erase, and how to know them again: as a whole value, as a word in a text, as bytes in a file.

A word is a person's only where it can hardly be anything else. An id that is a number of a few digits (a year, a count,
a version), or an item's too, is *doubtful*: it is taken where its place says that it is a user's, as in
`"user_id": "28"` and `customer 28`, and is `alike` anywhere else. A number of more digits is taken as a word, but not
as a part of a date, a time, a path or another number.
"""

from __future__ import annotations

import dataclasses
import functools
import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

ERASED = "[erased]"  # what stands for a person in a text
TELLING = 5  # digits from which on a number is taken for an id

WORD = rb"[A-Za-z0-9_]"
MARKS = rb"[\"'\\]"
# of one, `customer 28` or `user_id": "28`; of many, `users/28` or `users": ["28`, but no number of users
ONE = rb"(?:user|customer)(?:[_ -]?id)?" + MARKS + rb"*[\s:=/#-]{1,3}" + MARKS + rb"*"
MANY = rb"(?:user|customer)(?:s|[_ -]?ids)(?:/|" + MARKS + rb"*\s?[:=]?\s?\[?" + MARKS + rb"+)"
WHO = rb"(?P<who>(?<![A-Za-z0-9])(?:(?i:" + ONE + rb"|" + MANY + rb")|[uh]:))"  # u:28 and h:28 are records' keys


@dataclass(frozen=True)
class People:
    """User ids, as the lake has them; `items` are those of them that are items' too."""

    ids: frozenset[str]
    items: frozenset[str] = frozenset()

    @classmethod
    def of(cls, ids: Iterable[str]) -> People:
        """Raises `ValueError` where there is none, or one is empty."""
        found = frozenset(ids)
        if not found or not all(name.strip() for name in found):
            raise ValueError("name whom to erase: --user ID, and no empty id")
        return cls(found)

    def beside(self, items: Iterable[str]) -> People:
        """The same people, where items have these ids."""
        return dataclasses.replace(self, items=self.ids & set(items))

    @functools.cached_property
    def doubtful(self) -> frozenset[str]:
        """The ids that may as well be something else."""
        return self.items | {name for name in self.ids if is_figure(name) and sum(map(str.isdigit, name)) < TELLING}

    @functools.cached_property
    def figures(self) -> frozenset[str]:
        return frozenset(filter(is_figure, self.ids))

    def occur(self, content: bytes) -> int:
        """How often any of them stands in there, in any of the spellings that files have."""
        return sum(1 for _ in self._theirs.finditer(content))

    def occur_in(self, text: str) -> int:
        return self.occur(text.encode("utf-8", "surrogatepass"))

    def alike(self, content: bytes) -> int:
        """How often one of the ids stands there as a word and may be something else."""
        return max(0, sum(1 for _ in self._words.finditer(content)) - self.occur(content))

    def may_occur(self, content: bytes) -> bool:
        """Whether it is worth a closer look."""
        return self._words.search(content) is not None

    def scrub(self, content: bytes) -> bytes:
        """The content with `[erased]` in their place."""
        return self._theirs.sub(lambda found: (found["who"] or b"") + ERASED.encode(), content)

    def scrub_text(self, text: str) -> str:
        return self.scrub(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    @functools.cached_property
    def _words(self) -> re.Pattern[bytes]:
        """Any of the ids with no letter or digit beside it."""
        return re.compile(rb"(?<!" + WORD + rb")(?:" + _either(self.ids) + rb")(?!" + WORD + rb")")

    @functools.cached_property
    def _theirs(self) -> re.Pattern[bytes]:
        """Where one of them is meant; `12345.0` is the number 12345."""
        end, telling = rb"(?!" + WORD + rb")", self.ids - self.doubtful
        ways = [WHO + rb"(?:" + _either(self.ids) + rb")(?:\.0+)?" + end + rb"(?![-:.]" + WORD + rb")"]
        if numbers := telling & self.figures:
            apart = rb"(?<!" + WORD + rb")(?<!" + WORD + rb"[-/:.])"
            ways.append(apart + rb"(?:" + _either(numbers) + rb")(?:\.0+)?" + end + rb"(?![-/:.]" + WORD + rb")")
        if names := telling - self.figures:
            apart = rb"(?<!" + WORD + rb")(?<!" + WORD + rb"/)"
            ways.append(apart + rb"(?:" + _either(names) + rb")" + end + rb"(?!/" + WORD + rb")")
        return re.compile(rb"|".join(ways))


def is_figure(name: str) -> bool:
    """Whether an id has no letter, as a number has none."""
    return not any(map(str.isalpha, name))


def _either(names: Iterable[str]) -> bytes:
    """A pattern of these names, the longer first, in each spelling."""
    spelled = sorted({text for name in names for text in _spellings(name)}, key=lambda text: (-len(text), text))
    return b"|".join(re.escape(text.encode()) for text in spelled)


def _spellings(name: str) -> set[str]:
    """As it is, in JSON, in HTML, in an address."""
    return {name, json.dumps(name)[1:-1], json.dumps(name, ensure_ascii=False)[1:-1], html.escape(name), quote(name)}
