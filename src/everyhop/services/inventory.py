"""Inventory: what there is and how it stands, as facts with dates.

Rules: read-only, and from the store alone, so that it works whether or not the control loop runs. A posture is *seen*
only if it was observed lately; otherwise it is unknown, whatever the plan says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from everyhop.core.chain import Authority, Trust
from everyhop.core.flow import Flow
from everyhop.core.hop import End, Posture
from everyhop.core.lifecycle import CredentialState, Rotation, Slot
from everyhop.core.plan import HopPlan, Plan
from everyhop.core.topology import Topology
from everyhop.errors import EveryhopError
from everyhop.ports import Store
from everyhop.services.apply import planned
from everyhop.services.flows import FLOWS
from everyhop.services.observe import HOPS_SEEN, HopSeen, by_hop
from everyhop.services.operate import BEAT_KEY, BEATS, Beat
from everyhop.services.records import AUTHORITIES, ROTATIONS, SLOTS, TRUST, TRUST_KEY
from everyhop.services.supervise import PROCESSES, ProcessState

_HEARTBEATS_MISSED = 4
_AT_LEAST = timedelta(seconds=15)
_BEAT_LIMIT = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class EndStatus:
    """What one end of a hop has seen last."""

    end: str
    """``server`` or ``client``."""
    at: datetime
    version: str
    cipher: str
    group: str
    peer: str
    """The identity that the other side proved to this end."""
    peer_serial: str
    connections: int
    """Since counting began."""
    failures: int
    source: str


@dataclass(frozen=True, slots=True)
class HopStatus:
    """One hop: what it should be, what was seen, by whom and when."""

    hop: str
    wanted: Posture
    seen: Posture
    ok: bool
    address: str
    owner: str
    criticality: str
    version: str = ""
    cipher: str = ""
    group: str = ""
    peer: str = ""
    """The identity that the caller proved."""
    connections: int = 0
    seen_at: datetime | None = None
    source: str = ""
    note: str = ""
    ends: tuple[EndStatus, ...] = ()
    """What each end saw; the serving end first."""


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """One certificate that a proxy serves or shows."""

    name: str
    node: str
    owner: str
    names: tuple[str, ...]
    state: CredentialState
    serial: str
    authority: str
    issued_at: datetime | None
    not_after: datetime | None
    renews_at: datetime
    seen_at: datetime | None
    generation: int
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """Everything at one moment."""

    at: datetime
    trust_domain: str
    environment: str
    running: bool
    state: str
    fault: str
    hops: tuple[HopStatus, ...]
    certificates: tuple[CertificateStatus, ...]
    processes: tuple[ProcessState, ...]
    authorities: tuple[Authority, ...]
    trust: Trust | None
    rotation: Rotation | None
    """The one under way, or the last one."""
    plaintext: tuple[Flow, ...] = ()
    """Plaintext flows beside the mesh that go on now and that no exception covers."""

    @property
    def ok(self) -> bool:
        """True if it runs, every hop was seen as it should be, and nothing goes past the mesh in the clear."""
        return self.running and not self.fault and not self.plaintext and all(hop.ok for hop in self.hops)


async def status(store: Store, data: str, now: datetime, *, overdue: timedelta = timedelta(seconds=30)) -> Status:
    """The state of everything; raises ``not-running`` if nothing was ever applied here.

    A renewal that waits longer than ``overdue`` for its acknowledgement or its sighting is called so.
    """
    found = await planned(store, data)
    if found is None:
        raise EveryhopError("not-running", f"nothing was applied in {data} yet", hint="`everyhop up FILE` begins")
    topology, plan = found
    beat = await BEATS.get(store, BEAT_KEY)
    running = beat is not None and beat.value.state != "stopped" and abs(now - beat.value.at) <= _BEAT_LIMIT
    sightings = [one.value for one in await HOPS_SEEN.all(store)]
    seen, called = by_hop(sightings), by_hop(sightings, End.CLIENT)
    plaintext = tuple(one.value for one in await FLOWS.all(store) if one.value.counts and not one.value.ended_at)
    rotations = [one.value for one in await ROTATIONS.all(store)]
    trust = await TRUST.get(store, TRUST_KEY)
    return Status(
        at=now,
        trust_domain=str(topology.trust_domain),
        environment=topology.environment,
        running=running,
        state=_state(beat.value if beat else None, running),
        fault=beat.value.fault if beat else "",
        hops=tuple(
            _beside(_hop(hop, seen.get(str(hop.hop)), called.get(str(hop.hop)), topology, now), plaintext)
            for hop in plan.hops
        ),
        certificates=await _certificates(store, _credentials(plan), now - overdue),
        processes=tuple(one.value for one in await PROCESSES.all(store)),
        authorities=tuple(one.value for one in await AUTHORITIES.all(store)),
        trust=trust.value if trust else None,
        rotation=rotations[-1] if rotations else None,
        plaintext=plaintext,
    )


def _beside(hop: HopStatus, plaintext: Sequence[Flow]) -> HopStatus:
    """A hop whose caller also reaches its callee past both proxies is not encrypted, whatever the proxies see."""
    flow = next((one for one in plaintext if f"{one.caller} -> {one.callee}" == hop.hop), None)
    if flow is None or hop.wanted is Posture.EXEMPT:
        return hop
    note = f"{flow.caller} calls {flow.server} directly: {flow.evidence}"
    return replace(hop, seen=Posture.PLAINTEXT, ok=False, note=note)


def _credentials(plan: Plan) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Owner and names of every planned credential, by slot key."""
    return {
        f"{node.name}/{one.name}": (one.owner, (*((str(one.identity),) if one.identity else ()), *one.dns_names))
        for node in plan.nodes
        for one in node.credentials
    }


