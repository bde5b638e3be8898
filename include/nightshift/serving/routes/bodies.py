"""The bodies of requests, while they come and until they are answered: bounded in time, and in bytes all together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager

from nightshift.serving.problems import Problem
from nightshift.serving.seams import Headers

SECONDS = 10.0  # within which a body must have come
AT_ONCE = 8  # bodies of the largest size that may be here


class Bodies:
    """Receives them, for one event loop.

    What counts is what has come, not what was announced: who announces much and sends nothing keeps nobody out.

    Args:
        most: bytes of one.
    """

    def __init__(self, most: int) -> None:
        self._most, self._left = most, AT_ONCE * most

    @asynccontextmanager
    async def read(self, body: AsyncIterable[bytes], headers: Headers) -> AsyncIterator[bytearray]:
        """The body, which takes its room until the block ends.

        Raises:
            Problem: it is too large, does not come in time, or there is no room for it now.
        """
        said = headers.get("content-length") or ""
        if said.isascii() and said.isdigit() and int(said[:20]) > self._most:
            raise self._too_large()
        found = bytearray()
        try:
            await self._receive(body, found)
            yield found
        finally:
            self._left += len(found)

    async def _receive(self, body: AsyncIterable[bytes], found: bytearray) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                async for chunk in body:
                    if len(found) + len(chunk) > self._most:
                        raise self._too_large()
                    if len(chunk) > self._left:
                        raise Problem(503, "There are too many bodies here now: ask again.", (("retry-after", "1"),))
                    self._left -= len(chunk)
                    found += chunk
        except TimeoutError:
            raise Problem(408, f"The body has not come within {SECONDS:g} s.") from None

    def _too_large(self) -> Problem:
        return Problem(413, f"The body has more than {self._most} bytes.")
