"""The session probe: what a server lets a client take up again, and which old doors are still open.

Rules: one question, one or two connections, one after the other; each has the time limit to itself. What was not found
out stays None, with the reason beside it. TLS 1.3 tickets may come only after the first application data, so a
protocol that is known is asked its first words; an unknown one is only listened to. Where a server refuses TLS 1.2,
the questions of TLS 1.2 are answered by that: TLS 1.3 has no renegotiation, no compression and no session ids
(RFC 8446, 4.1.2 and 4.6.3). Keys of sessions stay in memory and are gone with the probe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from OpenSSL import SSL

from everyhop.core.endpoint.facts import SessionFacts
from everyhop.core.endpoint.target import Target
from everyhop.core.tls.versions import TLS12
from everyhop.drivers.probes import native
from everyhop.drivers.probes.client import Client, Offer, Way, client, context_of, talk
from everyhop.drivers.probes.hello.ask import Interview, Upgrade
from everyhop.drivers.probes.hello.encode import legacy
from everyhop.drivers.probes.manners import Manners
from everyhop.drivers.probes.native import SessionSeen
from everyhop.drivers.probes.secured import Secured
from everyhop.drivers.probes.wire import Ended, Wire
from everyhop.drivers.probes.words import FIRST
from everyhop.ports import ClientCredential, Clock

_UP_TO_12 = Offer(highest=SSL.TLS1_2_VERSION)
_ONLY_13 = Offer(lowest=SSL.TLS1_3_VERSION)
_OLDER = ("resumes_by_id", "resumes_by_ticket", "secure_renegotiation", "client_renegotiation", "compression")
"""Facts of TLS 1.2 and older."""
_ONLY_13_SAYS = "TLS 1.2 is refused, and TLS 1.3 has none"
_DEFLATE_OR_NONE = b"\1\0"
_OTHER_VERSION = "alert protocol version"
_NO_RENEGOTIATION = "not tls: no renegotiation"
"""OpenSSL's words for the warning with which a server declines (RFC 5246, 7.2.2)."""
_UNSAFE = "unsafe legacy renegotiation disabled"
_WAIT_FOR_TICKET = 1.0
"""Seconds: what a server sends of its own accord comes with the end of the handshake."""


@dataclass(slots=True)
class _Notes:
    """What was found out so far."""

    facts: SessionFacts
    evidence: dict[str, str] = field(default_factory=dict[str, str])
    older: bool | None = None
    """TLS 1.2 or older is spoken."""
    reached: bool = True
    """Somebody answers there, in TLS."""

    def note(self, fact: str, value: bool | int | None, evidence: str) -> None:
        """Keep one fact and what proves it."""
        self.facts = replace(self.facts, **{fact: value})
        self.evidence[fact] = evidence


class SessionProbe:
    """Asks about sessions."""

    def __init__(self, clock: Clock, *, manners: Manners | None = None, source: str = "") -> None:
        """``source`` is the loopback address that probes of this machine come from (see :func:`.wire.connect`)."""
        self._clock = clock
        self._way = Way(manners=manners, source=source)

    async def look(
        self,
        target: Target,
        *,
        credential: ClientCredential | None = None,
        upgrade: Upgrade | None = None,
        timeout: float = 5.0,
    ) -> SessionFacts:
        """Everything about sessions, on at most ten connections. ``timeout`` (seconds) bounds each. Never raises for
        what a server does; an endpoint that insists on a client certificate tells little without one."""
        notes = _Notes(SessionFacts(target, self._clock.now()))
        look = _Look(target, credential, replace(self._way, upgrade=upgrade, timeout=timeout), notes)
        await look.by_id()
        if look.notes.reached:
            await look.by_ticket()
            await look.by_psk()
            await look.renegotiation()
            await look.fallback()
            await look.compression()
            look.without_older()
        return replace(look.notes.facts, evidence=tuple(look.notes.evidence.items()))


