"""What alerts look at: everything that matters at one moment, small and typed.

Rules: facts only, gathered by services/measure.py; an alert's condition is a pure function of it. What is not known is
None or unknown, and never looks like being well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from everyhop.core.finding import Finding
from everyhop.core.flow import Flow
from everyhop.core.hop import Posture
from everyhop.core.sli.m10_plaintext_flows import blindness
from everyhop.core.topology import CLIENT


@dataclass(frozen=True, slots=True)
class Errors:
    """Handshakes over a window."""

    failures: int = 0
    attempts: int = 0

    @property
    def ratio(self) -> float:
        """The share that failed; 0 without any."""
        return self.failures / self.attempts if self.attempts else 0.0


@dataclass(frozen=True, slots=True)
class HopState:
    """One hop."""

    hop: str
    owner: str
    criticality: str
    wanted: Posture
    seen: Posture
    objective: float
    """Of handshake success (M2)."""
    errors: Mapping[timedelta, Errors] = field(default_factory=dict[timedelta, Errors])
    """By window."""
    lately: Errors = Errors()
    """The last ten minutes, as either end told."""
    note: str = ""
    ok: bool = True
    """It was seen as it should be, and no exemption that covers it has ended."""
    seen_at: datetime | None = None
    """When anybody last saw it."""

    @property
    def strangers_only(self) -> bool:
        """Its callers come from outside, and our own handshake with it succeeds: what fails is strangers' trouble."""
        return self.hop.startswith(f"{CLIENT} -> ") and self.ok and self.seen is not Posture.UNKNOWN

    def over(self, window: timedelta) -> Errors:
        """Errors over a window; nothing where it was not counted."""
        return self.errors.get(window, Errors())


@dataclass(frozen=True, slots=True)
class CertificateState:
    """One certificate slot, or one authority."""

    slot: str
    service: str
    owner: str
    not_before: datetime
    not_after: datetime
    """Of what was issued last."""
    renew_at: datetime | None = None
    """None: it is renewed on demand only."""
    served_not_after: datetime | None = None
    """Of what the endpoint serves; None: not seen."""
    rotating: str = ""
    """Which rotation is under way, or empty."""
    attempts: int = 0
    """Failed attempts in a row at the next certificate."""
    fault: str = ""

    @property
    def lifetime(self) -> timedelta:
        """From beginning to end."""
        return self.not_after - self.not_before


@dataclass(frozen=True, slots=True)
class Refused:
    """Plaintext that was refused at a port in the last hour: by hop, or by strangers as ``? -> api``."""

    subject: str
    owner: str
    count: int


@dataclass(frozen=True, slots=True)
class Excuse:
    """An exception of the topology."""

    hop: str
    owner: str
    until: date
    reason: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment."""

    at: datetime
    hops: tuple[HopState, ...] = ()
    certificates: tuple[CertificateState, ...] = ()
    refused: tuple[Refused, ...] = ()
    flows: tuple[Flow, ...] = ()
    findings: tuple[Finding, ...] = ()
    excuses: tuple[Excuse, ...] = ()
    revocation: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])
    """Checks of the last hour: by source, by result."""
    detector_last_run: datetime | None = None
    """When flows were last looked for."""
    detector_fault: str = ""
    """Why they cannot be looked for now."""
    heartbeat: timedelta = timedelta(seconds=5)
    """How often idle hops prove themselves."""
    observer_last_run: datetime | None = None
    """When a proxy last told of a connection: idle hops prove themselves, so silence means blindness."""
    unsealed_since: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    """By stream: how old the oldest observation is that no seal covers."""

    @property
    def blind(self) -> str:
        """Why nobody can say now what flows beside the mesh; empty: somebody looked."""
        return blindness(self.at, self.detector_last_run, self.detector_fault)

    def hop(self, name: str) -> HopState | None:
        """A hop by its name; None: the topology has none such."""
        return next((one for one in self.hops if one.hop == name), None)
