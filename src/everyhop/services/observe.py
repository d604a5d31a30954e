"""Observe: what the proxies saw, and what an endpoint serves when asked from outside.

Rules: a fact has a date and a source. A hop is what its serving end saw last: version, group, and the identity the
caller proved. Refusals are kept, joined and counted by who was refused and why, and their number is bounded. What
everyhop's own probes cause is marked by their source address and never counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from everyhop.core.chain import serial_text
from everyhop.core.hop import Address
from everyhop.core.lifecycle import CredentialState, SeenOnWire, Slot
from everyhop.core.plan import IDENTITY, EdgeTls, HopPlan, Inbound, NodePlan, Plan
from everyhop.core.refusal import is_refusal
from everyhop.ports import Clock, Connection, Event, Lease, Plane, Prober, Reporter, Store
from everyhop.services.records import Records

PROBE_SOURCE = "127.69.72.1"
"""Where everyhop's own probes come from: a loopback address that nobody else uses, so that a log line tells them."""


@dataclass(frozen=True, slots=True)
class HopSeen:
    """What was last seen of a hop, by its serving end."""

    hop: str
    at: datetime
    version: str
    cipher: str
    group: str
    peer_identity: str
    peer_serial: str
    connections: int
    source: str


@dataclass(frozen=True, slots=True)
class RefusalSeen:
    """Somebody who was refused at a port, how often, and why."""

    node: str
    listener: str
    peer_identity: str
    failure: str
    count: int
    first_at: datetime
    last_at: datetime
    last_peer: str


HOPS_SEEN = Records("hop-seen", HopSeen)
REFUSALS_SEEN = Records("refusal-seen", RefusalSeen)


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

    async def collect(self, plan: Plan, fence: Lease | None) -> int:
        """Read what the proxies logged since the last time; returns how many connections there were."""
        lines: list[Connection] = []
        for node in plan.nodes:
            lines += await self._plane.connections(node.name)
        # A proxy logs a connection when it ends, and each has its own log: the order of time is made here.
        lines.sort(key=lambda line: line.at)
        foreign = [line for line in lines if not line.peer_address.startswith(PROBE_SOURCE + ":")]
        self._note_callers(plan, foreign)
        await self._keep_hops(plan, [line for line in foreign if not line.failure and line.version], fence)
        await self._keep_refusals([line for line in foreign if is_refusal(line.failure)], fence)
        return len(foreign)

    async def look(self, plan: Plan, slots: Iterable[Slot]) -> None:
        """Ask every endpoint whose new certificate was not seen yet what it serves."""
        nodes = {node.name for node in plan.nodes}
        for slot in slots:
            if slot.state is CredentialState.PROVING and slot.node in nodes:
                target = _endpoint(plan.node(slot.node), slot.name)
                if target is not None:
                    await self._look_at(slot, target)

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

    async def _keep_hops(self, plan: Plan, lines: list[Connection], fence: Lease | None) -> None:
        newest: dict[str, tuple[Connection, int]] = {}
        for line in lines:
            hop = _hop_of(plan, line)
            if hop is not None:
                newest[str(hop.hop)] = (line, newest.get(str(hop.hop), (line, 0))[1] + 1)
        for name, (line, count) in newest.items():
            known = await HOPS_SEEN.get(self._store, name)
            if known is None:
                self._report(
                    Event("hop.encrypted", line.at, {"hop": name, "version": line.version, "group": line.group})
                )
            seen = HopSeen(
                hop=name,
                at=line.at,
                version=line.version,
                cipher=line.cipher,
                group=line.group,
                peer_identity=line.peer_identity,
                peer_serial=serial_text(line.peer_serial) if line.peer_serial else "",
                connections=count + (known.value.connections if known else 0),
                source=f"envoy of {line.node}",
            )
            if known is not None and line.at < known.value.at <= self._clock.now():
                seen = replace(known.value, connections=seen.connections)  # it began long ago and ended only now
            await HOPS_SEEN.put(self._store, name, seen, fence=fence)

    async def _keep_refusals(self, lines: list[Connection], fence: Lease | None) -> None:
        joined: dict[str, RefusalSeen] = {}
        for line in lines:
            seen = RefusalSeen(
                line.node, line.listener, line.peer_identity, line.failure, 1, line.at, line.at, line.peer_address
            )
            key = _refusal_key(seen)
            known = joined.get(key)
            joined[key] = _merged(known, seen) if known else seen
        if not joined:
            return
        for key, seen in joined.items():
            before = await REFUSALS_SEEN.get(self._store, key)
            await REFUSALS_SEEN.put(self._store, key, _merged(before.value, seen) if before else seen, fence=fence)
            if before is None:
                self._report(
                    Event("refused", seen.last_at, {"node": seen.node, "who": seen.peer_identity, "why": seen.failure})
                )
        stored = sorted((one.value.last_at, _refusal_key(one.value)) for one in await REFUSALS_SEEN.all(self._store))
        for _, key in stored[: max(0, len(stored) - self._refusals_kept)]:
            await self._store.delete(REFUSALS_SEEN.kind, key, fence=fence)


def _merged(before: RefusalSeen, after: RefusalSeen) -> RefusalSeen:
    return replace(after, count=before.count + after.count, first_at=before.first_at)


def _refusal_key(seen: RefusalSeen) -> str:
    """One record for one cause: addresses and serials of a peer are not part of it, so that a scanner fills nothing."""
    return "|".join([seen.node, seen.listener, seen.peer_identity[:200], seen.failure[:200]])


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


def _hop_of(plan: Plan, line: Connection) -> HopPlan | None:
    for hop in plan.hops:
        known = hop.caller is None or str(hop.caller) == line.peer_identity
        if known and (hop.node, hop.listener) == (line.node, line.listener):
            return hop
    return None


def by_hop(seen: Iterable[HopSeen]) -> Mapping[str, HopSeen]:
    """Sightings by hop name."""
    return {one.hop: one for one in seen}
