"""What the service has answered, to be asked for again by tag (ETag): the least recently used answers are forgotten."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Remembered(Generic[Answer]):
    etag: str
    answer: Answer


class Memory(Generic[Answer]):
    """`most` answers by request; 0: none. For any number of threads."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._answers: OrderedDict[str, Remembered[Answer]] = OrderedDict()

    def get(self, key: str) -> Remembered[Answer] | None:
        with self._lock:
            found = self._answers.get(key)
            if found is not None:
                self._answers.move_to_end(key)
            return found

    def put(self, key: str, etag: str | None, answer: Answer) -> None:
        """Remember an answer that has a tag."""
        if not etag or not self._most:
            return
        with self._lock:
            self._answers[key] = Remembered(etag, answer)
            self._answers.move_to_end(key)
            if len(self._answers) > self._most:
                self._answers.popitem(last=False)
