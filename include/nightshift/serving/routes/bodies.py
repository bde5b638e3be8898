"""The bodies of requests while they come: bounded in time, each in bytes, and all of a process together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable

from nightshift.serving.problems import Problem
from nightshift.serving.seams import Headers

SECONDS = 10.0  # within which a body must have come
AT_ONCE = 8  # bodies of the largest size that may be under way


class Bodies:
    """Receives them, for one event loop.

    What counts is what has come, not what was announced: who announces much and sends nothing keeps nobody out.

    Args:
        most: bytes of one.
    """

    def __init__(self, most: int) -> None:
        self._most, self._left = most, AT_ONCE * most

    async def read(self, body: AsyncIterable[bytes], headers: Headers) -> bytes:
        """The body. Raises a `Problem` where it is too large, does not come in time, or there is no room for it now."""
        said = headers.get("content-length") or ""
        if said.isascii() and said.isdigit() and int(said[:20]) > self._most:
            raise self._too_large()
        found = bytearray()
        try:
            async with asyncio.timeout(SECONDS):
                async for chunk in body:
                    if len(found) + len(chunk) > self._most:
                        raise self._too_large()
                    if len(chunk) > self._left:
                        raise Problem(503, "Too many bodies are on their way here: ask again.", (("retry-after", "1"),))
                    self._left -= len(chunk)
                    found += chunk
        except TimeoutError:
            raise Problem(408, f"The body has not come within {SECONDS:g} s.") from None
        finally:
            self._left += len(found)
        return bytes(found)

    def _too_large(self) -> Problem:
        return Problem(413, f"The body has more than {self._most} bytes.")
