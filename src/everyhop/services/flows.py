"""Flows: who talks to whom on this machine, beside and inside the mesh, and whether it is encrypted.

The story of a tick: take the socket table; see who listens and ask the new ones; join every connection to services,
processes and the port's answer; write down what appeared, changed or ended. Rules: what everyhop's own probes cause is
left out; a connection that is over keeps the caller it was seen with; what cannot be told is unknown and stays listed.
While the table cannot be read nothing is claimed, and the interval of not knowing is written down.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from everyhop.core.endpoint.facts import Encryption
from everyhop.core.flow import (
    Flow,
    FlowClass,
    Judgement,
    Meeting,
    classify,
    worse,
)
from everyhop.core.hop import Address, Hop
from everyhop.core.observation import Kind, Observation, Source
from everyhop.core.places import Place, Places, Role, marks_of, places_of
from everyhop.core.plan import CLIENT, Plan
from everyhop.core.sli.m10_plaintext_flows import BLIND_AFTER
from everyhop.core.topology import Topology
from everyhop.core.verdict import Verdict
from everyhop.errors import EveryhopError
from everyhop.ports import Clock, Event, Json, Lease, Reporter, Socket, Sockets, Store
from everyhop.services.connections import Identities, Link, Pair, SocketTable, Whose, sort
from everyhop.services.flow_book import FLOWS, WRITE_EVERY, FlowBook
from everyhop.services.listeners import LISTENERS, TABLE, Asks, Listeners
from everyhop.services.observe import PROBE_SOURCE
from everyhop.services.records import Records

__all__ = ["DETECTORS", "DETECTOR_KEY", "FLOWS", "LISTENERS", "Catch", "FlowDetector", "FlowWatcher", "Sample"]

SAMPLE_EVERY = timedelta(minutes=1)

_MOST = 5000
"""Flows that are told apart. More callers than this at a port of this machine are joined to ``others``."""
_OTHERS = "others"
_ELSEWHERE = "elsewhere"

_REDIRECTS = "the port answers with a redirect to https, and nothing else"

Sample = Callable[[Collection[int]], Awaitable[Mapping[Pair, bool]]]
"""Listens to some ports for a moment: by connection, whether its bytes were TLS records. Empty where that is not
permitted or nothing was sent."""


Catch = Callable[[Collection[int]], Awaitable[Sequence[Socket]]]
"""Looks at some ports again and again for a moment: their callers whose connections a snapshot would miss."""


@dataclass(frozen=True, slots=True)
class FlowDetector:
    """A sign of life of the flow detector: no plaintext flows is good news only if somebody looked."""

    last_run_at: datetime
    sockets: int
    listeners: int
    connections: int
    unseen: int
    """Sockets whose process the kernel does not let us see."""
    sampled_at: datetime | None = None
    """When bytes were last sampled; None: never, it is not permitted or not needed."""
    fault: str = ""
    """Why it cannot look; empty: it can."""


DETECTORS = Records("flow-detector", FlowDetector)
DETECTOR_KEY = "sockets"


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at the table, and what it is compared with."""

    at: datetime
    table: SocketTable
    topology: Topology
    places: Places
    identities: Identities


