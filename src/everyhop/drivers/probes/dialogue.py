"""A conversation on one connection, read in lines and pieces and never further than was bargained for.

Rules: every read has a bound (a line of 16 KiB, a reply of 200 lines); the connection below bounds the bytes in all,
and :class:`Timed` the time. What a server sent is kept for evidence up to 512 bytes and shown in printable characters
only. A server that breaks its own protocol ends the conversation as ``garbled: ...``: an end like a reset, because to a
probe it is one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from everyhop.drivers.probes.wire import Ended

LONGEST_LINE = 16 << 10
MOST_LINES = 200
_KEPT = 512
_SHOWN = 120


class Channel(Protocol):
    """What bytes go through: a connection in the clear (:class:`.wire.Wire`) or one that TLS protects."""

    async def send(self, data: bytes) -> None:
        """Send all of it; does nothing if the other side is gone."""
        ...

    async def receive(self) -> bytes:
        """At least one byte; raises :class:`.wire.Ended`."""
        ...


class Timed:
    """A channel that gives up at a moment of the event loop's clock: then it ends as ``timeout``."""

    def __init__(self, channel: Channel, until: float) -> None:
        self._channel = channel
        self._until = until

    async def send(self, data: bytes) -> None:
        """Send all of it. Raises :class:`Ended` when the time is over."""
        try:
            async with asyncio.timeout_at(self._until):
                await self._channel.send(data)
        except TimeoutError:
            raise Ended("timeout") from None

    async def receive(self) -> bytes:
        """At least one byte. Raises :class:`Ended`, also when the time is over."""
        try:
            async with asyncio.timeout_at(self._until):
                return await self._channel.receive()
        except TimeoutError:
            raise Ended("timeout") from None


class Garbled(Ended):
    """The other side broke its protocol: ``garbled: expected ..., got ...``."""

    def __init__(self, expected: str, got: bytes = b"") -> None:
        super().__init__(f"garbled: expected {expected}" + (f", got {shown(got)}" if got else ""))


def shown(data: bytes, limit: int = _SHOWN) -> str:
    """A server's words as one short line that is safe to print: everything else than ASCII becomes a dot."""
    text = data.strip(b"\r\n\0 ").replace(b"\r\n", b" / ")
    line = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in text[: limit + 1])
    return f"{line[: limit - 3]}..." if len(line) > limit else line


class Dialogue:
    """Says things over a channel and hears the answers."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        """What it goes through: to go on there once the dialogue is over."""
        self._pending = bytearray()
        self._heard = bytearray()

    @property
    def heard(self) -> bytes:
        """The first 512 bytes that came, whatever was made of them."""
        return bytes(self._heard)

    async def say(self, data: bytes) -> None:
        """Send these bytes."""
        await self.channel.send(data)

    async def some(self, most: int | None = None) -> bytes:
        """Whatever comes next, at least one byte, and not more than ``most``. Raises :class:`Ended`."""
        if not self._pending:
            await self._more()
        data = bytes(self._pending[:most])
        del self._pending[: len(data)]
        return data

    async def exactly(self, size: int) -> bytes:
        """The next ``size`` bytes. Raises :class:`Ended`."""
        while len(self._pending) < size:
            await self._more()
        data = bytes(self._pending[:size])
        del self._pending[:size]
        return data

    async def line(self) -> bytes:
        """The next line without its end. Raises :class:`Ended`, :class:`Garbled` if it is longer than 16 KiB."""
        while (end := self._pending.find(b"\n", 0, LONGEST_LINE)) < 0:
            if len(self._pending) >= LONGEST_LINE:
                raise Garbled(f"a line of at most {LONGEST_LINE} bytes")
            await self._more()
        line = bytes(self._pending[:end])
        del self._pending[: end + 1]
        return line.removesuffix(b"\r")

    def settle(self) -> None:
        """Make sure that nothing came behind the answer to an upgrade. Bytes sent in the clear that would be read as
        if TLS had protected them are how STARTTLS is attacked (CVE-2011-0411, CVE-2021-23222): raises
        :class:`Garbled`."""
        if self._pending:
            raise Garbled("nothing behind the go-ahead for TLS", bytes(self._pending))

    async def _more(self) -> None:
        data = await self.channel.receive()
        self._pending += data
        self._heard += data[: _KEPT - len(self._heard)]


@dataclass(frozen=True, slots=True)
class Reply:
    """A numbered reply as SMTP and FTP give it (RFC 5321, 4.2; RFC 959, 4.2)."""

    code: int
    lines: tuple[bytes, ...]
    """Without the code on the first and last."""

    @property
    def text(self) -> bytes:
        """The code and the first line: what to show as evidence."""
        return b"%d %s" % (self.code, self.lines[0])


async def numbered(dialogue: Dialogue) -> Reply:
    """Read one numbered reply of one or more lines. Raises :class:`Garbled` if it is none."""
    first = await dialogue.line()
    if not (first[:3].isdigit() and len(first[:3]) == 3 and first[3:4] in (b"", b" ", b"-")):
        raise Garbled("a three-digit reply", first or b"an empty line")
    lines, last = [first[4:]], first
    while last[:4] == first[:3] + b"-" or (first[3:4] == b"-" and last[:4] not in (first[:3] + b" ", first[:3])):
        if len(lines) >= MOST_LINES:
            raise Garbled(f"a reply of at most {MOST_LINES} lines")
        last = await dialogue.line()
        lines.append(last[4:] if last[:3] == first[:3] else last.strip())
    return Reply(int(first[:3]), tuple(lines))
