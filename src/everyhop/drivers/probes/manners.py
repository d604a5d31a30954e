"""How to ask without being a burden: few connections at once, few in a second, and a pause after a rebuff.

Rules: limits are per host and port, because that is who bears them, and one limit holds for all together. Whoever was
reset, refused at the door or left waiting waits longer each time before it knocks again; an answer forgives. Waiting
here is never counted as the server's time. Every connection is counted, so that telemetry can leave out what we did.
"""

from __future__ import annotations

import asyncio
import resource
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

_REMEMBERED = 1024
"""Endpoints of whom we remember when they were asked last, before those with nothing to remember are forgotten: at
least so many, or twice as many as were still needed the last time."""

_OVERALL = 256


def _affordable() -> int:
    """As many connections as half of the file descriptors that this process may have, at most :data:`_OVERALL`: the
    other half is for what takes no turn (resolvers, files, responders of authorities)."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _OVERALL if allowed == resource.RLIM_INFINITY else max(1, min(_OVERALL, allowed // 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is polite. None: no limit, for benchmarks and for one's own servers."""

    at_once: int | None = 4
    """Connections to one endpoint at the same time."""
    per_second: int | None = 20
    """Connections to one endpoint in any second."""
    overall: int = field(default_factory=_affordable)
    """Connections to all endpoints at the same time: file descriptors and memory."""
    pause_first_seconds: float = 0.25
    pause_max_seconds: float = 4.0
    """The pause after a rebuff doubles up to this."""


class Turn:
    """Leave to make one connection."""

    def __init__(self) -> None:
        self.rebuffed = False
        """Set this if the endpoint reset the connection, or did not answer."""


class _Endpoint:
    """What we know of one endpoint's patience. Times are those of the event loop."""

    def __init__(self, limits: Limits) -> None:
        self.places = asyncio.Semaphore(limits.at_once) if limits.at_once else None
        self.recent: deque[float] = deque(maxlen=limits.per_second or 1)
        self.visitors = 0
        self.rebuffs = 0
        self.not_before = 0.0


class Manners:
    """Gives everybody who wants to connect their turn."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._endpoints: dict[tuple[str, int], _Endpoint] = {}
        self._forget_at = _REMEMBERED
        self._overall = asyncio.Semaphore(self._limits.overall)
        self.turns = 0
        """Connections that were made so far."""

    @asynccontextmanager
    async def turn(self, host: str, port: int) -> AsyncGenerator[Turn]:
        """Wait until one more connection to this endpoint is polite; it may last as long as the block."""
        endpoint = self._endpoint(host, port)
        endpoint.visitors += 1
        try:
            if endpoint.places:
                await endpoint.places.acquire()
            try:
                await self._wait(endpoint)
                async with self._overall:
                    self.turns += 1
                    turn = Turn()
                    yield turn
                    self._learn(endpoint, turn)
            finally:
                if endpoint.places:
                    endpoint.places.release()
        finally:
            endpoint.visitors -= 1

    def _endpoint(self, host: str, port: int) -> _Endpoint:
        found = self._endpoints.get((host, port))
        if found is None:
            if len(self._endpoints) >= self._forget_at:
                self._forget()
            found = self._endpoints[host, port] = _Endpoint(self._limits)
        return found

    def _forget(self) -> None:
        """Drop every endpoint that nobody visits and of which nothing has to be remembered any more."""
        now = asyncio.get_running_loop().time()
        self._endpoints = {
            key: one
            for key, one in self._endpoints.items()
            if one.visitors or one.not_before > now or (one.recent and one.recent[-1] > now - 1)
        }
        self._forget_at = max(_REMEMBERED, 2 * len(self._endpoints))  # or a large fleet would be gone through each time

    async def _wait(self, endpoint: _Endpoint) -> None:
        """Return when the pause is over and this connection is not one too many in a second."""
        clock = asyncio.get_running_loop().time
        while True:
            now = clock()
            earliest = endpoint.not_before
            if self._limits.per_second and len(endpoint.recent) == self._limits.per_second:
                earliest = max(earliest, endpoint.recent[0] + 1)
            if now >= earliest:
                endpoint.recent.append(now)
                return
            await asyncio.sleep(earliest - now)

    def _learn(self, endpoint: _Endpoint, turn: Turn) -> None:
        if not turn.rebuffed:
            endpoint.rebuffs = 0
            return
        pause = min(self._limits.pause_first_seconds * 2**endpoint.rebuffs, self._limits.pause_max_seconds)
        endpoint.rebuffs = min(endpoint.rebuffs + 1, 16)
        endpoint.not_before = max(endpoint.not_before, asyncio.get_running_loop().time() + pause)
