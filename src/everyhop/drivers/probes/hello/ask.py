"""One question, one connection: send a ClientHello, read the answer, hang up.

Rules: whatever the server does becomes an :class:`Answer`; nothing of it is raised. A question is bounded in time (from
connecting to the last byte, whatever the server's pace) and in bytes; an interview is bounded in time too. All its
questions go to one address, so that the answers of several servers behind one name are not mixed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import Callable
from typing import Protocol

from everyhop.core.endpoint.accepted import is_wordless
from everyhop.core.endpoint.facts import Answer, Reply
from everyhop.core.endpoint.target import Target
from everyhop.core.hop import Address
from everyhop.drivers.probes.hello.answer import LIMIT, AnswerReader
from everyhop.drivers.probes.hello.encode import RANDOM_BYTES, Hello, encode
from everyhop.drivers.probes.manners import Manners
from everyhop.drivers.probes.wire import Ended, Wire, connect

PATIENCE = 180.0
"""Seconds for one interview: the longest that an honest server gives reason to, at 20 questions a second, takes ten."""

_REBUFFS = (Reply.RESET, Reply.SILENT, Reply.UNREACHABLE)


class UpgradeRefused(Exception):  # noqa: N818 -- not an error: the server's own words
    """The server does not offer TLS after its greeting, or said no; ``reason`` holds its words, short and printable."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Upgrade(Protocol):
    """What has to be said on a connection until TLS begins (STARTTLS and its like)."""

    async def __call__(self, wire: Wire, /) -> None:
        """Return when the next byte is TLS. Raises :class:`UpgradeRefused` if the server does not want to, and lets
        ``wire.Ended`` through. The caller bounds it in time, the wire in bytes."""
        ...


class Interview:
    """All questions to one endpoint in one look."""

    def __init__(
        self,
        target: Target,
        manners: Manners,
        *,
        upgrade: Upgrade | None = None,
        timeout: float = 5.0,
        patience: float = PATIENCE,
        source: str = "",
        randomness: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """``timeout`` (seconds) is for one question, ``patience`` for all of them: when it is gone, every further
        question is answered as by silence. ``source`` is the loopback address to come from (see
        :func:`.wire.connect`)."""
        self.target = target
        self.hellos = 0
        """Connections made so far."""
        self._manners = manners
        self._upgrade = upgrade
        self._timeout = timeout
        self._patience = patience
        self._until: float | None = None
        self._source = source
        self._randomness = randomness
        self._welcome: Hello | None = None
        self._wordless = False
        self._address: Address | None = None
        self._nowhere: Answer | None = None
        self._finding = asyncio.Lock()

    @property
    def reached(self) -> bool:
        """True once the endpoint has let us in."""
        return self._address is not None

    @property
    def server_name(self) -> str:
        """The name to send, in ASCII as DNS has it and without a closing dot; empty: none can be sent."""
        try:
            return self.target.name.rstrip(".").encode("idna").decode("ascii")
        except UnicodeError:
            return ""

    async def ask(self, hello: Hello, *, whole: bool = False) -> Answer:
        """Put one question; see :class:`.answer.AnswerReader` for ``whole``. Never raises for what the network or the
        server does."""
        now = asyncio.get_running_loop().time()
        self._until = self._until or now + self._patience
        if now > self._until:
            return Answer(Reply.SILENT, evidence=f"gave up after {self._patience:g} s")
        if not self._address:
            async with self._finding:
                if not self._address:
                    return self._nowhere or await self._first(hello, whole)
        return await self._at(self._address, hello, whole=whole)

    async def exhausted(self) -> str:
        """Has the endpoint stopped answering us? Ask last: if it ended any connection without an alert, the first hello
        that it accepted is put once more. Empty: it still accepts that, or never gave reason to ask; else what came."""
        if self._welcome is None or not self._wordless:
            return ""
        answer = await self.ask(self._welcome)
        return "" if answer.reply is Reply.ACCEPTED else f"then to what it had accepted: {answer.evidence}"

    async def _first(self, hello: Hello, whole: bool) -> Answer:
        """Put the first question to the first of the name's addresses that can be reached, and stay there. If there is
        none, no other question is put."""
        answer = Answer(Reply.UNREACHABLE, evidence="no address")
        if self.target.name and not self.server_name:
            self._nowhere = Answer(Reply.UNREACHABLE, evidence="the server name is no name that can be sent")
            return self._nowhere
        try:
            addresses = await _addresses(self.target)
        except (OSError, UnicodeError) as error:
            addresses, answer = [], Answer(Reply.UNREACHABLE, evidence=f"no address: {_reason(error)}")
        for address in addresses:
            answer = await self._at(address, hello, whole=whole)
            if answer.reply is not Reply.UNREACHABLE:
                self._address = address
                return answer
        self._nowhere = answer
        return answer

    async def _at(self, address: Address, hello: Hello, *, whole: bool) -> Answer:
        async with self._manners.turn(address.host, address.port) as turn:
            self.hellos += 1
            answer = await self._put(
                address, AnswerReader(hello, whole=whole), encode(hello, self._randomness(RANDOM_BYTES))
            )
            turn.rebuffed = answer.reply in _REBUFFS
            self._wordless = self._wordless or is_wordless(answer)
            if answer.reply is Reply.ACCEPTED and self._welcome is None:
                self._welcome = hello
            return answer

    async def _put(self, address: Address, reader: AnswerReader, question: bytes) -> Answer:
        """One connection, from its beginning to its end."""
        wire: Wire | None = None
        ready = False
        try:
            async with asyncio.timeout(self._timeout):
                wire = await connect(address, limit=LIMIT, source=self._source)
                if self._upgrade:
                    await self._upgrade(wire)
                ready = True
                await wire.send(question)
                while True:
                    if answer := reader.feed(await wire.receive()):
                        return answer
        except UpgradeRefused as refused:
            return Answer(Reply.NOT_TLS, evidence=f"no TLS: {refused.reason}")
        except TimeoutError:
            late = f"nothing more within {self._timeout:g} s"
            return reader.end(late, Reply.SILENT if wire else Reply.UNREACHABLE)
        except Ended as ended:
            if wire and not ready:
                return Answer(Reply.NOT_TLS, evidence=f"{ended.reason} before TLS could begin")
            return reader.end(ended.reason, _ENDS.get(ended.reason, Reply.RESET if wire else Reply.UNREACHABLE))
        finally:
            if wire:
                wire.close()


_ENDS = {"closed": Reply.REFUSED, "reset": Reply.RESET, "too much data": Reply.GARBLED}


async def _addresses(target: Target) -> list[Address]:
    """The addresses of the target's host, in the system's order; an IP address is its own."""
    try:
        return [Address(str(ipaddress.ip_address(target.host)), target.port)]
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    return [Address(str(end[0]), target.port) for *_, end in found]


def _reason(error: Exception) -> str:
    """The system's words."""
    return (error.strerror or "not found").lower() if isinstance(error, OSError) else "not a name"
