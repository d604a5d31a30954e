"""What an evidence pack says: every claim with the observations that it rests on.

Rules: a claim is made of cited observations and of nothing else; it carries their numbers in the stream. An answer
that passes or fails cannot exist without a citation. What the topology declares stands apart: it is what should be,
and proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from everyhop.core.observation import Observation, Stream
from everyhop.core.verdict import Verdict

Counts = Mapping[str, int]


def _none() -> dict[str, int]:
    return {}


@dataclass(frozen=True, slots=True)
class Cites:
    """The observations that a claim rests on, by their sequence in each stream, ascending."""

    record: tuple[int, ...] = ()
    detail: tuple[int, ...] = ()

    @classmethod
    def of(cls, observations: Iterable[Observation]) -> Cites:
        """Cite observations, each once."""
        found: dict[Stream, set[int]] = {stream: set() for stream in Stream}
        for one in observations:
            found[one.stream].add(one.sequence)
        return cls(tuple(sorted(found[Stream.RECORD])), tuple(sorted(found[Stream.DETAIL])))

    def __bool__(self) -> bool:
        return bool(self.record or self.detail)


# --- what should be ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeclaredHop:
    """A hop of the topology."""

    hop: str
    wanted: str
    owner: str
    criticality: str
    address: str
    caller: str = ""
    """The identity that the serving end must see; empty: none is asked for."""
    callee: str = ""
    """The identity that the calling end must see."""


@dataclass(frozen=True, slots=True)
class DeclaredException:
    """An exception of the topology."""

    hop: str
    reason: str
    owner: str
    until: date


@dataclass(frozen=True, slots=True)
class Declared:
    """What the topology asks for. It is signed with the pack; no observation proves it."""

    trust_domain: str
    environment: str
    topology_sha256: str
    applied_at: datetime
    leaf_lifetime_seconds: int
    key_exchange: tuple[str, ...]
    hops: tuple[DeclaredHop, ...]
    exceptions: tuple[DeclaredException, ...] = ()


@dataclass(frozen=True, slots=True)
class Period:
    """From (exclusive) to (inclusive)."""

    begin: datetime
    end: datetime


# --- claims -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EndClaim:
    """What one end of a hop has seen in the period."""

    end: str
    by: str
    connections: int
    """That came to be as they should."""
    resumed: int | None
    """None: this end cannot tell."""
    abandoned: int
    """That ended before their handshake."""
    refused: Counts = field(default_factory=_none)
    """By result and reason."""
    versions: Counts = field(default_factory=_none)
    ciphers: Counts = field(default_factory=_none)
    groups: Counts = field(default_factory=_none)
    peers: Counts = field(default_factory=_none)
    unencrypted: int = 0
    """Connections that came to be without TLS."""
    hours: int = 0
    """In how many hours of the period it told anything."""
    first_at: datetime | None = None
    last_at: datetime | None = None
    cites: Cites = Cites()


@dataclass(frozen=True, slots=True)
class HopClaim:
    """One hop: what should be, what both ends have seen, and the verdict."""

    hop: str
    wanted: str
    owner: str
    criticality: str
    verdict: Verdict
    statement: str
    ends: tuple[EndClaim, ...]
    unknown_hours: int
    """Hours of the period in which neither end told anything."""
    cites: Cites


@dataclass(frozen=True, slots=True)
class RefusalClaim:
    """Strangers who were refused at a service: no hop of the topology is theirs."""

    service: str
    refused: Counts
    """By result and reason."""
    plaintext: int
    """Attempts without TLS that were refused."""
    peers: tuple[str, ...]
    """Identities that were shown."""
    cites: Cites


@dataclass(frozen=True, slots=True)
class FlowClaim:
    """A flow of the host that was plaintext, or of which nobody could tell, at any moment of the period."""

    flow: str
    caller: str
    callee: str
    encryption: str
    """The worst that was seen."""
    now: str
    """The newest class, or ``ended``."""
    owner: str
    excused: str
    excused_until: str
    evidence: str
    cites: Cites


@dataclass(frozen=True, slots=True)
class EventClaim:
    """Something that happened to a certificate or an authority."""

    at: datetime
    subject: str
    event: str
    what: str
    verdict: Verdict
    cites: Cites


@dataclass(frozen=True, slots=True)
class FindingClaim:
    """A rule's newest verdict on a subject."""

    rule: str
    subject: str
    verdict: Verdict
    severity: str
    owner: str
    statement: str
    excused: str
    at: datetime
    cites: Cites


@dataclass(frozen=True, slots=True)
class AlertClaim:
    """An alert: when it fired, and whether it ended."""

    alert: str
    subject: str
    severity: str
    owner: str
    summary: str
    firing: bool
    """Its newest state at the end of the period."""
    times: int
    """How often it fired in the period."""
    at: datetime
    cites: Cites


@dataclass(frozen=True, slots=True)
class IndicatorClaim:
    """A service level indicator over the period, hour by hour."""

    sli: str
    name: str
    scope: str
    unit: str
    value: float | None
    """The newest."""
    objective: float | None
    verdict: Verdict
    """Of the newest value."""
    hours: Counts
    """How many hourly values had which verdict."""
    cites: Cites


@dataclass(frozen=True, slots=True)
class BlindClaim:
    """An interval in which a source could not look: nothing is known of it."""

    source: str
    subject: str
    since: str
    until: str
    reason: str
    cites: Cites


@dataclass(frozen=True, slots=True)
class CoverageClaim:
    """In how many hours of the period a source told anything; the others are unknown."""

    source: str
    hours: int
    of: int
    cites: Cites


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to an auditor's question."""

    code: str
    question: str
    verdict: Verdict
    statement: str
    cites: Cites = Cites()

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for a pass or a fail that rests on no observation."""
        if self.verdict in (Verdict.PASS, Verdict.FAIL) and not self.cites:
            raise ValueError(f"{self.code}: expected an observation behind {self.verdict.value!r}, got none")


@dataclass(frozen=True, slots=True)
class Claims:
    """Everything that a pack says about a period."""

    hops: tuple[HopClaim, ...] = ()
    refusals: tuple[RefusalClaim, ...] = ()
    flows: tuple[FlowClaim, ...] = ()
    events: tuple[EventClaim, ...] = ()
    findings: tuple[FindingClaim, ...] = ()
    alerts: tuple[AlertClaim, ...] = ()
    indicators: tuple[IndicatorClaim, ...] = ()
    coverage: tuple[CoverageClaim, ...] = ()
    blind: tuple[BlindClaim, ...] = ()
    checklist: tuple[Answer, ...] = ()
