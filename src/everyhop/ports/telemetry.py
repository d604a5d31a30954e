"""Sending numbers and traces to somebody who keeps them for many machines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from everyhop.core.metrics import Sample
from everyhop.core.spans import Span


class Telemetry(Protocol):
    """Sends to one collector. Nothing is kept: what was not taken is sent again by whoever has it stored, or never."""

    async def metrics(self, samples: Sequence[Sample], *, began_at: datetime, at: datetime) -> int:
        """Send what was measured ``at`` a moment; counters count since ``began_at``. Returns how many numbers the
        collector took notice of and refused: sending them again would not help.

        Raises ``('telemetry-failed')`` if it did not take them.
        """
        ...

    async def spans(self, spans: Sequence[Span]) -> int:
        """Send spans; returns and raises as :meth:`metrics`. Sending a span twice must be harmless."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
