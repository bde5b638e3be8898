"""Token buckets: so many requests at once, refilled at a rate. State is one number each.

A bucket is kept as the time at which it will be full again, which says the same as its number of tokens: the generic
cell rate algorithm as virtual scheduling (ITU-T I.371, annex A). Times are seconds of a clock that never goes back.
"""

from __future__ import annotations

import functools
import ipaddress
import math

EARLY = 1 / 64  # of a token, that one may come early: sums of floats are not exact

MOST_CHARACTERS = 64  # of an address


def part(burst: int, processes: int) -> int:
    """Of the requests that may come at once, those of one of the processes that share a port; 1 at least."""
    return math.ceil(burst / processes)


class Bucket:
    """One caller's bucket: `burst` tokens, `rate` of them a second."""

    __slots__ = ("_full_at", "_interval", "_slack")

    def __init__(self, rate: float, burst: int) -> None:
        self._interval = 1 / rate
        self._slack = (burst - 1 + EARLY) * self._interval
        self._full_at = 0.0

    def take(self, now: float) -> float:
        """Take a token and return 0; or take none, and return the seconds until there is one."""
        full_at = self._full_at
        if full_at < now:
            full_at = now
        wait = full_at - now - self._slack
        if wait > 0:
            return wait
        self._full_at = full_at + self._interval
        return 0.0


class AddressBuckets:
    """A bucket for each client address, of which the last `most` to come are remembered, and twice as many at times.

    A bucket that is forgotten is full again. Addresses come in two generations: where the younger is full the older is
    forgotten, so an address is forgotten only after `most` others have come since its last request.
    """

    def __init__(self, rate: float, burst: int, most: int) -> None:
        self._interval = 1 / rate
        self._slack = (burst - 1 + EARLY) * self._interval
        self._most = most
        self._young: dict[str, float] = {}
        self._old: dict[str, float] = {}

    def take(self, address: str, now: float) -> float:
        """As `Bucket.take`."""
        young = self._young
        full_at = young.get(address)
        if full_at is None:
            full_at = self._old.get(address, now)
            if len(young) >= self._most:
                self._old, self._young = young, {}
                young = self._young
        if full_at < now:
            full_at = now
        wait = full_at - now - self._slack
        if wait > 0:
            young[address] = full_at
            return wait
        young[address] = full_at + self._interval
        return 0.0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)


def network(host: str) -> str:
    """What is limited together: an IPv4 address, or the /64 that a holder of an IPv6 address has all of.

    What is no address (a forged header) is taken as it is, 64 characters of it at most.
    """
    return _network(host.strip()[:MOST_CHARACTERS])


@functools.lru_cache(maxsize=4096)
def _network(host: str) -> str:
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:  # some proxies write the port too
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)
