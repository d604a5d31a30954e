"""Observe: what the proxies at both ends of each hop saw, and what an endpoint serves when asked from outside.

Rules: a fact has a date and a source. A hop is what each of its ends saw last; the two ends are joined by the address
that one connection has on both sides. Connections are counted by shape and written down once a minute, in one
transaction with how far each log was read: a crash neither loses nor repeats one. Refusals are kept, joined and counted
by who was refused and why, and their number is bounded. What everyhop's own probes cause is marked by their source
address and never counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from everyhop.core import tally
from everyhop.core.chain import serial_text
from everyhop.core.hop import Address, End
from everyhop.core.lifecycle import CredentialState, SeenOnWire, Slot
from everyhop.core.observation import Kind, Observation, Plain, Source
from everyhop.core.plan import IDENTITY, EdgeTls, HopPlan, Inbound, NodePlan, Plan
from everyhop.core.refusal import explain_failure, failed_call, is_refusal
from everyhop.core.tally import Shape, Tally
from everyhop.core.verdict import Verdict
from everyhop.ports import (
    Clock,
    Connection,
    Counters,
    EndCounters,
    Event,
    Lease,
    Plane,
    Prober,
    Reading,
    Reporter,
    Store,
)
from everyhop.services.counted import most, since
from everyhop.services.records import Records
from everyhop.services.refusals import REFUSALS_SEEN, RefusalSeen, merged, refusal_key, told

PROBE_SOURCE = "127.69.72.1"
"""Where everyhop's own probes come from: a loopback address that nobody else uses, so that a log line tells them."""
WRITE_EVERY = timedelta(minutes=1)
_WAIT_AT_MOST = 20_000
"""Connections that may wait to be written down: a busy minute is cut in pieces."""


@dataclass(frozen=True, slots=True)
class HopSeen:
    """What was last seen of a hop, by one of its ends."""

    hop: str
    at: datetime
    version: str
    cipher: str
    group: str
    peer_identity: str
    peer_serial: str
    connections: int
    source: str
    end: End = End.SERVER
    failures: int = 0
    written: tuple[int, int] = (0, 0)
    """How many connections and failures are in written observations; what is above is still to be written."""

    @property
    def key(self) -> str:
        """The record's key: each end has its own."""
        return self.hop if self.end is End.SERVER else f"{self.hop} (client)"


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a proxy's log and counters were written down."""

    node: str
    log: str = ""
    counted: Counters | None = None


HOPS_SEEN = Records("hop-seen", HopSeen)
MARKS = Records("log-mark", Mark)


