"""How often a client may ask, and how many bytes may be held at once."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

N_CLIENTS = 4096
"""Addresses that are remembered; the one that asked longest ago is forgotten first."""


class RateLimit:
    """A token bucket for each client address.

    Parameters
    ----------
    per_minute : float
        Requests in the long run; 0: no limit.
    burst : int
        Requests that may come at once.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(self, per_minute: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_minute / 60
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """Seconds until this client may ask again; 0 where it may now, and then its request is counted."""
        if self._per_s == 0:
            return 0.0
        now, key = self._clock(), network_of(client)
        left, seen = self._buckets.pop(key, (float(self._burst), now))
        left = min(float(self._burst), left + (now - seen) * self._per_s)
        wait = 0.0 if left >= 1 else (1 - left) / self._per_s
        self._buckets[key] = (left if wait else left - 1, now)
        while len(self._buckets) > N_CLIENTS:
            self._buckets.popitem(last=False)
        return wait


def network_of(client: str) -> str:
    """The address that is counted: an IPv6 client owns its whole /64."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class Held:
    """Bytes of all bodies in the server; used in the event loop's thread only."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.n_bytes = 0

    def take(self, n: int) -> bool:
        """Count ``n`` more bytes; False, and nothing is counted, where that is over the limit."""
        if self.n_bytes + n > self.limit:
            return False
        self.n_bytes += n
        return True

    def give_back(self, n: int) -> None:
        """Count ``n`` bytes less."""
        self.n_bytes -= n
