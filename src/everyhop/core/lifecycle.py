"""The lives of credentials and of authorities, as tables, and the decision when to renew.

Rules: states are tables and the diagrams in the docs are drawn from them; an event that a state does not know is an
error, not a shrug. Renewal is decided from stored state and the wall clock alone, so sleep, clock jumps and restarts
change nothing. A renewal closes only with a :class:`SeenOnWire`: the endpoint itself served the new certificate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Generic, TypeVar

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class StateTable(Generic[S, E]):
    """A state machine as data: which event leads from which state to which."""

    name: str
    purpose: str
    initial: S
    final: frozenset[S]
    transitions: Mapping[tuple[S, E], S]

    def after(self, state: S, event: E) -> S:
        """The state after ``event``; raises ``ValueError`` if the table does not know it there."""
        try:
            return self.transitions[state, event]
        except KeyError:
            raise ValueError(
                f"{self.name}: expected one of {self.events(state)} in state {state}, got {event}"
            ) from None

    def events(self, state: S) -> list[str]:
        """The events that a state knows."""
        return [str(event) for known, event in self.transitions if known == state]


class CredentialState(StrEnum):
    """Where a slot (one credential of one node) stands."""

    ISSUING = "issuing"
    """A certificate is wanted; key and request id are chosen and stored."""
    DEPLOYING = "deploying"
    """Issued; pushed to the proxy, whose acknowledgement is awaited."""
    PROVING = "proving"
    """Acknowledged; not yet seen on the wire."""
    SERVED = "served"
    """Seen on the wire: the renewal is closed."""
    FAILED = "failed"
    """The proxy or the authority refused; the former certificate stays in use until the retry."""


class CredentialEvent(StrEnum):
    """What can happen to a slot."""

    DUE = "due"
    ISSUED = "issued"
    ACKNOWLEDGED = "acknowledged"
    SEEN = "seen on the wire"
    REFUSED = "refused"
    RETRY = "retry"


_C, _CE = CredentialState, CredentialEvent
CREDENTIAL: StateTable[CredentialState, CredentialEvent] = StateTable(
    name="credential",
    purpose="the renewal of one certificate, from due to served",
    initial=_C.ISSUING,
    final=frozenset({_C.SERVED}),
    transitions=MappingProxyType(
        {
            (_C.ISSUING, _CE.ISSUED): _C.DEPLOYING,
            (_C.ISSUING, _CE.REFUSED): _C.FAILED,
            (_C.DEPLOYING, _CE.ACKNOWLEDGED): _C.PROVING,
            (_C.DEPLOYING, _CE.REFUSED): _C.FAILED,
            (_C.DEPLOYING, _CE.DUE): _C.ISSUING,
            (_C.PROVING, _CE.SEEN): _C.SERVED,
            (_C.PROVING, _CE.REFUSED): _C.FAILED,
            (_C.PROVING, _CE.DUE): _C.ISSUING,
            (_C.SERVED, _CE.DUE): _C.ISSUING,
            (_C.FAILED, _CE.RETRY): _C.ISSUING,
        }
    ),
)


class RotationState(StrEnum):
    """Where the rotation of an authority stands."""

    CREATING = "creating"
    """The new authority's key and certificate are being made."""
    DISTRIBUTING = "distributing"
    """Old and new root are pushed to every proxy; every acknowledgement is counted."""
    OVERLAPPING = "overlapping"
    """Everybody trusts both; clients outside the mesh have time to fetch the new root."""
    REISSUING = "reissuing"
    """The new authority signs; every certificate is renewed and seen on the wire."""
    RETIRING = "retiring"
    """Nothing under the old authority is served; the old root is taken out of every bundle."""
    DONE = "done"
    """Every proxy acknowledged the bundle without the old root."""
    GIVEN_UP = "given up"
    """The new authority grew old, or too narrow, before it was in use everywhere: another rotation takes over."""


class RotationEvent(StrEnum):
    """What moves a rotation on."""

    ROOT_CREATED = "new root created"
    INTERMEDIATE_CREATED = "new intermediate created"
    ALL_TRUST_BOTH = "all acknowledged both roots"
    OVERLAP_OVER = "overlap over"
    ALL_SERVE_NEW = "all seen serving the new"
    ALL_DROPPED_OLD = "all acknowledged without the old"
    OUTLIVED = "outlived"


