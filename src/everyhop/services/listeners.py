"""Who listens on this machine, and what each port does with somebody who comes without TLS.

Rules: a listener is asked when it is new, when another socket has taken its place, and once an hour; soon again only if
its answer told nothing. Few are asked at a time, so that a look around stays short. Never asked are everyhop's own
sockets on loopback, and a proxy's way out, because asking it would be a call to the callee in the app's name. A
listener that is missing for a moment has not gone: apps restart.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from everyhop.core.endpoint.facts import Encryption, PlainFacts
from everyhop.core.endpoint.target import PORTS, Target
from everyhop.core.flow import ITSELF, ListenerSeen, listener_verdict
from everyhop.core.hop import Address
from everyhop.core.observation import Kind, Observation, Source, Stream
from everyhop.core.places import EVERYWHERE, Place, Places, Role
from everyhop.ports import Clock, Json, Socket, Store
from everyhop.services.connections import Identities, SocketTable
from everyhop.services.records import Records

LISTENERS = Records("listener", ListenerSeen)

TABLE = "the socket table of this machine"
"""Who saw it: the ``by`` of these observations."""

ASK_EVERY = timedelta(hours=1)
_ASK_AGAIN = timedelta(minutes=1)
"""After an answer that told nothing: an app that was just starting, for example."""
_ASK_AGAIN_TIMES = 5
GONE_AFTER = timedelta(minutes=1)
WRITE_EVERY = timedelta(minutes=1)

_AT_ONCE = 8
_A_LOOK = 16
_SECONDS_EACH = 4.0
_SECONDS_IN_ALL = 10.0
_EVIDENCE = 200
"""Characters that are kept of a server's own words."""

_ANSWERED = frozenset(Encryption) - {Encryption.UNKNOWN, Encryption.CLOSED, Encryption.SILENT}
REACHED_BY = {"0.0.0.0": ("127.0.0.1",), "::": ("127.0.0.1", "::1")}  # noqa: S104  # recognised, not bound
"""Where to ask who listens on every address."""


class Asks(Protocol):
    """The one method of ``ports.EndpointProber`` that is needed here."""

    async def plain(self, target: Target, *, timeout: float = 5.0) -> PlainFacts:
        """What the port speaks, and whether it insists on encryption."""
        ...


@dataclass(slots=True)
class _Known:
    """What is kept of a listener between two looks."""

    seen: ListenerSeen
    address: Address
    place: Place | None
    askable: bool
    inodes: frozenset[int]
    ask_at: datetime
    in_vain: int = 0
    written: ListenerSeen | None = None


class Listeners:
    """The listening sockets of this machine, kept up to date."""

    def __init__(self, store: Store, prober: Asks, clock: Clock) -> None:
        """Nothing happens before :meth:`look`."""
        self._store = store
        self._prober = prober
        self._clock = clock
        self._known: dict[Address, _Known] = {}
        self._loaded = False
        self.gone: list[str] = []
        """Keys of documents to delete once the observations of their end are written."""

    def encryption(self, listener: Address) -> Encryption:
        """What is known of a port; unknown for one that is not of this machine."""
        known = self._known.get(listener)
        return known.seen.encryption if known else Encryption.UNKNOWN

    def evidence(self, listener: Address) -> str:
        """What a port said when it was asked."""
        known = self._known.get(listener)
        return known.seen.evidence if known else ""

    @property
    def asked_lately(self) -> frozenset[Address]:
        """Listeners that were asked within the last minutes: connections that are over may have been ours."""
        limit = self._clock.now() - timedelta(minutes=2)
        return frozenset(
            address for address, one in self._known.items() if one.seen.asked_at and one.seen.asked_at >= limit
        )

    async def look(self, table: SocketTable, places: Places, identities: Identities) -> list[Observation]:
        """Take in a snapshot and ask whoever is due; returns what changed."""
        await self._load()
        now = self._clock.now()
        observations = [
            found
            for address, sockets in table.listeners.items()
            if (found := self._take(address, sockets, places.at(address), identities, now)) is not None
        ]
        observations += self._let_go(table, now)
        return observations + await self._ask_due(now)

    def documents(self, now: datetime) -> dict[tuple[str, str], Mapping[str, Json]]:
        """What is to be written: what changed, and a sign of life once a minute."""
        due: dict[tuple[str, str], Mapping[str, Json]] = {}
        for one in self._known.values():
            before = one.written
            same = before is not None and replace(before, seen_at=one.seen.seen_at) == one.seen
            if same and before is not None and one.seen.seen_at - before.seen_at < WRITE_EVERY:
                continue
            due[LISTENERS.kind, one.seen.address] = LISTENERS.encode(one.seen)
            one.written = one.seen
        return due

    def unwritten(self) -> None:
        """What was to be written was not: it is to be written again."""
        for one in self._known.values():
            one.written = None

    async def _load(self) -> None:
        """Go on with what an earlier life knew; every socket is asked anew, because it may be another one."""
        if self._loaded:
            return
        for stored in await LISTENERS.all(self._store):
            seen, address = stored.value, Address.parse(stored.value.address)
            self._known[address] = _Known(seen, address, None, False, frozenset(), self._clock.now(), written=seen)
        self._loaded = True

    def _take(
        self, address: Address, sockets: Sequence[Socket], place: Place | None, identities: Identities, now: datetime
    ) -> Observation | None:
        known = self._known.get(address)
        inodes = frozenset(one.inode for one in sockets)
        seen, askable = _described(address, sockets[0], place, identities, known.seen if known else None, now)
        if known is None:
            self._known[address] = _Known(seen, address, place, askable, inodes, now)
            return _observation(seen, address, now, "appeared")
        if not known.inodes & inodes or known.place != place:  # another socket, or it is meant for something else now
            known.ask_at, known.in_vain = now, 0
        known.seen, known.place, known.askable, known.inodes = seen, place, askable, inodes
        return None

    def _let_go(self, table: SocketTable, now: datetime) -> list[Observation]:
        gone = [
            one
            for address, one in self._known.items()
            if address not in table.listeners and now - one.seen.seen_at >= GONE_AFTER
        ]
        for one in gone:
            del self._known[one.address]
            self.gone.append(one.seen.address)
        return [_observation(one.seen, one.address, now, "went") for one in gone]

    async def _ask_due(self, now: datetime) -> list[Observation]:
        due = [one for one in self._known.values() if one.askable and one.ask_at <= now and one.seen.seen_at == now]
        due.sort(key=lambda one: (one.place is None, one.ask_at))  # those of the topology first
        turns = asyncio.Semaphore(_AT_ONCE)
        answers: dict[Address, PlainFacts] = {}

        async def ask(one: _Known) -> None:
            async with turns:
                answers[one.address] = await self._ask(one)

        asked = due[:_A_LOOK]
        try:
            async with asyncio.timeout(_SECONDS_IN_ALL), asyncio.TaskGroup() as group:
                for one in asked:
                    group.create_task(ask(one))
        except TimeoutError:
            pass  # who has not answered by now is asked again later
        changes = (self._answered(one, answers.get(one.address)) for one in asked)
        return [found for found in changes if found is not None]

    async def _ask(self, one: _Known) -> PlainFacts:
        target = _target(one)
        hosts = REACHED_BY.get(one.address.host, (one.address.host,))
        for host in hosts[:-1]:
            facts = await self._prober.plain(replace(target, host=host), timeout=_SECONDS_EACH)
            if facts.encryption is not Encryption.CLOSED:
                return facts
        return await self._prober.plain(replace(target, host=hosts[-1]), timeout=_SECONDS_EACH)

    def _answered(self, one: _Known, facts: PlainFacts | None) -> Observation | None:
        """Take in an answer. Without one, what was known before still stands."""
        now, before = self._clock.now(), one.seen
        one.in_vain = 0 if facts is not None and facts.encryption in _ANSWERED else one.in_vain + 1
        one.ask_at = now + (_ASK_AGAIN if 0 < one.in_vain <= _ASK_AGAIN_TIMES else ASK_EVERY)
        if facts is None:
            return None
        one.seen = replace(
            before, encryption=facts.encryption, wire=facts.wire, asked_at=now, evidence=facts.evidence[:_EVIDENCE]
        )
        if (before.encryption, before.wire) == (facts.encryption, facts.wire):
            return None
        return _observation(one.seen, one.address, now, "asked")


