"""What Granian hands to an application for a request, and what the application knows of it.

https://github.com/emmett-framework/granian/blob/master/docs/spec/RSGI.md
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from nightshift.serving.seams import Caller, Headers, Span


class Scope(Protocol):
    """What is known of a request. `path` is decoded, with U+FFFD for what is no UTF-8."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query_string(self) -> str: ...
    @property
    def client(self) -> str: ...
    @property
    def headers(self) -> Headers: ...


class Exchange(Protocol):
    """Where the answer goes, and the body comes from, in pieces."""

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...
    def __aiter__(self) -> AsyncIterator[bytes]: ...


@dataclass(slots=True)
class Asked:
    """A request under way.

    Attributes:
        started: nanoseconds of perf_counter when it came.
        span: where it is traced.
        shows: whether somebody will see the answer's body.
        caller: who asks, where keys or rates are asked for and they were let in.
    """

    exchange: Exchange
    headers: Headers
    started: int
    span: Span | None = None
    caller: Caller | None = None
    request_id: str = ""
    shows: bool = True
