"""What does a port do with somebody who comes without TLS?

Rules:
- Few questions, each harmless and on a connection of its own, one after the other, within the time that was given.
- A target whose protocol is known, because somebody said so or its port is registered, is asked in its own words first:
  a ClientHello makes PostgreSQL log a fault. Of any other port we first wait a moment whether it greets, then say a
  ClientHello, then one line of text, then, if it still has not spoken, the first words of the likely protocols.
- TLS from the first byte is not enough: the same port is asked in the clear as well. A proxy may take both, and TLS
  that one may leave away counts as plaintext. Only what was tried and got nothing has been refused.
- Who resets five connections in a row wants to be left alone. What could not be found out is *unknown*, with the
  reason.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

from everyhop.core.endpoint.facts import Encryption, PlainFacts
from everyhop.core.endpoint.target import Target, Wire
from everyhop.core.hop import Address
from everyhop.drivers.probes.dialogue import Dialogue, Timed, shown
from everyhop.drivers.probes.manners import Manners
from everyhop.drivers.probes.secured import hello
from everyhop.drivers.probes.wire import Ended, connect
from everyhop.drivers.probes.wire import Wire as Connection
from everyhop.drivers.probes.wires import ALL, UNKNOWN, WIRES
from everyhop.drivers.probes.wires.base import Said, Words
from everyhop.drivers.probes.wires.h2c import is_frame
from everyhop.drivers.probes.wires.http import FIRST_QUESTION
from everyhop.ports import Clock

LIMIT = 64 << 10
"""Bytes that a server may send on one connection."""

_LISTEN_SECONDS = 0.25
"""How long an unknown server may take to greet before we speak. One that greets later is understood all the same."""

_RESETS = 5
_BANNER = 512
_NOOP = b"NOOP\r\n"
"""Understood by SMTP, FTP, POP3 and, as a fault, by IMAP; to a TLS server it is no record."""

_LINE = re.compile(rb"[\t\x20-\x7e]{1,400}\r?\n")
_SPEAKS_OF_TLS = re.compile(rb"tls|ssl|secur|encrypt", re.IGNORECASE)

_REFUSED = f"unreachable: {os.strerror(errno.ECONNREFUSED).lower()}"


class PlainProbe:
    """Classifies TCP ports."""

    def __init__(self, clock: Clock, *, manners: Manners | None = None, source: str = "") -> None:
        """``manners`` are shared with the other probes of the same endpoints. ``source`` is the loopback address that
        probes of this machine come from (see :func:`.wire.connect`)."""
        self._clock = clock
        self._manners = manners or Manners()
        self._source = source

    async def look(self, target: Target, *, timeout: float = 5.0) -> PlainFacts:
        """What the port speaks, and whether it insists on encryption. ``timeout`` (seconds) bounds the whole look,
        without the waiting that manners ask for. Never raises for what the network or the server does."""
        at = self._clock.now()
        deadline = asyncio.get_running_loop().time() + timeout
        calls = _Calls(target, self._manners, self._source, deadline)
        wire, said = await _Look(target, calls).conclude()
        return PlainFacts(target, at, said.encryption, wire, said.evidence, calls.made)


class _GaveUp(Exception):  # noqa: N818 -- not an error: no further question makes sense
    """There is nothing to be gained from further connections; holds what to say."""

    def __init__(self, said: Said) -> None:
        super().__init__(said.evidence)
        self.said = said


class _Calls:
    """Opens the connections of one look, counts them, and shares out the time (implements ``wires.base.Caller``)."""

    def __init__(self, target: Target, manners: Manners, source: str, deadline: float) -> None:
        self.target = target
        self._manners = manners
        self.made = 0
        self.heard = b""
        """How the last connection's answer began."""
        self.reasons: list[str] = []
        """How the connections ended on which nothing was learned."""
        self._source = source
        self._deadline = deadline
        self._share = 0.0
        self._resets = 0

    def give(self, parts: int) -> None:
        """From now on every connection may last for one of ``parts`` equal parts of the time that is left."""
        self._share = max(self._deadline - asyncio.get_running_loop().time(), 0) / parts

    @asynccontextmanager
    async def call(self) -> AsyncGenerator[Dialogue]:
        """One connection, when it is our turn; waiting for that costs nothing of the time. Raises :class:`Ended` if
        there is none or it ends, ``_GaveUp`` if there will be none."""
        ended: Ended | None = None
        clock = asyncio.get_running_loop().time
        asked = clock()
        async with self._manners.turn(self.target.host, self.target.port) as turn:
            self._deadline += clock() - asked
            self.made += 1
            until = min(self._deadline, clock() + self._share)
            wire = None
            try:
                wire = await self._connected(until)
                dialogue = Dialogue(Timed(wire, until))
                try:
                    yield dialogue
                finally:
                    self.heard = dialogue.heard
            except Ended as end:
                ended = end
                turn.rebuffed = end.reason == "reset" or wire is None
            finally:
                if wire:
                    wire.close()
        self._resets = self._resets + 1 if ended and ended.reason == "reset" else 0
        if ended:
            self._judge(ended.reason)
            raise ended

    async def _connected(self, until: float) -> Connection:
        try:
            async with asyncio.timeout_at(until):
                return await connect(Address(self.target.host, self.target.port), limit=LIMIT, source=self._source)
        except TimeoutError:
            raise Ended("unreachable: timeout") from None

    def _judge(self, reason: str) -> None:
        """Raise ``_GaveUp`` if this end was the last that should be tried."""
        if reason.startswith("unreachable"):
            closed = reason == _REFUSED and self.made == 1
            raise _GaveUp(Said(Encryption.CLOSED if closed else Encryption.UNKNOWN, reason))
        if self._resets == _RESETS:
            raise _GaveUp(Said(Encryption.UNKNOWN, f"reset {_RESETS} times in a row"))
        self.reasons.append(_tls_record(self.heard) or reason)


