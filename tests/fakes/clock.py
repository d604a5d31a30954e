"""A clock that stands still until a test moves it, and a sleep that passes its time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


class MovedClock:
    """``ports.Clock`` in a test's hand. Time goes back as well as forth."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def move(self, by: timedelta) -> datetime:
        """Let ``by`` pass (negative: back); returns the new moment."""
        self._now += by
        return self._now

    def set(self, moment: datetime) -> None:
        """It is this moment now."""
        self._now = moment

    async def sleep(self, seconds: float) -> None:
        """``ports.Sleep``: the clock moves, nobody waits."""
        self.move(timedelta(seconds=seconds))
        await asyncio.sleep(0)
