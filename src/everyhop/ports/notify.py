"""Telling people what has gone wrong, and that it is over: notices, and whoever delivers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Notice:
    """What is told to people about one alert: it began, or it ended."""

    fingerprint: str
    """The same for the same trouble: receivers join by it."""
    alert: str
    firing: bool
    severity: str
    owner: str
    contact: str
    summary: str
    labels: Mapping[str, str]
    runbook: str
    began_at: datetime
    ended_at: datetime | None = None


class Notifier(Protocol):
    """Delivers notices to one place. Delivering the same notice twice must be harmless for the receiver to bear."""

    name: str

    async def notify(self, notices: Sequence[Notice]) -> None:
        """Deliver; raises ``('notify-failed')`` if the receiver did not take it, and may then be asked again."""
        ...