class Observer:
    """Collects facts from the proxies and from the wire."""

    def __init__(
        self, store: Store, plane: Plane, prober: Prober, clock: Clock, report: Reporter, *, refusals_kept: int
    ) -> None:
        """``refusals_kept`` bounds how many different refusals are remembered."""
        self._store = store
        self._plane = plane
        self._prober = prober
        self._clock = clock
        self._report = report
        self._refusals_kept = refusals_kept
        self.sightings: dict[str, SeenOnWire] = {}
        """By slot key: the newest serial seen on the wire."""
        self._marks: dict[str, Mark] = {}
        self._tallies: dict[Shape, Tally] = {}
        self._told: list[Observation] = []
        """First refusals and changes that wait to be written with the next minute."""
        self._hops: dict[str, HopSeen] = {}
        self._refusals: dict[str, RefusalSeen] = {}
        self._reasons: dict[str, str] = {}
        """Why the serving end refused, by the caller's address: the calling end's failures are joined by it."""
        self._written_at: datetime | None = None

    async def collect(self, plan: Plan, fence: Lease | None) -> int:
        """Read what the proxies logged since the last time; returns how many connections there were."""
        await self._remember()
        readings: dict[str, Reading] = {}
        for node in plan.nodes:
            readings[node.name] = await self._plane.connections(node.name, self._mark(node.name).log)
        self._marks |= {node: replace(self._mark(node), log=reading.mark) for node, reading in readings.items()}
        lines = [line for reading in readings.values() for line in reading.connections]
        # A proxy logs a connection when it ends, and each has its own log: the order of time is made here.
        lines.sort(key=lambda line: line.at)
        foreign = [line for line in lines if not line.peer_address.startswith(PROBE_SOURCE + ":")]
        serving = [line for line in foreign if line.end is End.SERVER]
        calling = [line for line in foreign if line.end is End.CLIENT]
        self._note_callers(plan, serving)
        self._count(plan, serving)
        changed = self._see_hops(plan, [line for line in serving if line.version and _finished(line)])
        changed |= self._see_calls(plan, calling)
        refused = self._see_refusals([line for line in serving if is_refusal(line.failure)])
        refused |= self._see_refusals([line for line in calling if line.failure or failed_call(line.flags)])
        for key in changed:
            await HOPS_SEEN.put(self._store, key, self._hops[key], fence=fence)
        await self._keep_refusals(refused, fence)
        await self._write_if_due(fence)
        return len(foreign)

    async def count(self, plan: Plan, fence: Lease | None) -> None:
        """Read the proxies' counters: what each calling end has shaken hands on since the last time, and how many
        sessions clients have taken up again at the edge."""
        await self._remember()
        for node in plan.nodes:
            counters = await self._plane.counters(node.name)
            if counters is None:
                continue
            mark = self._mark(node.name)
            before = mark.counted if mark.counted and mark.counted.uptime <= counters.uptime else None
            self._marks[node.name] = replace(mark, counted=counters)
            known = {(one.end, one.name): one for one in before.ends} if before else {}
            for end in counters.ends:
                fresh = since(known.get((end.end, end.name)), end)
                if end.end is End.SERVER:
                    self._see_resumed(plan, node.name, fresh)
                elif (hop := _hop_to(plan, node, end.name)) is not None:
                    await self._see_counted(hop, node.name, fresh, fence)

    async def saw(self, seen: HopSeen, fence: Lease | None) -> None:
        """Take over what was seen of a hop in another way: a handshake from outside."""
        await self._remember()
        key = self._see(seen)
        await HOPS_SEEN.put(self._store, key, self._hops[key], fence=fence)

    async def look(self, plan: Plan, slots: Iterable[Slot]) -> None:
        """Ask every endpoint whose new certificate was not seen yet what it serves."""
        nodes = {node.name for node in plan.nodes}
        for slot in slots:
            if slot.state is CredentialState.PROVING and slot.node in nodes:
                target = _endpoint(plan.node(slot.node), slot.name)
                if target is not None:
                    await self._look_at(slot, target)

    async def write(self, fence: Lease | None) -> None:
        """Write down what was counted, with how far it was read, in one transaction."""
        now = self._clock.now()
        hops = {
            key: replace(seen, written=(seen.connections, seen.failures))
            for key, seen in self._hops.items()
            if seen.written != (seen.connections, seen.failures)
        }
        refusals = {
            key: replace(seen, written=seen.count) for key, seen in self._refusals.items() if seen.written != seen.count
        }
        observations = [*self._told, *(tally.observed(shape, count, now) for shape, count in self._tallies.items())]
        beside = {(MARKS.kind, node): MARKS.encode(mark) for node, mark in self._marks.items()}
        beside |= {(HOPS_SEEN.kind, key): HOPS_SEEN.encode(seen) for key, seen in hops.items()}
        beside |= {(REFUSALS_SEEN.kind, key): REFUSALS_SEEN.encode(seen) for key, seen in refusals.items()}
        await self._store.observe(observations, beside=beside, fence=fence)
        self._hops |= hops
        self._refusals |= refusals
        self._tallies, self._told, self._written_at = {}, [], now
        for node, mark in self._marks.items():
            await self._plane.stored(node, mark.log)

    # --- what was counted before ----------------------------------------------------------------------------------

    async def _remember(self) -> None:
        """Go on from what was written down; what an earlier life had read and not written is read again."""
        if self._written_at is not None:
            return
        self._marks = {one.value.node: one.value for one in await MARKS.all(self._store)}
        for seen in [one.value for one in await HOPS_SEEN.all(self._store)]:
            connections, failures = seen.written
            self._hops[seen.key] = replace(seen, connections=connections, failures=failures)
        for refusal in [one.value for one in await REFUSALS_SEEN.all(self._store)]:
            self._refusals[refusal_key(refusal)] = replace(refusal, count=refusal.written)
        self._written_at = self._clock.now()

    def _mark(self, node: str) -> Mark:
        return self._marks.get(node) or Mark(node)

    async def _write_if_due(self, fence: Lease | None) -> None:
        waiting = sum(one.count for one in self._tallies.values())
        due = self._written_at is None or abs(self._clock.now() - self._written_at) >= WRITE_EVERY
        if waiting >= _WAIT_AT_MOST or (due and (waiting or self._told)):
            await self.write(fence)

    # --- certificates ---------------------------------------------------------------------------------------------

    async def _look_at(self, slot: Slot, target: tuple[Address, str]) -> None:
        address, server_name = target
        answer = await self._prober.handshake(address, server_name=server_name, alpn=())
        if answer.serial is not None:
            seen = SeenOnWire(serial_text(answer.serial), answer.at, f"handshake with {address}")
            self.sightings[slot.key] = seen

    def _note_callers(self, plan: Plan, lines: list[Connection]) -> None:
        """A caller's credential is seen when its callee's proxy logs the serial that it showed."""
        nodes = {str(node.identity): node for node in plan.nodes}
        for line in lines:
            node = nodes.get(line.peer_identity)
            if node is None or line.peer_serial is None or line.failure:
                continue
            if _endpoint(node, IDENTITY) is None:  # others are asked directly, which is the stronger proof
                seen = SeenOnWire(serial_text(line.peer_serial), line.at, f"shown to {line.node}")
                self.sightings[f"{node.name}/{IDENTITY}"] = seen

    # --- connections ----------------------------------------------------------------------------------------------

    def _count(self, plan: Plan, lines: list[Connection]) -> None:
        for line in lines:
            hop = _hop_of(plan, line)
            shape = Shape(
                subject=str(hop.hop) if hop else f"? -> {line.node}",
                end=End.SERVER,
                by=f"envoy of {line.node}",
                result=tally.result_of(line.failure, finished=_finished(line)),
                version=line.version,
                cipher=line.cipher,
                group=line.group,
                peer=line.peer_identity,
                reason=explain_failure(line.failure, "", ()).code if is_refusal(line.failure) else "",
            )
            counted = tally.one(line.handshake_us)
            if hop is not None and hop.caller is None and line.version and shape.result == "ok":
                counted = replace(counted, resumed=0)  # the counters tell how many were: see _see_resumed
            self._tallies[shape] = self._tallies.get(shape, Tally()) + counted

    def _see_hops(self, plan: Plan, lines: list[Connection]) -> set[str]:
        changed: set[str] = set()
        for line in lines:
            hop = _hop_of(plan, line)
            if hop is not None:
                seen = HopSeen(
                    hop=str(hop.hop),
                    at=line.at,
                    version=line.version,
                    cipher=line.cipher,
                    group=line.group,
                    peer_identity=line.peer_identity,
                    peer_serial=serial_text(line.peer_serial) if line.peer_serial else "",
                    connections=1,
                    source=f"envoy of {line.node}",
                )
                changed.add(self._see(seen))
        return changed

    def _see_calls(self, plan: Plan, lines: list[Connection]) -> set[str]:
        """What a calling end has told of single connections: whom it met, and what failed."""
        changed: set[str] = set()
        for line in lines:
            node = next(node for node in plan.nodes if node.name == line.node)
            hop = _hop_to(plan, node, line.listener)
            if hop is None:
                continue
            failed = bool(line.failure) or failed_call(line.flags)
            if not failed and line.handshake_us is not None:
                shape = _called(hop, line.node, line.version, line.cipher, line.group)
                timed = replace(tally.one(line.handshake_us), count=0)  # the counters count
                self._tallies[shape] = self._tallies.get(shape, Tally()) + timed
            known = self._hops.get(f"{hop.hop} (client)")
            seen = HopSeen(
                hop=str(hop.hop),
                at=line.at,
                version=line.version,
                cipher=line.cipher,
                group=line.group,
                peer_identity=line.peer_identity,
                peer_serial=serial_text(line.peer_serial) if line.peer_serial else "",
                connections=0,  # the counters count; a log line is a sample
                source=f"envoy of {line.node}",
                end=End.CLIENT,
                failures=int(failed),
            )
            if failed and known is not None:
                self._hops[known.key] = replace(known, failures=known.failures + 1)
                changed.add(known.key)
            else:
                changed.add(self._see(seen))
        return changed

    async def _see_counted(self, hop: HopPlan, node: str, fresh: EndCounters, fence: Lease | None) -> None:
        """What a calling end has counted: each of these handshakes demanded the callee's exact identity."""
        # A TLS 1.3 client has finished its handshake before the server refuses it: those are in both numbers.
        good = max(0, fresh.handshakes - fresh.errors)
        if not good:
            return
        known = self._hops.get(f"{hop.hop} (client)")
        shape = _called(hop, node, most(fresh.versions), most(fresh.ciphers), most(fresh.groups))
        self._tallies[shape] = self._tallies.get(shape, Tally(resumed=0)) + Tally(good, fresh.resumed)
        key = self._see(
            HopSeen(
                hop=str(hop.hop),
                at=self._clock.now(),
                version=shape.version,
                cipher=shape.cipher,
                group=shape.group,
                peer_identity=shape.peer,
                peer_serial=known.peer_serial if known else "",
                connections=good,
                source=shape.by,
                end=End.CLIENT,
            )
        )
        await HOPS_SEEN.put(self._store, key, self._hops[key], fence=fence)

    def _see_resumed(self, plan: Plan, node: str, fresh: EndCounters) -> None:
        """Sessions that clients took up again. Only the edge gives tickets, no log tells who used one, and our own
        probes never do: so they are counted for the hop as a whole, beside the connections that its log tells of."""
        hop = next((one for one in plan.hops if (one.node, one.listener) == (node, fresh.name)), None)
        if hop is None or hop.caller is not None or not fresh.resumed:
            return
        shape = Shape(str(hop.hop), End.SERVER, f"envoy of {node}", "ok")
        self._tallies[shape] = self._tallies.get(shape, Tally()) + Tally(0, fresh.resumed)

    def _see(self, seen: HopSeen) -> str:
        """Take over what one end saw, unless it is older than what is known; connections add up in any case."""
        known = self._hops.get(seen.key)
        if known is None:
            self._told.append(_change(seen))
            if seen.end is End.SERVER:
                fields = {"hop": seen.hop, "version": seen.version, "group": seen.group}
                self._report(Event("hop.encrypted", seen.at, dict(fields)))
        else:
            total = seen.connections + known.connections
            failures = seen.failures + known.failures
            if seen.at < known.at <= self._clock.now():  # it began long ago and ended only now
                seen = replace(known, connections=total, failures=failures)
            else:
                if _looks(seen) != _looks(known):
                    self._told.append(_change(seen))
                seen = replace(seen, connections=total, failures=failures, written=known.written)
        self._hops[seen.key] = seen
        return seen.key

    # --- refusals -------------------------------------------------------------------------------------------------

    def _see_refusals(self, lines: list[Connection]) -> set[str]:
        changed: set[str] = set()
        for line in lines:
            if line.end is End.SERVER:
                self._reasons[line.peer_address] = line.failure
            seen = RefusalSeen(
                node=line.node,
                listener=line.listener,
                peer_identity=line.peer_identity,
                failure=line.failure or line.flags,
                count=1,
                first_at=line.at,
                last_at=line.at,
                last_peer=line.peer_address,
                end=line.end,
                joined=self._reasons.pop(line.local_address, "") if line.end is End.CLIENT else "",
            )
            key = refusal_key(seen)
            known = self._refusals.get(key)
            if known is None:
                self._told.append(told(seen))
                fields = {"node": seen.node, "who": seen.peer_identity, "why": seen.failure}
                self._report(Event("refused" if seen.end is End.SERVER else "call.failed", seen.last_at, dict(fields)))
            self._refusals[key] = merged(known, seen) if known else seen
            changed.add(key)
        for address in list(self._reasons)[: max(0, len(self._reasons) - self._refusals_kept)]:
            del self._reasons[address]
        return changed

    async def _keep_refusals(self, changed: set[str], fence: Lease | None) -> None:
        for key in changed:
            await REFUSALS_SEEN.put(self._store, key, self._refusals[key], fence=fence)
        oldest = sorted(self._refusals, key=lambda key: (self._refusals[key].last_at, key))
        for key in oldest[: max(0, len(oldest) - self._refusals_kept)]:
            del self._refusals[key]
            await self._store.delete(REFUSALS_SEEN.kind, key, fence=fence)


