"""An alert that fires, or has fired: what is remembered of it so that nobody is told twice.

Rules: the fingerprint joins what is the same trouble; it is made of the alert's name and its labels, never of numbers
that move. States are pending (true, and not yet for long enough), firing, and ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from everyhop.core.finding import Severity


class Route(StrEnum):
    """How people are told."""

    PAGE = "page"
    TICKET = "ticket"


class AlertPhase(StrEnum):
    """Where an alert stands."""

    PENDING = "pending"
    FIRING = "firing"
    ENDED = "ended"


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
    told: Mapping[str, str] = field(default_factory=dict[str, str])
    """By notifier: the phase that was delivered."""
