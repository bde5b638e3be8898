"""What queues are known to do, in closed form: what the simulation is held to.

Kleinrock (1975), Queueing Systems, volume 1. Times are seconds, rates are by second.
"""

from __future__ import annotations

import math


def erlang_c(servers: int, load: float) -> float:
    """The probability that an arrival waits in M/M/c; `load` is arrival rate times mean service, below `servers`."""
    term, below = 1.0, 0.0
    for k in range(servers):
        below += term
        term *= load / (k + 1)
    waiting = term * servers / (servers - load)
    return waiting / (below + waiting)


def mmc_wait(rate: float, service: float, servers: int) -> float:
    """The mean time in the queue of M/M/c."""
    load = rate * service
    return erlang_c(servers, load) * service / (servers - load)


def mm1_quantile(rate: float, service: float, share: float) -> float:
    """The time in the system that a share of the requests of M/M/1 does not exceed."""
    return -math.log(1 - share) * service / (1 - rate * service)


def mg1_wait(rate: float, service: float, variation: float) -> float:
    """The mean time in the queue of M/G/1 (Pollaczek and Khinchine); `variation`: deviation by mean of the service."""
    busy = rate * service
    return busy / (1 - busy) * service * (1 + variation**2) / 2
