"""Send a request by httpcore, and have the reply, or fail, within so many seconds in all.

A timeout of a socket is of one read: a peer that sends a byte now and then would never run into it. So each read and
write gets what is left of the whole.
"""

from __future__ import annotations

import asyncio
import contextvars
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpcore

from nightshift.client.errors import UnavailableError
from nightshift.client.retries import Reply, Request

_ends_at: contextvars.ContextVar[float] = contextvars.ContextVar("ends_at")


class Origin:
    """Where the service is.

    Raises:
        ValueError: the address is not http://host:port or https://host, with a path or none.
    """

    def __init__(self, url: str) -> None:
        found = urlsplit(url)
        if found.scheme not in ("http", "https") or not found.hostname or found.query or found.fragment:
            raise ValueError(f"{url!r} is not an address like http://lookup:8090")
        self.scheme, self.host, self.port = found.scheme.encode(), found.hostname.encode("idna"), found.port
        self._path, self._authority = found.path.rstrip("/"), found.netloc.rpartition("@")[2]

    def url(self, request: Request) -> httpcore.URL:
        target = (self._path + request.target).encode("ascii")
        return httpcore.URL(scheme=self.scheme, host=self.host, port=self.port, target=target)

    def headers(self, request: Request) -> list[tuple[str, str]]:
        return [("host", self._authority), *request.headers.items()]


class Transport:
    """Connections that are kept and used again, for any number of threads."""

    def __init__(self, url: str, connections: int, tls: ssl.SSLContext | None) -> None:
        self._origin = Origin(url)
        self._pool = httpcore.ConnectionPool(
            tls, max_connections=connections, keepalive_expiry=30, network_backend=_Backend()
        )

    def send(self, request: Request, timeout: float) -> Reply:
        """Raises `UnavailableError`."""
        token = _ends_at.set(time.monotonic() + timeout)
        try:
            with _failures(self._origin):
                return _reply(self._pool.request(**_asked(self._origin, request, timeout)))
        finally:
            _ends_at.reset(token)

    def close(self) -> None:
        self._pool.close()


class AsyncTransport:
    """The same for asyncio, within one event loop."""

    def __init__(self, url: str, connections: int, tls: ssl.SSLContext | None) -> None:
        self._origin = Origin(url)
        self._pool = httpcore.AsyncConnectionPool(tls, max_connections=connections, keepalive_expiry=30)

    async def send(self, request: Request, timeout: float) -> Reply:
        """Raises `UnavailableError`."""
        with _failures(self._origin):
            async with asyncio.timeout(timeout):
                return _reply(await self._pool.request(**_asked(self._origin, request, timeout)))

    async def close(self) -> None:
        await self._pool.aclose()


def _asked(origin: Origin, request: Request, timeout: float) -> dict[str, Any]:
    return {
        "method": request.method,
        "url": origin.url(request),
        "headers": origin.headers(request),
        "content": request.content,
        "extensions": {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), timeout)},
    }


def _reply(response: httpcore.Response) -> Reply:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
    return Reply(response.status, headers, response.content)


@contextmanager
def _failures(origin: Origin) -> Iterator[None]:
    """Whatever keeps a reply from coming, as one error."""
    try:
        yield
    except (httpcore.TimeoutException, TimeoutError):
        raise UnavailableError(f"{origin.host.decode()} did not answer in time") from None
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        raise UnavailableError(f"{origin.host.decode()} cannot be reached: {error or type(error).__name__}") from None


def _left(timeout: float | None) -> float:
    """Seconds of the request's time that are left, or the timeout if that is less."""
    left = _ends_at.get() - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the request's time is over")
    return left if timeout is None else min(left, timeout)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    def __init__(self) -> None:
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(self._sockets.connect_tcp(host, port, _left(timeout), local_address, socket_options))
