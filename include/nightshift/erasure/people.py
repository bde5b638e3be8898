"""Whom to erase, and how to know them again: as a whole value, as a word in a text, as bytes in a file."""

from __future__ import annotations

import functools
import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

ERASED = "[erased]"  # what stands for a person in a text


@dataclass(frozen=True)
class People:
    """User ids, as the lake has them."""

    ids: frozenset[str]

    @classmethod
    def of(cls, ids: Iterable[str]) -> People:
        """Raises `ValueError` where there is none, or one is empty."""
        found = frozenset(ids)
        if not found or not all(name.strip() for name in found):
            raise ValueError("name whom to erase: --user ID, and no empty id")
        return cls(found)

    def without(self, names: Iterable[str]) -> People:
        """Those who are not called like one of `names`; there may be none left."""
        return People(self.ids - set(names))

    def occur(self, content: bytes) -> int:
        """How often any of them stands in there, as a word of its own, in any of the spellings that files have."""
        return sum(1 for _ in self._bytes.finditer(content)) if self.ids else 0

    def occur_in(self, text: str) -> int:
        return self.occur(text.encode("utf-8", "surrogatepass"))

    def scrub(self, content: bytes) -> bytes:
        """The content with `[erased]` in their place."""
        return self._bytes.sub(ERASED.encode(), content) if self.ids else content

    def scrub_text(self, text: str) -> str:
        return self.scrub(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    @functools.cached_property
    def _bytes(self) -> re.Pattern[bytes]:
        """A word: no letter or digit beside it. `0.12345` and `12345.6` are other numbers, `12345.0` is the same."""
        spelled = sorted({text for name in self.ids for text in _spellings(name)}, key=lambda t: (-len(t), t))
        either = b"|".join(re.escape(text.encode()) for text in spelled)
        return re.compile(rb"(?<![A-Za-z0-9_])(?<![0-9]\.)(?:" + either + rb")(?![A-Za-z0-9_])(?!\.[0-9]*[1-9])")


def _spellings(name: str) -> set[str]:
    """As it is, in JSON, in HTML, in an address."""
    return {name, json.dumps(name)[1:-1], json.dumps(name, ensure_ascii=False)[1:-1], html.escape(name), quote(name)}
