"""A request's id, by which its line in the access log, its answer and its trace are found.

A caller's own id is kept where it is random by its form (a UUID, or 16 to 32 hexadecimal digits), so that nobody's name
or number gets into a log as one.
"""

from __future__ import annotations

import itertools
import re
import secrets

from nightshift.serving.seams import Headers

RANDOM = re.compile(r"[0-9a-f]{16,32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
TRACE = re.compile(
    r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)  # https://www.w3.org/TR/trace-context/


class RequestIds:
    """Ids that no other process has: 8 random digits, then a count."""

    def __init__(self) -> None:
        self._process = secrets.token_hex(4)
        self._count = itertools.count(1)

    def of(self, headers: Headers) -> str:
        """The caller's X-Request-Id, else its trace's id, else a new one."""
        given = headers.get("x-request-id")
        if given is not None and RANDOM.fullmatch(given):
            return given
        trace = headers.get("traceparent")
        if trace is not None and (found := TRACE.fullmatch(trace)):
            return found[1]
        return f"{self._process}{next(self._count):08x}"