_R, _RE = RotationState, RotationEvent
ROTATION: StateTable[RotationState, RotationEvent] = StateTable(
    name="rotation",
    purpose="the change of an intermediate or a root, without a failed request",
    initial=_R.CREATING,
    final=frozenset({_R.DONE, _R.GIVEN_UP}),
    transitions=MappingProxyType(
        {
            (_R.CREATING, _RE.ROOT_CREATED): _R.DISTRIBUTING,
            (_R.CREATING, _RE.INTERMEDIATE_CREATED): _R.REISSUING,
            (_R.DISTRIBUTING, _RE.ALL_TRUST_BOTH): _R.OVERLAPPING,
            (_R.OVERLAPPING, _RE.OVERLAP_OVER): _R.REISSUING,
            (_R.REISSUING, _RE.ALL_SERVE_NEW): _R.RETIRING,
            (_R.RETIRING, _RE.ALL_DROPPED_OLD): _R.DONE,
            **{
                (state, _RE.OUTLIVED): _R.GIVEN_UP
                for state in (_R.CREATING, _R.DISTRIBUTING, _R.OVERLAPPING, _R.REISSUING, _R.RETIRING)
            },
        }
    ),
)

TABLES: Mapping[str, StateTable[CredentialState, CredentialEvent] | StateTable[RotationState, RotationEvent]] = (
    MappingProxyType({"credential": CREDENTIAL, "rotation": ROTATION})
)


@dataclass(frozen=True, slots=True)
class Held:
    """One certificate that a slot holds, and the key that goes with it."""

    request_id: str
    key_id: str
    serial: str
    """Hexadecimal."""
    authority: str
    certificate: str
    """PEM: leaf, then intermediates."""
    issued_at: datetime
    not_before: datetime
    """Earlier than ``issued_at`` by the backdate."""
    not_after: datetime
    began_at: datetime | None = None
    """When the renewal began that brought it; None: nobody wrote it down."""
    acknowledged_at: datetime | None = None
    """When the proxy had taken it."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One credential of one node: what it holds, what is on its way, when it is due."""

    node: str
    name: str
    state: CredentialState
    generation: int
    since: datetime
    """When this state began."""
    request_id: str
    """Names the certificate of this generation: whoever asks the gate for it twice gets the same one."""
    due_at: datetime
    """When the next renewal is due."""
    shape: str = ""
    """A digest of the profile and names that are wanted: a change of the topology makes a renewal due."""
    current: Held | None = None
    """What was last seen on the wire."""
    pending: Held | None = None
    """What is being deployed."""
    asked: bool = False
    """Somebody asked for a renewal now; cleared when the next generation begins."""
    attempts: int = 0
    retry_at: datetime | None = None
    fault: str = ""
    seen_at: datetime | None = None

    @property
    def key(self) -> str:
        """The slot's name among all slots."""
        return f"{self.node}/{self.name}"

    @property
    def offered(self) -> Held | None:
        """What the proxy should serve now: the pending one once issued, otherwise the current one."""
        if self.state in (CredentialState.DEPLOYING, CredentialState.PROVING):
            return self.pending
        return self.current

    def moved(self, event: CredentialEvent, now: datetime) -> Slot:
        """The slot after an event, by the table."""
        return replace(self, state=CREDENTIAL.after(self.state, event), since=now)


@dataclass(frozen=True, slots=True)
class SeenOnWire:
    """The observation that closes a renewal: who served or showed the serial, when, and how we know."""

    serial: str
    at: datetime
    source: str


@dataclass(frozen=True, slots=True)
class RenewalPolicy:
    """When a certificate is renewed."""

    lifetime: timedelta
    renew_at: float = 0.5
    """Fraction of its life after which a certificate is renewed."""
    jitter: float = 0.1
    """Half-width of the random shift, as a fraction of the life: a fleet does not renew in one second."""
    first_retry: timedelta = timedelta(seconds=2)
    last_retry: timedelta = timedelta(minutes=10)


def due_at(issued_at: datetime, not_after: datetime, policy: RenewalPolicy, fraction: float) -> datetime:
    """When a certificate falls due: ``renew_at`` of its life, shifted by up to ``jitter`` either way.

    ``fraction`` is a random number in [0, 1). The backdate is no part of the life that is divided here.
    """
    share = policy.renew_at + policy.jitter * (2 * fraction - 1)
    return issued_at + (not_after - issued_at) * min(max(share, 0.05), 0.95)


