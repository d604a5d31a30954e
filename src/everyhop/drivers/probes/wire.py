"""One connection, bounded in bytes; the caller bounds it in time.

Rules: a non-blocking socket is read directly, not through a stream, because a stream forgets what it holds when a
reset follows: and what it holds is the alert with the reason. Every end of a connection has a name (:class:`Ended`).
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket

from everyhop.core.hop import Address

_BLOCK = 16 << 10

_Target = str | tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


class Ended(Exception):  # noqa: N818 -- not an error: the connection's end, with its reason
    """The connection came to an end; ``reason`` is ``closed``, ``reset``, ``too much data`` or ``unreachable: ...``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Wire:
    """A connected socket that gives at most ``limit`` bytes. Close it, whatever happens."""

    def __init__(self, connected: socket.socket, limit: int) -> None:
        self._socket = connected
        self._limit = limit
        self.received = 0
        """Bytes that came so far."""

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    async def send(self, data: bytes) -> None:
        """Send all of it. If the other side is gone already this does nothing: what it said can still be read."""
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, data)
        except OSError:
            return

    async def receive(self) -> bytes:
        """At least one byte. Raises :class:`Ended` at the end of the connection or of the limit."""
        if self.received >= self._limit:
            raise Ended("too much data")
        try:
            data = await asyncio.get_running_loop().sock_recv(self._socket, min(_BLOCK, self._limit - self.received))
        except ConnectionResetError:
            raise Ended("reset") from None
        except OSError as error:
            raise Ended(f"unreachable: {_reason(error)}") from None
        if not data:
            raise Ended("closed")
        self.received += len(data)
        return data


async def connect(address: Address, *, limit: int, source: str = "") -> Wire:
    """Connect, trying every address that a name has. Raises :class:`Ended` if none answers.

    ``source`` is an IPv4 loopback address to come from, so that the other end can tell a probe; it is used for
    127.0.0.0/8 only.
    """
    if address.path:
        return Wire(await _connected(socket.AF_UNIX, address.path), limit)
    ended = Ended("unreachable: no address")
    for family, target in await _targets(address):
        try:
            return Wire(await _connected(family, target, source), limit)
        except Ended as failed:
            ended = failed
    raise ended


async def _targets(address: Address) -> list[tuple[int, _Target]]:
    """Families and socket addresses; an IP address needs no resolver, and so no thread."""
    try:
        version = ipaddress.ip_address(address.host).version
    except ValueError:
        pass
    else:
        return [(socket.AF_INET6 if version == 6 else socket.AF_INET, (address.host, address.port))]
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Ended(f"unreachable: {_reason(error)}") from None
    return [(family, target) for family, _, _, _, target in found]


async def _connected(family: int, target: _Target, source: str = "") -> socket.socket:
    try:
        fresh = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:  # too many open files: this connection's end, and nobody else's
        raise Ended(f"unreachable: {_reason(error)}") from None
    try:
        fresh.setblocking(False)
        if source and family == socket.AF_INET and str(target[0]).startswith("127."):
            fresh.bind((source, 0))
        await asyncio.get_running_loop().sock_connect(fresh, target)
    except (OSError, OverflowError, ValueError) as error:
        fresh.close()
        raise Ended(f"unreachable: {_reason(error)}") from None
    except BaseException:
        fresh.close()
        raise
    return fresh


def _reason(error: Exception) -> str:
    """The system's words, without the address that asyncio adds to them."""
    if isinstance(error, socket.gaierror):
        return str(error.strerror).lower()
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return "not an address"