_Found = tuple[Wire | None, Said]


class _Look:
    """One look at one target."""

    def __init__(self, target: Target, calls: _Calls) -> None:
        self._target = target
        self._calls = calls
        self._known: Sequence[Words] = WIRES.get(target.wire, ()) if target.wire else ()
        self._asked: set[int] = set()
        self._tls = ""
        """What proves TLS, once it is proved, and that what follows happened in the clear."""

    async def conclude(self) -> _Found:
        """The wire protocol, and what was made known."""
        wire = self._known[0].wire if self._known else None
        try:
            if self._known and not self._target.tls_first:
                found = await self._as_registered()
            else:
                found = await self._as_stranger()
        except _GaveUp as gave_up:
            return wire, Said(gave_up.said.encryption, f"{self._tls}{gave_up.said.evidence}")
        if found and found[0] is Wire.HTTP and found[1].encryption is Encryption.UPGRADE_REQUIRED:
            # Sends its visitors to TLS, in the clear, and has none itself: the port of a redirect.
            return Wire.HTTP, Said(Encryption.PLAINTEXT, found[1].evidence)
        return found or (wire, self._nothing())

    async def _as_registered(self) -> _Found | None:
        """Own words, then TLS: on the same port if the protocol's servers mix them, or if the words were not
        understood."""
        self._calls.give(4)
        if found := await self._ask(self._known):
            wire, said = found
            served = said.encryption in (Encryption.PLAINTEXT, Encryption.UPGRADE_REQUIRED)
            if not (served and any(words.mixes for words in self._known)):
                return found
            with suppress(_GaveUp):  # what was said in the clear, stands
                if (await self._hello(listen=False))[0]:
                    return wire, self._both(said)
            return found
        if (stranger := self._calls.heard) and not _tls_record(stranger):  # it spoke, in other words
            return await self._spoken(stranger)
        tls, banner = await self._hello(listen=False)
        if tls:
            return self._known[0].wire, Said(Encryption.TLS, self._tls + self._last_reason())
        return await self._spoken(banner) if banner else await self._drawn_out()

    async def _as_stranger(self) -> _Found | None:
        """TLS first, and then the same port in the clear."""
        self._calls.give(3 if self._known else 4)
        tls, banner = await self._hello(listen=not self._target.tls_first)
        if not tls:
            found = await self._spoken(banner) or await self._ask(self._known)
            return found if found or banner else await self._drawn_out()
        wire = self._known[0].wire if self._known else Wire.TLS
        found = await self._in_the_clear()
        if found is None:
            return wire, Said(Encryption.TLS, self._tls + self._last_reason())
        return found[0], self._both(found[1])

    async def _in_the_clear(self) -> _Found | None:
        """What a port that speaks TLS gives to somebody who does not."""
        self._calls.give(2)
        if self._known and not self._known[0].speaks_first:
            return await self._ask(self._known)
        answer = await self._provoked(_NOOP if self._known else FIRST_QUESTION)
        if found := await self._spoken(answer):
            return found
        # A greeting came in the clear, and then no conversation: a proxy that waits for our first word, perhaps.
        words = next((words for words in ALL if words.recognise(answer)), None)
        return (words.wire, Said(Encryption.PLAINTEXT, shown(answer))) if words else None

    async def _drawn_out(self) -> _Found | None:
        """A line of text, then the first words of one protocol after the other."""
        left = [words for words in UNKNOWN if id(words) not in self._asked]
        self._calls.give(len(left) + 1)
        answer = await self._provoked(FIRST_QUESTION)
        if found := await self._spoken(answer):
            return found
        for position, words in enumerate(left):
            self._calls.give(len(left) - position)
            if found := await self._ask((words,)):
                return found
        # No TLS, and a line of text for a line of text: that is plaintext, in whatever language.
        return (None, Said(Encryption.PLAINTEXT, shown(answer))) if _is_text(answer) else None

    async def _spoken(self, banner: bytes) -> _Found | None:
        """Whoever spoke first, or answered to what it did not understand, is asked in its own words."""
        if not banner:
            return None
        candidates = [words for words in ALL if words.recognise(banner)]
        self._calls.give(3)
        if found := await self._ask(candidates):
            return found
        self._calls.reasons.append(_tls_record(banner) or f"garbled: {shown(banner)}")
        return None

    async def _ask(self, several: Sequence[Words]) -> _Found | None:
        """The first of these who understands, and is understood."""
        for words in several:
            if id(words) in self._asked:
                continue
            self._asked.add(id(words))
            try:
                said = await words.ask(self._calls)
            except Ended:
                continue
            if said:
                return words.wire, said
            self._calls.reasons.append(_tls_record(self._calls.heard) or f"garbled: {shown(self._calls.heard)}")
        return None

    async def _hello(self, *, listen: bool) -> tuple[bool, bytes]:
        """A ClientHello on one connection: whether it was answered in TLS, and what came."""
        banner = b""
        try:
            async with self._calls.call() as dialogue:
                banner = await _greeted(dialogue, _LISTEN_SECONDS if listen else 0, hello(self._target.name))
        except Ended:
            pass
        record = _tls_record(banner)
        self._tls = f"{record}; in the clear: " if record else ""
        return bool(record), banner

    async def _provoked(self, question: bytes) -> bytes:
        """What comes back to a line of text."""
        try:
            async with self._calls.call() as dialogue:
                await dialogue.say(question)
                return await _collected(dialogue)
        except Ended:
            return b""

    def _last_reason(self) -> str:
        return self._calls.reasons[-1] if self._calls.reasons else "nothing"

    def _both(self, said: Said) -> Said:
        """One port, TLS and plaintext: what was said in the clear decides."""
        encryption = {
            Encryption.PLAINTEXT: Encryption.UPGRADE_OFFERED,
            Encryption.UPGRADE_REQUIRED: Encryption.TLS,
            Encryption.OWN: Encryption.TLS,
        }.get(said.encryption, said.encryption)
        return Said(encryption, self._tls + said.evidence)

    def _nothing(self) -> Said:
        """Nobody was understood: silent if it never said a word, unknown if it did strange things."""
        strange = [reason for reason in self._calls.reasons if reason not in ("timeout", "closed")]
        if strange:
            return Said(Encryption.UNKNOWN, strange[-1])
        return Said(Encryption.SILENT, " and ".join(sorted(set(self._calls.reasons))))