def _looks(seen: HopSeen) -> tuple[str, str, str, str]:
    return seen.version, seen.cipher, seen.group, seen.peer_identity


def _change(seen: HopSeen) -> Observation:
    source = Source.SERVER if seen.end is End.SERVER else Source.CLIENT
    body: dict[str, Plain] = {
        "version": seen.version,
        "cipher": seen.cipher,
        "group": seen.group,
        "peer": seen.peer_identity,
        "serial": seen.peer_serial,
    }
    return Observation(seen.at, Kind.POSTURE, source, seen.hop, seen.source, Verdict.PASS, body)


def _called(hop: HopPlan, node: str, version: str, cipher: str, group: str) -> Shape:
    """The shape of calls that went well at their calling end."""
    peer = str(hop.callee)
    return Shape(str(hop.hop), End.CLIENT, f"envoy of {node}", "ok", version, cipher, group, peer)


def _endpoint(node: NodePlan, credential: str) -> tuple[Address, str] | None:
    """Where a credential is served, and the server name to ask for; None if the node only shows it as a caller."""
    for listener in node.listeners:
        if isinstance(listener, Inbound) and credential == IDENTITY:
            return listener.address, ""
        if isinstance(listener, EdgeTls):
            for host in listener.hosts:
                if host.credential == credential:
                    return listener.address, host.host.replace("*", "any", 1)
    return None