_DEAD_RETRY = timedelta(seconds=30)


def retry_delay(attempts: int, policy: RenewalPolicy, remaining: timedelta) -> timedelta:
    """How long to wait after the n-th failure in a row: doubling, bounded, at least a second.

    While a certificate lives, never longer than a quarter of what is left; when none does, never longer than half a
    minute: soon enough for a repair, seldom enough for the audit log.
    """
    ladder = min(policy.first_retry * 2 ** min(attempts, 12), policy.last_retry)
    limit = remaining / 4 if remaining > timedelta(0) else _DEAD_RETRY
    return max(min(ladder, limit), timedelta(seconds=1))


class Decision(StrEnum):
    """What to do with a slot now."""

    WAIT = "wait"
    ISSUE = "issue"
    CONTINUE = "continue"
    """Something is under way: go on with it."""


def renewal_decision(slot: Slot, shape: str, signer: str, now: datetime) -> tuple[Decision, str]:
    """What to do with a slot now, and why. Pure: the wall clock against stored state.

    ``shape`` is the digest of what the topology wants, ``signer`` the authority that signs now.
    """
    held = slot.pending if slot.state in (CredentialState.DEPLOYING, CredentialState.PROVING) else slot.current
    if slot.state is CredentialState.ISSUING:
        return Decision.CONTINUE, "issuing"
    if slot.asked and slot.state in (CredentialState.FAILED, CredentialState.SERVED):
        return Decision.ISSUE, "asked for"
    if slot.state is CredentialState.FAILED:
        # Before `since` the clock has gone back: a moment to retry at that lies far ahead says nothing then.
        if slot.retry_at is None or not slot.since <= now < slot.retry_at:
            return Decision.ISSUE, f"retry {slot.attempts} after: {slot.fault}"
        return Decision.WAIT, f"retry at {slot.retry_at.isoformat(timespec='seconds')}"
    if held is None:
        return Decision.ISSUE, "nothing held"
    if now < held.not_before:
        return Decision.ISSUE, "the clock went back before the certificate's life"
    if now >= held.not_after:
        return Decision.ISSUE, "expired"
    if slot.shape != shape:
        return Decision.ISSUE, "its names or profile changed"
    if held.authority != signer:
        return Decision.ISSUE, f"signed by {held.authority}, which signs no more"
    if now >= slot.due_at:  # also one that nobody has seen: it must not grow old while it waits for proof
        return Decision.ISSUE, "due"
    if slot.state is CredentialState.SERVED:
        return Decision.WAIT, "not due"
    return Decision.CONTINUE, str(slot.state)


def close_renewal(slot: Slot, seen: SeenOnWire, now: datetime) -> Slot:
    """Close a renewal with the proof that the new serial was served. Raises ``ValueError`` for another serial."""
    if slot.pending is None or slot.pending.serial != seen.serial:
        raise ValueError(f"expected to see the serial that {slot.key} is deploying, got {seen.serial}")
    closed = slot.moved(CredentialEvent.SEEN, now)
    return replace(closed, current=slot.pending, pending=None, attempts=0, retry_at=None, fault="", seen_at=seen.at)


@dataclass(frozen=True, slots=True)
class Rotation:
    """One rotation of an authority: where it stands and how it came there."""

    kind: str
    """``intermediate`` or ``root``."""
    number: int
    state: RotationState
    requested_at: datetime
    since: datetime
    reason: str
    new_intermediate: str
    """Names are chosen when the rotation is asked for, so that no repeated step makes a second authority."""
    new_root: str = ""
    """Empty: the root stays."""
    overlap: timedelta = timedelta(0)
    progress: str = ""
    """For people: what is awaited."""
    history: tuple[tuple[str, str], ...] = ()
    """States left behind, with the moment and the proof of leaving."""

    def moved(self, event: RotationEvent, now: datetime, proof: str) -> Rotation:
        """The rotation after an event, by the table; ``proof`` says what was counted."""
        left = (f"{self.state}", f"{now.isoformat(timespec='milliseconds')} {event}: {proof}")
        return replace(
            self, state=ROTATION.after(self.state, event), since=now, progress="", history=(*self.history, left)
        )

    @property
    def finished(self) -> bool:
        """True once nothing is left to do."""
        return self.state in ROTATION.final