@dataclass(slots=True)
class _Look:
    """One look at one target."""

    target: Target
    credential: ClientCredential | None
    way: Way
    notes: _Notes

    async def by_id(self) -> None:
        """Resumption by session id (RFC 5246, 7.3), with tickets off; and whether TLS 1.2 is spoken at all."""
        offer = self._offer(replace(_UP_TO_12, tickets=False))
        context = context_of(offer)
        first, reason = await self._hold(client(self.target, offer, context=context))
        if not first.shaken:
            if _UNSAFE in reason:
                self.notes.older = True
                self.notes.note("secure_renegotiation", False, reason)
            elif first.alert == _OTHER_VERSION:
                self.notes.older = False
            self.notes.reached = _UNSAFE in reason or not reason.startswith(("unreachable", "timeout", "not tls"))
            for fact in _OLDER:
                self.notes.evidence.setdefault(fact, reason)
            return
        self.notes.older = True
        self.notes.note("secure_renegotiation", True, f"{first.version} with renegotiation_info")
        session = first.tls.get_session()
        if session is None or not native.session_seen(session).has_id:
            self.notes.note("resumes_by_id", False, "no session id was given")
            return
        await self._again("resumes_by_id", offer, context, session)

    async def by_ticket(self) -> None:
        """Resumption by ticket (RFC 5077)."""
        if not self.notes.older:
            return
        offer = self._offer(_UP_TO_12)
        context = context_of(offer)
        first, reason = await self._hold(client(self.target, offer, context=context))
        session = first.tls.get_session() if first.shaken else None
        if session is None:
            self.notes.evidence["resumes_by_ticket"] = reason
            return
        seen = native.session_seen(session)
        if not seen.has_ticket:
            self.notes.note("resumes_by_ticket", False, "no ticket was given")
            return
        self._lifetime(seen)
        await self._again("resumes_by_ticket", offer, context, session)

    async def by_psk(self) -> None:
        """Resumption by ticket in TLS 1.3 (RFC 8446, 4.6.1), and whether the ticket allows early data (4.2.10)."""
        offer = self._offer(_ONLY_13)
        context = context_of(offer)
        first = client(self.target, offer, context=context)
        seen: list[SessionSeen] = []

        async def wait(secured: Secured, wire: Wire) -> None:
            await self._ticket(first, secured, wire, seen)

        _, reason = await self._hold(first, wait)
        session = first.tls.get_session() if first.shaken else None
        if session is None or not seen:
            for fact in ("resumes_by_psk", "accepts_early_data"):
                if first.alert == _OTHER_VERSION:
                    self.notes.note(fact, False, f"TLS 1.3 is refused: {first.alert}")
                else:
                    self.notes.evidence[fact] = first.alert or reason or "no ticket came"
            return
        self._lifetime(seen[0])
        early = seen[0].early_data_bytes
        self.notes.note("accepts_early_data", early > 0, f"its ticket allows {early} bytes of early data")
        await self._again("resumes_by_psk", offer, context, session)

    async def _ticket(self, first: Client, secured: Secured, wire: Wire, seen: list[SessionSeen]) -> None:
        """Listen for a ticket; then say the first words, if they are known, and listen again."""
        words = FIRST.get(self.target.wire) if self.target.wire else None
        for question in (b"", words.say(self.target)) if words else (b"",):
            if question:
                await secured.send(question)
            try:
                async with asyncio.timeout(min(_WAIT_FOR_TICKET, self.way.timeout / 2)):
                    while not _has_ticket(first, seen):
                        await first.hear(wire)
            except (TimeoutError, Ended):
                pass
            if _has_ticket(first, seen):
                return

    async def renegotiation(self) -> None:
        """Does a second handshake on the same connection work when the client wants one?"""
        if not self.notes.older:
            return
        asking = client(self.target, self._offer(_UP_TO_12))

        async def again(secured: Secured, _: Wire) -> None:
            asking.tls.renegotiate()
            await secured.shake()

        _, reason = await self._hold(asking, again)
        if not asking.shaken:
            self.notes.evidence["client_renegotiation"] = reason
        elif asking.tls.total_renegotiations() and not reason:
            self.notes.note("client_renegotiation", True, "a second handshake went through")
        elif asking.alert or reason in ("closed", _NO_RENEGOTIATION):
            self.notes.note("client_renegotiation", False, reason.removeprefix("not tls: "))
        else:  # a silence or a reset in the middle of it may have any reason
            self.notes.evidence["client_renegotiation"] = reason or "nothing came of it"

    async def fallback(self) -> None:
        """A hello below the server's best version, marked as a fallback, must be refused (RFC 7507)."""
        best, reason = await self._hold(client(self.target, self._offer(Offer())))
        if not best.shaken:
            self.notes.evidence["fallback_scsv"] = reason
            return
        below = best.tls.get_protocol_version() - 1
        if below < SSL.TLS1_VERSION:
            self.notes.note("fallback_scsv", True, f"{best.version} is the oldest there is to fall to")
            return
        marked, reason = await self._hold(client(self.target, self._offer(Offer(highest=below, fallback=True))))
        if marked.shaken:
            self.notes.note("fallback_scsv", False, f"accepted {marked.version}, marked as a fallback")
        elif marked.alert:  # 86, or a refusal of the older version itself: either way nobody can fall
            self.notes.note("fallback_scsv", True, marked.alert)
        else:
            self.notes.evidence["fallback_scsv"] = reason

    async def compression(self) -> None:
        """Does the server choose DEFLATE when it may (RFC 3749)? Asked with a raw hello: our own TLS cannot."""
        if self.notes.older is False:
            return
        interview = Interview(
            self.target,
            self.way.manners or Manners(),
            upgrade=self.way.upgrade,
            timeout=self.way.timeout,
            source=self.way.source,
        )
        hello = replace(legacy(TLS12, server_name=interview.server_name), compressions=_DEFLATE_OR_NONE)
        answer = await interview.ask(hello)
        if answer.compression is None:
            self.notes.evidence["compression"] = answer.evidence
        else:
            self.notes.note("compression", answer.compression != 0, f"chose method {answer.compression}")
        if answer.secure_renegotiation is not None and self.notes.facts.secure_renegotiation is None:
            self.notes.note("secure_renegotiation", answer.secure_renegotiation, answer.evidence)

    def without_older(self) -> None:
        """What follows from TLS 1.2 being refused."""
        if self.notes.older is not False:
            return
        for fact in _OLDER:
            self.notes.note(fact, fact == "secure_renegotiation", _ONLY_13_SAYS)

    def _offer(self, base: Offer) -> Offer:
        return replace(base, credential=self.credential)

    def _lifetime(self, seen: SessionSeen) -> None:
        known = self.notes.facts.ticket_lifetime_seconds or 0
        if seen.lifetime_seconds is not None:
            longest = max(known, seen.lifetime_seconds)
            self.notes.note("ticket_lifetime_seconds", longest, f"the ticket says {longest} seconds")

    async def _again(self, fact: str, offer: Offer, context: SSL.Context, session: SSL.Session) -> None:
        """Come back with a session: is it taken up?"""
        second, reason = await self._hold(client(self.target, offer, context=context, session=session))
        if not second.shaken:
            self.notes.evidence[fact] = reason
        elif native.resumed(second.tls):
            self.notes.note(fact, True, "the second handshake took up the first")
        else:
            self.notes.note(fact, False, "the second handshake was a full one")

    async def _hold(
        self, asking: Client, then: Callable[[Secured, Wire], Awaitable[None]] | None = None
    ) -> tuple[Client, str]:
        """One connection to its end; the reason is empty if nothing went wrong."""
        try:
            async with talk(self.target, asking, self.way) as (secured, wire):
                await asking.shake(secured)
                if then is not None:
                    await then(secured, wire)
                await secured.bye()
        except TimeoutError:
            return asking, "timeout"
        except Ended as ended:
            return asking, asking.alert or ended.reason
        return asking, ""


def _has_ticket(first: Client, seen: list[SessionSeen]) -> bool:
    """Remember the session's ticket, once it has one."""
    session = first.tls.get_session()
    if not seen and session is not None:
        found = native.session_seen(session)
        if found.has_ticket:
            seen.append(found)
    return bool(seen)
