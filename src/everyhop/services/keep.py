"""Keep: hours out of minutes, and nothing longer than it is worth.

Rules: an hour is summed up when it is over and all its minutes are written, exactly once, and only then may its minutes
be forgotten. Forgetting goes by whole seals and leaves them standing, so that what is gone can be told from what was
taken. What is kept for how long is a setting with its reason; the space it takes is measured in the benchmarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile

from everyhop.core import tally
from everyhop.core.observation import Kind, Observation, Stream
from everyhop.ports import Clock, Lease, Store
from everyhop.services.records import Records

HOUR = timedelta(hours=1)
_LATE = timedelta(minutes=3)
"""How long an hour waits for its last minute: written once a minute, by a clock that may have been set."""
_PAGE = 5000
_AT_ONCE = 5
"""Seals that are forgotten in one go. It keeps pace with those that are made, and a clock that is wrong for a minute
cannot take a year away."""


@dataclass(frozen=True, slots=True)
class Summed:
    """Up to when hours have been summed up."""

    through: datetime


SUMMED = Records("summed-hours", Summed)
_KEY = "current"


class Keeper:
    """Sums hours up, and forgets what is old."""

    def __init__(self, store: Store, clock: Clock, *, detail_days: float, record_days: float) -> None:
        """``detail_days`` and ``record_days``: how long the two streams are kept."""
        self._store = store
        self._clock = clock
        self._bound: datetime | None = None
        """Minutes from here on are still to be summed up; None: there are none."""
        self._left = dict.fromkeys(Stream, 0)
        """By stream: the newest seal that is known to be forgotten."""
        self._kept = {Stream.DETAIL: timedelta(days=detail_days), Stream.RECORD: timedelta(days=record_days)}

    async def tick(self, fence: Lease | None) -> None:
        """Sum up every hour that is over, then forget what is old and sealed."""
        while await self._sum_up(fence):
            pass
        for stream, kept in self._kept.items():
            await self._forget(stream, self._clock.now() - kept, fence)

    async def _sum_up(self, fence: Lease | None) -> bool:
        """One hour; False if none is over."""
        known = await SUMMED.get(self._store, _KEY)
        begin = known.value.through if known else await self._first_hour()
        self._bound = begin
        if begin is None or begin + HOUR + _LATE > self._clock.now():
            return False
        minutes = await self._minutes(begin, begin + HOUR)
        end = begin + HOUR
        if not minutes:  # nothing happened for a while: go on where something did, and never past that
            later = await self._store.observations(
                stream=Stream.DETAIL, kind=Kind.CONNECTIONS, since=end, until=self._clock.now(), limit=1
            )
            if not later:
                self._bound = None
                return False
            end = _hour_of(later[0].at)
        summed = SUMMED.encode(Summed(end))
        await self._store.observe(tally.hours(minutes, begin + HOUR), beside={(SUMMED.kind, _KEY): summed}, fence=fence)
        return True

    async def _first_hour(self) -> datetime | None:
        first = await self._store.observations(stream=Stream.DETAIL, kind=Kind.CONNECTIONS, limit=1)
        return _hour_of(first[0].at) if first else None

    async def _minutes(self, begin: datetime, end: datetime) -> Sequence[Observation]:
        found: list[Observation] = []
        while True:
            page = await self._store.observations(
                stream=Stream.DETAIL,
                kind=Kind.CONNECTIONS,
                since=begin,
                until=end,
                after=found[-1].sequence if found else 0,
                limit=_PAGE,
            )
            found += page
            if len(page) < _PAGE:
                return found

    async def _forget(self, stream: Stream, before: datetime, fence: Lease | None) -> None:
        """Forget whole seals whose observations are all older than ``before`` and have been summed up."""
        if stream is Stream.DETAIL and self._bound is not None:
            before = min(before, self._bound)
        through = fresh = 0
        while page := await self._store.seals(stream, after=max(through, self._left[stream]), limit=_PAGE):
            due = takewhile(lambda seal: seal.forgotten_at is not None or seal.at <= before, page)
            for seal in due:
                fresh += seal.forgotten_at is None
                if fresh > _AT_ONCE:
                    break
                through = seal.number
            if fresh > _AT_ONCE or through < page[-1].number:
                break
        if through:
            await self._store.forget(stream, through=through, at=self._clock.now(), fence=fence)
            self._left[stream] = through


def _hour_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
