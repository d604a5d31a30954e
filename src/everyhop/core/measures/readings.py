"""Everything that was read at one moment: what indicators, alerts and metrics are made of.

Rules: facts only; whoever makes one (services/measure.py) leaves out nothing that is known and invents nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from everyhop.core.alerts.alert import Silence
from everyhop.core.alerts.snapshot import CertificateState, Excuse
from everyhop.core.finding import Finding
from everyhop.core.flow import Flow
from everyhop.core.hop import Posture
from everyhop.core.sli.counts import SOCKETS, Counts, of_one_end, total
from everyhop.core.sli.m08_issuance import Orders
from everyhop.core.sli.objective import FAST, SLOW, Overrides
from everyhop.core.sli.window import PERIOD, Key
from everyhop.core.topology import CLIENT, EDGE, Criticality

FIVE_MINUTES, TEN_MINUTES, HOUR = timedelta(minutes=5), timedelta(minutes=10), timedelta(hours=1)
BURN_WINDOWS = tuple(sorted({window for burn in (*FAST, *SLOW) for window in (burn.long, burn.short)}))
WINDOWS = tuple(sorted({FIVE_MINUTES, TEN_MINUTES, HOUR, PERIOD, *BURN_WINDOWS}))
"""Every window that anything is counted over."""
NOWHERE = "elsewhere"
"""The service of what is none of the topology."""


@dataclass(frozen=True, slots=True)
class HopReading:
    """One hop of the topology, as the inventory has it."""

    hop: str
    owner: str
    criticality: str
    wanted: Posture
    seen: Posture
    ok: bool
    seen_at: datetime | None = None
    note: str = ""

    @property
    def kind(self) -> str:
        """``service`` between services, ``client`` from outside."""
        return "client" if self.hop.startswith(f"{CLIENT} -> ") else "service"


@dataclass(frozen=True, slots=True)
class ServiceReading:
    """One service of the topology."""

    name: str
    owner: str
    criticality: str


@dataclass(frozen=True, slots=True)
class Readings:
    """Everything at one moment."""

    at: datetime
    environment: str = ""
    hops: tuple[HopReading, ...] = ()
    services: tuple[ServiceReading, ...] = ()
    certificates: tuple[CertificateState, ...] = ()
    windows: Mapping[timedelta, Mapping[Key, Counts]] = field(default_factory=dict[timedelta, Mapping[Key, Counts]])
    """Connections over each of :data:`WINDOWS`."""
    flows: tuple[Flow, ...] = ()
    findings: tuple[Finding, ...] = ()
    excuses: tuple[Excuse, ...] = ()
    silences: tuple[Silence, ...] = ()
    orders: Orders = field(default_factory=Orders)
    """Of the last day."""
    revocation: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])
    """Checks of the last hour: by source, by result."""
    detector_last_run: datetime | None = None
    detector_fault: str = ""
    """Why flows cannot be looked for now."""
    heartbeat: timedelta = timedelta(seconds=5)
    observer_last_run: datetime | None = None
    unsealed_since: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    overrides: Overrides = field(default_factory=dict[str, Mapping[Criticality, float]])

    def over(self, window: timedelta, hop: str) -> Counts:
        """A hop's connections over a window, judged by one end."""
        return of_one_end(self.windows.get(window, {}), hop)

    def either_end(self, window: timedelta, hop: str) -> Counts:
        """A hop's connections over a window, as both proxies told them together."""
        counts = self.windows.get(window, {})
        return total(one for (name, end), one in counts.items() if name == hop and end != SOCKETS)

    def scopes(self, window: timedelta) -> tuple[str, ...]:
        """Every hop and flow that connections were counted of, each once."""
        return tuple(sorted({name for name, _ in self.windows.get(window, {})}))

    def kind(self, scope: str) -> str:
        """``service`` for what goes from one service to another, ``client`` from outside, else ``other``."""
        caller, _, callee = scope.partition(" -> ")
        names = {*(one.name for one in self.services), EDGE}
        if caller in names and callee in names:
            return "service"
        return "client" if caller == CLIENT else "other"

    def owner(self, service: str) -> str:
        """Whose a service is; empty: nobody's of the topology."""
        return next((one.owner for one in self.services if one.name == service), "")

    def callee(self, scope: str) -> str:
        """The service that is called, or ``elsewhere``."""
        name = scope.partition(" -> ")[2]
        known = any(one.name == name for one in self.services) or name == EDGE
        return name if known else NOWHERE