def _finished(line: Connection) -> bool:
    """Whether the serving end's handshake came to a good end. Version and group are logged from the ServerHello on, so
    they prove nothing. Envoy tells the time of the end over HTTP; over TCP it goes on to the app at once; and it only
    names a certificate with no failure if it took it."""
    shaken = line.handshake_us is not None or line.peer_serial is not None
    return not line.failure and (line.reached or (bool(line.version) and shaken))


def _hop_of(plan: Plan, line: Connection) -> HopPlan | None:
    for hop in plan.hops:
        known = hop.caller is None or str(hop.caller) == line.peer_identity
        if known and (hop.node, hop.listener) == (line.node, line.listener):
            return hop
    return None


def _hop_to(plan: Plan, node: NodePlan, upstream: str) -> HopPlan | None:
    """The hop that one of a node's upstreams is the calling end of; None for its own app."""
    wanted = next((one for one in node.upstreams if one.name == upstream and one.callee is not None), None)
    if wanted is None:
        return None
    return next((hop for hop in plan.hops if hop.caller == node.identity and hop.callee == wanted.callee), None)


def by_hop(seen: Iterable[HopSeen], end: End = End.SERVER) -> Mapping[str, HopSeen]:
    """Sightings of one end by hop name."""
    return {one.hop: one for one in seen if one.end is end}
