"""An alert that fires, or has fired: what is remembered of it so that nobody is told twice.

Rules: the fingerprint joins what is the same trouble; it is made of the alert's name and its labels, never of numbers
that move. States are pending (true, and not yet for long enough), firing, and ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from everyhop.core.finding import Severity
from everyhop.core.lifecycle import StateTable


class Route(StrEnum):
    """How people are told."""

    PAGE = "page"
    TICKET = "ticket"


class AlertPhase(StrEnum):
    """Where an alert stands."""

    PENDING = "pending"
    """Its condition is true, and not yet for long enough."""
    FIRING = "firing"
    """It has been true for long enough: people are told."""
    ENDED = "ended"
    """It is not true any more: those who were told are told so."""


class AlertEvent(StrEnum):
    """What can happen to an alert."""

    HELD = "held for long enough"
    CLEARED = "condition cleared"
    RETURNED = "condition returned"


_A, _AE = AlertPhase, AlertEvent
ALERT: StateTable[AlertPhase, AlertEvent] = StateTable(
    name="alert",
    purpose="one alert about one subject, from the first sign to the all-clear",
    initial=_A.PENDING,
    final=frozenset({_A.ENDED}),
    transitions=MappingProxyType(
        {
            (_A.PENDING, _AE.HELD): _A.FIRING,
            (_A.PENDING, _AE.CLEARED): _A.ENDED,
            (_A.FIRING, _AE.CLEARED): _A.ENDED,
            (_A.ENDED, _AE.RETURNED): _A.PENDING,
        }
    ),
)


@dataclass(frozen=True, slots=True)
class AlertState:
    """One alert for one set of labels."""

    fingerprint: str
    alert: str
    phase: AlertPhase
    severity: Severity
    route: Route
    owner: str
    subject: str
    """The hop, service, credential or flow it is about."""
    summary: str
    runbook: str
    since: datetime
    """When the condition became true."""
    fired_at: datetime | None = None
    ended_at: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    suppressed: str = ""
    """Why nobody is told: a running rotation, an exception."""
    rests_on: tuple[str, ...] = ()
    """Names of what must be seen well again before it is over."""
    told: Mapping[str, str] = field(default_factory=dict[str, str])
    """By notifier: the phase that was delivered."""
