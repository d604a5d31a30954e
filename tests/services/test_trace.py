"""Every rotation and renewal becomes one trace, whatever crashes and however long nobody listens."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from tests.fakes.crash import Crash, Fuse
from tests.fakes.store import MemoryStore
from tests.fakes.world import World, start

from everyhop.core.metrics import Sample
from everyhop.core.policy import SYSTEM
from everyhop.core.spans import Span
from everyhop.errors import EveryhopError
from everyhop.ports import AuditEntry
from everyhop.services.chronicle import Chronicler
from everyhop.services.records import SLOTS
from everyhop.services.rotate import request_rotation
from everyhop.services.trace import Tracer


class Taken:
    """``ports.Telemetry`` that keeps what came; ``down`` takes nothing."""

    def __init__(self) -> None:
        self.down = False
        self.spans_taken: list[Span] = []
        self.measured: list[tuple[Sequence[Sample], datetime, datetime]] = []

    async def metrics(self, samples: Sequence[Sample], *, began_at: datetime, at: datetime) -> int:
        if self.down:
            raise EveryhopError("telemetry-failed", "down")
        self.measured.append((samples, began_at, at))
        return 0

    async def spans(self, spans: Sequence[Span]) -> int:
        if self.down:
            raise EveryhopError("telemetry-failed", "down")
        self.spans_taken += spans
        return 0

    async def close(self) -> None:
        pass

    def names(self) -> Counter[str]:
        return Counter(one.name for one in self.spans_taken)


def tracer(world: World) -> Tracer:
    return Tracer(MemoryStore(world.disk), world.clock, "here")


def test_renewals_are_traced_step_by_step() -> None:
    async def story() -> None:
        world, taken = World(), Taken()
        life = await start(world)
        await Chronicler(life.store).tick(None)
        await tracer(world).tick(taken, None)
        steps = dict.fromkeys(("intend", "sign", "push and acknowledge", "see on the wire"), 4)
        assert taken.names() == {"renewal": 4, **steps}
        wholes = {str(one.attributes["everyhop.slot"]): one for one in taken.spans_taken if one.name == "renewal"}
        for key, slot in (await life.slots()).items():
            assert slot.current is not None
            assert wholes[key].attributes["everyhop.serial"] == slot.current.serial
            assert wholes[key].attributes["everyhop.request"] == slot.request_id
            assert wholes[key].ended_at == slot.seen_at
            assert slot.current.acknowledged_at is not None
        await tracer(world).tick(taken, None)
        assert len(taken.spans_taken) == 20

    asyncio.run(story())


def test_a_rotation_is_one_trace_and_the_collector_s_absence_costs_nothing() -> None:
    async def story() -> None:
        world, taken = World(), Taken()
        life = await start(world)
        taken.down = True
        chronicler = Chronicler(life.store)
        await chronicler.tick(None)
        with pytest.raises(EveryhopError):
            await tracer(world).tick(taken, None)
        now = world.clock.move(timedelta(hours=5))
        await request_rotation(life.store, "root", reason="a test", actor=SYSTEM, overlap=timedelta(0), now=now)
        await life.settle()
        await chronicler.tick(None)
        taken.down = False
        await tracer(world).tick(taken, None)
        states = [one for one in taken.spans_taken if "everyhop.proof" in one.attributes]
        assert [one.name for one in states] == ["creating", "distributing", "overlapping", "reissuing", "retiring"]
        (whole,) = [one for one in taken.spans_taken if one.name == "rotation of the root"]
        assert {(one.trace, one.parent) for one in states} == {(whole.trace, whole.span)}
        assert taken.names()["renewal"] == 8
        assert len({(one.trace, one.span) for one in taken.spans_taken}) == len(taken.spans_taken)

    asyncio.run(story())


def test_a_renewal_that_was_refused_is_a_failed_trace() -> None:
    async def story() -> None:
        world, taken = World(), Taken()
        life = await start(world)
        await Chronicler(life.store).tick(None)
        await tracer(world).tick(taken, None)
        taken.spans_taken.clear()
        key = world.held.pop("intermediate-1")
        slot = await SLOTS.get(life.store, "web/identity")
        assert slot is not None
        world.clock.set(slot.value.due_at + timedelta(seconds=1))
        await world.life().tick()
        world.held["intermediate-1"] = key
        await Chronicler(life.store).tick(None)
        await tracer(world).tick(taken, None)
        failed = [one for one in taken.spans_taken if one.name == "renewal"]
        assert failed
        assert all(one.fault for one in failed)

    asyncio.run(story())


def test_what_nobody_took_for_a_week_is_left_out() -> None:
    async def story() -> None:
        world, taken = World(), Taken()
        await start(world)
        await Chronicler(MemoryStore(world.disk)).tick(None)
        world.clock.move(timedelta(days=8))
        await tracer(world).tick(taken, None)
        assert not taken.spans_taken

    asyncio.run(story())


def test_more_than_a_page_goes_in_one_look() -> None:
    async def story() -> None:
        world, taken = World(), Taken()
        store = MemoryStore(world.disk)
        for number in range(150):
            details = {"code": "policy-refused", "why": "x", "request": str(number)}
            await store.audit(AuditEntry(world.clock.now(), "acme", "issue service", "x", "refused", dict(details)))
        await Chronicler(store).tick(None)
        await start(world)
        await Chronicler(store).tick(None)
        await tracer(world).tick(taken, None)
        assert taken.names()["renewal"] == 4

    asyncio.run(story())


def test_kill_at_every_call_loses_nothing_and_repeats_only_the_same() -> None:
    async def story(at: int, after: bool) -> bool:
        world, taken = World(), Taken()
        await start(world)
        await Chronicler(MemoryStore(world.disk)).tick(None)
        fuse = Fuse(at=at, after=after)
        dying = Tracer(fuse.fit(MemoryStore(world.disk)), world.clock, "here")
        try:
            await dying.tick(fuse.fit(taken), None)
        except Crash:
            pass
        await tracer(world).tick(taken, None)
        known = {(one.trace, one.span): one for one in taken.spans_taken}
        assert len(known) == 20
        assert all(known[one.trace, one.span] == one for one in taken.spans_taken)
        return fuse.blown

    for after in (False, True):
        at = 1
        while asyncio.run(story(at, after)):
            at += 1
        assert at > 5