class FlowWatcher:
    """Watches the socket table of this machine."""

    def __init__(
        self,
        store: Store,
        sockets: Sockets,
        prober: Asks,
        clock: Clock,
        report: Reporter,
        *,
        catch: Catch | None = None,
        sample: Sample | None = None,
        ignored: Collection[str] = (PROBE_SOURCE,),
    ) -> None:
        """``catch`` finds callers whose connections are over before a snapshot; ``sample`` decides about ports that
        take TLS and plaintext alike; ``ignored`` are the hosts from which everyhop's own probes come."""
        self._store = store
        self._sockets = sockets
        self._clock = clock
        self._report = report
        self._catch = catch
        self._sample = sample
        self._ignored = ignored
        self._listeners = Listeners(store, prober, clock)
        self._book = FlowBook()
        self._pairs: dict[Pair, str] = {}
        """The flow of every connection of the last look."""
        self._samples: dict[Pair, bool] = {}
        self._sampled_at: datetime | None = None
        self._detector: FlowDetector | None = None
        self._written_detector: FlowDetector | None = None
        self._unsaid: list[Observation] = []
        """Observations that the store has not taken yet."""
        self._loaded = self._began = False

    async def tick(self, plan: Plan, topology: Topology, fence: Lease | None) -> None:
        """Look once, and write down what that changed. Raises only for the store."""
        await self._load()
        places = places_of(topology, plan)
        try:
            table = await self._snapshot(places)
        except EveryhopError as error:
            await self._blind(error.message, fence)
            return
        identities = Identities(table, places, marks_of(plan, topology))
        self._unsaid += self._saw_again()
        self._unsaid += await self._listeners.look(table, places, identities)
        await self._take_sample(table)
        now = self._clock.now()
        self._unsaid += self._join(_Look(now, table, topology, places, identities))
        self._unsaid += self._book.end(now)
        self._detector = FlowDetector(
            now,
            sockets=table.sockets,
            listeners=len(table.listeners),
            connections=len(table.links),
            unseen=table.unseen,
            sampled_at=self._sampled_at,
        )
        await self._write(fence, now)

    async def _snapshot(self, places: Places) -> SocketTable:
        """The table; where somebody unknown was at an inner port and has gone, with whom a closer look has caught."""
        sockets = await self._sockets.snapshot()
        table = sort(sockets, ignored=self._ignored)
        missed = {
            link.listener.port
            for link in table.links
            if link.here and not link.held and link.pair not in self._pairs and _is_inner(places.at(link.listener))
        }
        if self._catch is None or not missed:
            return table
        return sort([*sockets, *await self._catch(missed)], ignored=self._ignored)

    # --- connections to flows -------------------------------------------------------------------------------------

    def _join(self, look: _Look) -> list[Observation]:
        """Every connection into its flow; returns what appeared and what changed its class."""
        lively, asked = self._lively(look), self._listeners.asked_lately
        found: dict[str, Flow] = {}
        pairs: dict[Pair, str] = {}
        fresh: dict[str, int] = {}
        for link in look.table.links:
            known = self._book.get(self._pairs.get(link.pair, ""))
            if known is not None and not link.held:  # it is over now, but was seen while it lived
                flow = found.get(known.key, known)
            elif _is_foreign(link, look) or _says_nothing(link, look, lively=lively, asked=asked):
                continue
            else:
                flow = self._flow(link, look)
            found[flow.key] = _merged(found.get(flow.key), flow)
            pairs[link.pair] = flow.key
            fresh[flow.key] = fresh.get(flow.key, 0) + (link.pair not in self._pairs)
        if not self._began:  # an earlier life has counted them
            fresh = {key: 0 if key in self._book else number for key, number in fresh.items()}
        self._pairs, self._began = pairs, True
        changes = [self._book.keep(flow, fresh[key], look.at) for key, flow in found.items()]
        return [change for change in changes if change is not None]

    def _lively(self, look: _Look) -> frozenset[Address]:
        """Ports whose callers were caught alive lately: what is over there without a trace is put down to them."""
        servers = self._book.servers_of_living_callers()
        now = (link.listener for link in look.table.links if link.calling is not None)
        return frozenset((*now, *(one for one in look.table.listeners if str(one) in servers)))

    def _flow(self, link: Link, look: _Look) -> Flow:
        """The flow that a connection belongs to, judged by this connection alone."""
        place, whose = look.places.at(link.listener), look.identities.of(link.calling)
        judgement = self._judge(link, whose, place)
        public = place is not None and place.role in (Role.EDGE, Role.REDIRECT)
        caller, server = whose.service or _caller_of(link, public=public), str(link.listener)
        if f"{caller} -> {server}" not in self._book and len(self._book) >= _MOST:
            caller, server = _OTHERS, server if link.serving or link.here else _ELSEWHERE
        flow = Flow(
            key=f"{caller} -> {server}",
            caller=caller,
            callee=place.service if place else "",
            server=server,
            encryption=judgement.encryption,
            first_at=look.at,
            last_at=look.at,
            connections=0,
            owner=place.owner if place else _owner(look.topology, whose.service),
            evidence=judgement.evidence,
            caller_process=link.calling.process if link.calling else "",
            caller_user=link.calling.user if link.calling else "",
        )
        return _excused(flow, whose.service, place, look.topology)

    def _judge(self, link: Link, whose: Whose, place: Place | None) -> Judgement:
        meeting = Meeting(
            caller=whose.service,
            caller_part=whose.part,
            callee=place,
            here=link.here,
            same_user=link.same_user,
            known=bool(whose.service) or (link.calling is not None and link.calling.pid is not None),
            held=link.held,
            port=self._listeners.encryption(link.listener),
            sampled_tls=self._samples.get(link.pair),
        )
        judgement = classify(meeting)
        words = self._listeners.evidence(link.listener)
        plain = judgement.encryption is FlowClass.PLAINTEXT
        return Judgement(judgement.encryption, f"{judgement.evidence} ({words})") if plain and words else judgement

    # --- ports that take both -------------------------------------------------------------------------------------

    async def _take_sample(self, table: SocketTable) -> None:
        """Listen to ports that take TLS and plaintext alike, where that is permitted; seldom and briefly."""
        present = {link.pair for link in table.links}
        self._samples = {pair: tls for pair, tls in self._samples.items() if pair in present}
        now = self._clock.now()
        if self._sample is None or (self._sampled_at is not None and now - self._sampled_at < SAMPLE_EVERY):
            return
        ports = {
            link.server.port
            for link in table.links
            if link.serving is not None
            and link.pair not in self._samples
            and self._listeners.encryption(link.listener) is Encryption.UPGRADE_OFFERED
        }
        if ports:
            self._sampled_at = now
            self._samples |= await self._sample(ports)

    # --- the store ------------------------------------------------------------------------------------------------

    async def _load(self) -> None:
        """Go on with what an earlier life knew."""
        if self._loaded:
            return
        await self._book.load(self._store)
        detector = await DETECTORS.get(self._store, DETECTOR_KEY)
        self._detector = self._written_detector = detector.value if detector else None
        self._loaded = True

    async def _write(self, fence: Lease | None, now: datetime) -> None:
        """Observations and documents in one transaction: what is claimed and what it rests on never come apart."""
        documents = self._listeners.documents(now) | self._book.documents(now)
        if self._detector is not None and _says_more(self._detector, self._written_detector):
            documents[DETECTORS.kind, DETECTOR_KEY] = DETECTORS.encode(self._detector)
            self._written_detector = self._detector
        if self._unsaid or documents:
            try:
                await self._store.observe(self._unsaid, beside=documents, fence=fence)
            except BaseException:
                self._unwritten()
                raise
        self._unsaid.clear()
        for kind, keys in ((FLOWS.kind, self._book.gone), (LISTENERS.kind, self._listeners.gone)):
            while keys:
                await self._store.delete(kind, keys[-1], fence=fence)
                keys.pop()

    def _unwritten(self) -> None:
        """All of it is to be written again; of what is to be said, the newest is kept."""
        del self._unsaid[:-_MOST]
        self._listeners.unwritten()
        self._book.unwritten()
        self._written_detector = None

    # --- not knowing ----------------------------------------------------------------------------------------------

    async def _blind(self, reason: str, fence: Lease | None) -> None:
        """The table cannot be read: say so once, and since when nothing is known."""
        now, before = self._clock.now(), self._detector
        if before is not None and before.fault:
            return
        since = before.last_run_at if before else now
        self._detector = replace(before, fault=reason) if before else FlowDetector(now, 0, 0, 0, 0, fault=reason)
        self._report(Event("flows.blind", now, {"why": reason}))
        self._unsaid.append(_blindness(since, None, now, reason))
        await self._write(fence, now)

    def _saw_again(self) -> list[Observation]:
        """The interval in which nothing was known, if there was one."""
        now, before = self._clock.now(), self._detector
        if before is None or (not before.fault and now - before.last_run_at < BLIND_AFTER):
            return []
        return [_blindness(before.last_run_at, now, now, before.fault or "nobody looked")]