def _described(
    address: Address,
    first: Socket,
    place: Place | None,
    identities: Identities,
    before: ListenerSeen | None,
    now: datetime,
) -> tuple[ListenerSeen, bool]:
    """A listener as it is seen now, with what it said before, and whether it may be asked."""
    whose = identities.of(first)
    service = place.service if place else whose.service
    itself = first.mark == ITSELF
    inner = (itself and address.is_loopback) or (place is None and whose.part == "proxy")
    part = "everyhop" if itself else whose.part if place is None else "app" if place.role is Role.APP else "proxy"
    seen = ListenerSeen(
        address=str(address),
        service=service,
        part=part,
        user=first.user,
        process=first.process,
        encryption=before.encryption if before else Encryption.UNKNOWN,
        wire=before.wire if before else None,
        seen_at=now,
        asked_at=before.asked_at if before else None,
        evidence=before.evidence if before else "",
        owner=place.owner if place else "",
    )
    if place is not None and place.role is Role.WAY_OUT:
        evidence = "planned as plaintext on loopback; not asked, because that would be a call to the callee"
        return replace(seen, encryption=Encryption.PLAINTEXT, wire=place.wire, evidence=evidence), False
    link_local = ipaddress.ip_address(address.host).is_link_local  # can be reached by naming an interface only
    return seen, not (inner or link_local)


def _target(one: _Known) -> Target:
    registered = PORTS.get(one.address.port)
    wire = one.place.wire if one.place else registered.wire if registered else None
    tls_first = registered.tls_first if registered and registered.wire is wire else None
    return Target(
        one.address.host,
        one.address.port,
        server_name=one.place.server_name if one.place else "",
        wire=wire,
        tls_first=tls_first,
        service=one.seen.service,
        owner=one.seen.owner,
    )


def _observation(seen: ListenerSeen, address: Address, at: datetime, change: str) -> Observation:
    return Observation(
        at=at,
        kind=Kind.LISTENER,
        source=Source.SOCKETS,
        subject=seen.address,
        by=TABLE,
        verdict=listener_verdict(seen, address.is_loopback),
        body={
            "change": change,
            "service": seen.service,
            "part": seen.part,
            "user": seen.user,
            "process": seen.process,
            "owner": seen.owner,
            "encryption": seen.encryption.value,
            "wire": seen.wire.value if seen.wire else "",
            "everywhere": address.host in EVERYWHERE,
            "evidence": seen.evidence,
        },
        # Programs that are not ours come and go by the thousand: they are kept for as long as somebody may ask.
        stream=Stream.RECORD if seen.service else Stream.DETAIL,
    )
