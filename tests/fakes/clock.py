"""A clock that stands still until a test moves it, and sleepers who wake when it has moved far enough.

Rules: no test waits. :meth:`MovedClock.until` lets every task do what it can, and only then moves the clock to the
moment the first sleeper waits for; so a story of hours takes milliseconds and always goes the same way.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
_ROUNDS = 40
"""More steps than any task of ours takes between two waits."""


class MovedClock:
    """``ports.Clock`` and ``ports.Sleep`` in a test's hand. Time goes back as well as forth."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._slept = timedelta(0)
        self._count = itertools.count()
        self._sleepers: list[tuple[timedelta, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._now

    def move(self, by: timedelta) -> datetime:
        """Let ``by`` pass on the wall (negative: back); sleepers do not notice. Returns the new moment."""
        self._now += by
        return self._now

    def set(self, moment: datetime) -> None:
        """It is this moment now."""
        self._now = moment

    async def sleep(self, seconds: float) -> None:
        """``ports.Sleep``: wakes when :meth:`until` has let so much time pass."""
        done = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._slept + timedelta(seconds=seconds), next(self._count), done))
        await done

    async def until(self, condition: Callable[[], bool], *, within: timedelta = timedelta(hours=1)) -> None:
        """Let time pass until ``condition`` holds; fails if it does not ``within`` that time or nobody sleeps."""
        end = self._slept + within
        while True:
            for _ in range(_ROUNDS):
                await asyncio.sleep(0)
            if condition():
                return
            while self._sleepers and self._sleepers[0][2].done():
                heapq.heappop(self._sleepers)
            assert self._sleepers, "nothing will ever happen again"
            moment, _, sleeper = heapq.heappop(self._sleepers)
            assert moment <= end, f"it did not come to pass within {within}"
            self._now += max(moment - self._slept, timedelta(0))
            self._slept = max(moment, self._slept)
            sleeper.set_result(None)

    async def pass_by(self, time: timedelta) -> None:
        """Let so much time pass, whatever happens."""
        over = asyncio.create_task(self.sleep(time.total_seconds()))
        await self.until(over.done, within=time)
