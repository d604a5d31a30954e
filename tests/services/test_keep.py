"""Minutes become hours exactly once, and nothing is forgotten before it was summed up and sealed."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from tests.fakes.clock import MovedClock
from tests.fakes.store import MemoryStore

from everyhop.core import tally
from everyhop.core.hop import End
from everyhop.core.ledger import leaf, root
from everyhop.core.observation import Kind, Stream
from everyhop.core.tally import Shape, Tally
from everyhop.ports import Seal
from everyhop.services.keep import HOUR, Keeper

SHAPE = Shape("web -> api", End.SERVER, "envoy of api", "ok", "TLSv1.3", "A", "G", "spiffe://x/web")
MINUTE = timedelta(minutes=1)


async def minute(store: MemoryStore, at: datetime, count: int = 1) -> None:
    await store.observe([tally.observed(SHAPE, Tally(count), at)])


async def sealed(store: MemoryStore, stream: Stream, at: datetime) -> None:
    before = await store.seals(stream, newest_first=True, limit=1)
    first = before[0].last + 1 if before else 1
    facts = await store.observations(stream=stream, after=first - 1)
    hashes = [leaf(one) for one in facts]
    seal = Seal(stream, len(await store.seals(stream)) + 1, first, facts[-1].sequence, root(hashes), b"", at, b"n")
    await store.seal(seal)


def keeper(store: MemoryStore, clock: MovedClock) -> Keeper:
    return Keeper(store, clock, detail_days=2, record_days=400)


def test_sixty_minutes_become_one_hour_once() -> None:
    async def play() -> None:
        store, clock = MemoryStore(), MovedClock()
        start = clock.now().replace(minute=0, second=0, microsecond=0)
        for number in range(60):
            await minute(store, start + number * MINUTE, number)
        await minute(store, start + HOUR, 1000)
        clock.move(start + HOUR + MINUTE - clock.now())
        await keeper(store, clock).tick(None)
        assert not await store.observations(kind=Kind.HOUR), "its last minute may still be on its way"
        clock.move(5 * MINUTE)
        await keeper(store, clock).tick(None)
        await keeper(store, clock).tick(None)
        (hour,) = await store.observations(kind=Kind.HOUR)
        assert tally.read(hour) == (SHAPE, Tally(sum(range(60))))
        assert hour.at == start + HOUR

    asyncio.run(play())


def test_empty_hours_are_stepped_over() -> None:
    async def play() -> None:
        store, clock = MemoryStore(), MovedClock()
        start = clock.now().replace(minute=0, second=0, microsecond=0)
        await minute(store, start, 1)
        await minute(store, start + 50 * HOUR, 2)
        clock.move(start + 52 * HOUR - clock.now())
        await keeper(store, clock).tick(None)
        assert [tally.read(one)[1].count for one in await store.observations(kind=Kind.HOUR)] == [1, 2]

    asyncio.run(play())


def test_details_go_when_they_are_old_sealed_and_summed_up() -> None:
    async def play() -> None:
        store, clock = MemoryStore(), MovedClock()
        start = clock.now().replace(minute=0, second=0, microsecond=0)
        await minute(store, start, 1)
        await sealed(store, Stream.DETAIL, start + MINUTE)
        await minute(store, start + HOUR, 1)
        clock.move(start + timedelta(days=1) - clock.now())
        keeping = keeper(store, clock)
        await keeping.tick(None)
        assert len(await store.observations(stream=Stream.DETAIL)) == 2, "too young"
        clock.move(timedelta(days=2))
        await keeping.tick(None)
        assert [one.sequence for one in await store.observations(stream=Stream.DETAIL)] == [2], "not sealed"
        await sealed(store, Stream.DETAIL, clock.now())
        clock.move(timedelta(days=3))
        await keeping.tick(None)
        assert not await store.observations(stream=Stream.DETAIL)
        assert sum(tally.read(one)[1].count for one in await store.observations(kind=Kind.HOUR)) == 2

    asyncio.run(play())


def test_a_clock_that_jumped_loses_no_hour() -> None:
    """For one tick the clock is a day ahead; what is observed after it came back is summed up all the same."""

    async def play() -> None:
        store, clock = MemoryStore(), MovedClock()
        start = clock.now().replace(minute=0, second=0, microsecond=0)
        keeping = keeper(store, clock)
        await minute(store, start, 1)
        clock.move(start + timedelta(days=1) - clock.now())
        await keeping.tick(None)
        clock.move(start + HOUR - clock.now())
        for number in range(1, 4):
            await minute(store, start + number * HOUR, number)
        clock.move(5 * HOUR)
        await keeping.tick(None)
        assert [tally.read(one)[1].count for one in await store.observations(kind=Kind.HOUR)] == [1, 1, 2, 3]

    asyncio.run(play())


def test_a_clock_that_is_wrong_for_a_moment_takes_little_away() -> None:
    async def play() -> None:
        store, clock = MemoryStore(), MovedClock()
        for number in range(50):
            await store.observe([tally.hours([tally.observed(SHAPE, Tally(1), clock.now())], clock.now())[0]])
            await sealed(store, Stream.RECORD, clock.now() + number * MINUTE)
        clock.move(timedelta(days=500))
        await keeper(store, clock).tick(None)
        assert len(await store.observations()) == 45

    asyncio.run(play())