def _is_inner(place: Place | None) -> bool:
    """True for the plaintext ports of a service: its app, and its proxy's ways out."""
    return place is not None and place.role in (Role.APP, Role.WAY_OUT)


def _says_nothing(link: Link, look: _Look, *, lively: Collection[Address], asked: Collection[Address]) -> bool:
    """True for a trace that stayed on this machine, at a port of no service, or where callers were caught alive, or
    where it may be our own question: only in 127.0.0.0/8 do our probes have an address of their own."""
    if link.held or not link.here:
        return False
    ours = link.listener in asked and not link.client.host.startswith("127.")
    return ours or link.listener in lively or look.places.at(link.listener) is None


def _is_foreign(link: Link, look: _Look) -> bool:
    """True for what programs outside of the topology call on other machines: nothing could be said of it."""
    known = link.listener in look.table.listeners or look.places.at(link.listener) is not None
    return not known and not look.identities.of(link.calling).service


def _caller_of(link: Link, *, public: bool) -> str:
    """Who calls, if it is no service: the process, its user, or where it comes from. Whoever comes to a ``public`` port
    from outside is one caller, not thousands."""
    if link.calling is not None:
        # With the user behind it, which no service's name has: whatever a process calls itself, it is no service.
        user = link.calling.user
        return f"{link.calling.process} ({user})" if link.calling.process else f"user {user}"
    return CLIENT if public and not link.here else link.client.host


def _owner(topology: Topology, service: str) -> str:
    found = topology.services.get(service)
    return found.owner if found else ""


def _excused(flow: Flow, caller: str, place: Place | None, topology: Topology) -> Flow:
    """A flow with what excuses it: an exception of the topology that has not ended, or the port's own nature."""
    if place is None or flow.encryption not in (FlowClass.PLAINTEXT, FlowClass.UNKNOWN):
        return flow
    if place.role is Role.REDIRECT:
        return replace(flow, excused=_REDIRECTS)
    exception = topology.exception_for(Hop(caller, place.service)) if place.role is Role.APP else None
    if exception is None or exception.until < flow.last_at.date():
        return flow
    return replace(flow, excused=exception.reason, excused_until=exception.until)


def _merged(one: Flow | None, other: Flow) -> Flow:
    """What two connections of one flow say together: the worst."""
    if one is None or worse(one.encryption, other.encryption) is not one.encryption:
        return other
    return other if one.encryption is other.encryption and other.counts and not one.counts else one


def _says_more(detector: FlowDetector, written: FlowDetector | None) -> bool:
    """True if the sign of life is due: once a minute, and at once if it became blind or sees again."""
    if written is None or written.fault != detector.fault:
        return True
    return detector.last_run_at - written.last_run_at >= WRITE_EVERY


def _blindness(since: datetime, until: datetime | None, at: datetime, reason: str) -> Observation:
    body: dict[str, Json] = {"since": since.isoformat(), "until": until.isoformat() if until else "", "reason": reason}
    return Observation(at, Kind.BLIND, Source.SOCKETS, "flows", TABLE, Verdict.UNKNOWN, body)
