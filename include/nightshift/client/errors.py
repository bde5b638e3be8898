"""What can go wrong with an answer, for callers without a fallback."""

from __future__ import annotations


class ClientError(Exception):
    """There is no answer from the service."""


class UnavailableError(ClientError):
    """The service could not answer in time: not reached, cut off, too slow, overloaded, or without a run.

    Attributes:
        retry_after: seconds after which it asked to be asked again; None: it said nothing of that.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RefusedError(ClientError):
    """The service would not answer this request (4xx), and will not if it is asked again.

    Attributes:
        status: of HTTP.
        detail: what was wrong, with which value, and what to do.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status, self.detail = status, detail