async def _greeted(dialogue: Dialogue, patience: float, question: bytes) -> bytes:
    """What the server says within ``patience`` seconds unasked, or else to this question."""
    hearing = asyncio.ensure_future(_collected(dialogue))
    try:
        if patience:
            await asyncio.wait({hearing}, timeout=patience)
        if not hearing.done():
            await dialogue.say(question)
        return await hearing
    finally:
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)


async def _collected(dialogue: Dialogue) -> bytes:
    """The beginning of what a server says: a TLS record's first bytes, a line, or half a kilobyte."""
    data = b""
    try:
        while len(data) < _BANNER and not _is_enough(data):
            data += await dialogue.some()
    except Ended:
        if not data:
            raise
    return data


def _is_enough(data: bytes) -> bool:
    if data.startswith(b"HTTP/"):
        return False  # the body may say who it really is
    return bool(_tls_record(data)) or b"\n" in data or is_frame(data)


def _is_text(answer: bytes) -> bool:
    """A whole line that anybody can read, of nothing that we know, and not about encryption."""
    known = any(words.recognise(answer) for words in ALL)
    return bool(_LINE.match(answer)) and not known and not _SPEAKS_OF_TLS.search(answer)


def _tls_record(data: bytes) -> str:
    """What a TLS answer to a ClientHello begins with, in words (RFC 8446, 5.1); empty: it is none."""
    if len(data) < 6 or data[1] != 3 or data[2] > 4:
        return ""
    length = int.from_bytes(data[3:5], "big")
    if data[0] == 0x16 and data[5] == 0x02 and 4 < length <= 1 << 14:
        return "ServerHello"
    if data[0] == 0x15 and length == 2 and data[5] in (1, 2):
        return f"alert {data[6]}" if len(data) > 6 else "alert"
    return ""
