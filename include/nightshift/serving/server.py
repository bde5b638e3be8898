"""The HTTP server, and the limits that it keeps before a request is anybody's."""

from __future__ import annotations

from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.common import AbstractServer

HEADER_BYTES = 65_536  # of a request's line and headers together: as much again may come in the read that passes it
HEADER_MILLISECONDS = 30_000  # within which they must have come; also how long a connection may be idle
CONNECTIONS = 16_384  # at once, of all workers together
STOP_SECONDS = 20  # that requests under way have when the service stops


def server_at(host: str, port: int, workers: int = 1) -> AbstractServer[Any]:
    """A server of so many processes on one port. One that dies is started again."""
    return Granian(
        "nightshift.serving",
        host,
        port,
        interface=Interfaces.RSGI,
        workers=workers,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_MILLISECONDS, max_buffer_size=HEADER_BYTES),
        websockets=False,
        backpressure=CONNECTIONS // workers,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
        log_level=LogLevels.warning,
    )