def _state(beat: Beat | None, running: bool) -> str:
    if beat is None or beat.state == "stopped":
        return "stopped"
    return beat.state if running else "lost"


def _hop(plan: HopPlan, seen: HopSeen | None, called: HopSeen | None, topology: Topology, now: datetime) -> HopStatus:
    limit = max(topology.policy.heartbeat * _HEARTBEATS_MISSED, _AT_LEAST)
    posture, note = _seen_posture(plan, seen, now, limit)
    exception = topology.exception_for(plan.hop)
    if exception is not None:
        note = f"exempt until {exception.until}: {plan.reason}"
        if exception.until < now.date():
            note = f"the exemption ended on {exception.until}"
    return HopStatus(
        hop=str(plan.hop),
        wanted=plan.posture,
        seen=posture,
        ok=posture is plan.posture and not (exception and exception.until < now.date()),
        address=str(plan.address),
        owner=plan.owner,
        criticality=plan.criticality,
        version=seen.version if seen else "",
        cipher=seen.cipher if seen else "",
        group=seen.group if seen else "",
        peer=seen.peer_identity if seen else "",
        connections=seen.connections if seen else 0,
        seen_at=seen.at if seen else None,
        source=seen.source if seen else "",
        note=note,
        ends=tuple(_end(one) for one in (seen, called) if one is not None),
    )


def _end(seen: HopSeen) -> EndStatus:
    return EndStatus(
        end=seen.end.value,
        at=seen.at,
        version=seen.version,
        cipher=seen.cipher,
        group=seen.group,
        peer=seen.peer_identity,
        peer_serial=seen.peer_serial,
        connections=seen.connections,
        failures=seen.failures,
        source=seen.source,
    )


def _seen_posture(plan: HopPlan, seen: HopSeen | None, now: datetime, limit: timedelta) -> tuple[Posture, str]:
    if plan.posture is Posture.EXEMPT:
        return Posture.EXEMPT, ""
    if plan.posture is Posture.PASSTHROUGH:
        return Posture.PASSTHROUGH, "the service's own TLS; the edge sees only the name"
    if seen is None:
        return Posture.UNKNOWN, "not seen yet"
    if abs(now - seen.at) > limit:
        return Posture.UNKNOWN, f"last seen at {seen.at:%Y-%m-%d %H:%M:%S} UTC"
    if plan.posture is Posture.MTLS:
        return (Posture.MTLS if seen.peer_identity == str(plan.caller) else Posture.TLS), ""
    return Posture.TLS, ""


async def _certificates(
    store: Store, planned_ones: dict[str, tuple[str, tuple[str, ...]]], overdue_since: datetime
) -> tuple[CertificateStatus, ...]:
    slots = [one.value for one in await SLOTS.all(store) if one.value.key in planned_ones]
    return tuple(_certificate(slot, *planned_ones[slot.key], late=slot.since < overdue_since) for slot in slots)


def _certificate(slot: Slot, owner: str, names: tuple[str, ...], *, late: bool) -> CertificateStatus:
    held = slot.offered
    waiting = late and slot.state in (CredentialState.DEPLOYING, CredentialState.PROVING)
    overdue = f"overdue: {slot.state} since {slot.since:%Y-%m-%d %H:%M:%S} UTC" if waiting else ""
    return CertificateStatus(
        name=slot.key,
        node=slot.node,
        owner=owner,
        names=names,
        state=slot.state,
        serial=held.serial if held else "",
        authority=held.authority if held else "",
        issued_at=held.issued_at if held else None,
        not_after=held.not_after if held else None,
        renews_at=slot.due_at,
        seen_at=slot.seen_at,
        generation=slot.generation,
        fault=slot.fault or overdue,
    )
