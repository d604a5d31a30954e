"""What the authority did is told once, whatever crashes, in the order in which it was done."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

from tests.fakes.crash import Crash, Fuse
from tests.fakes.store import MemoryStore
from tests.fakes.world import World, start

from everyhop.core.observation import Kind, Observation
from everyhop.core.policy import SYSTEM
from everyhop.core.verdict import Verdict
from everyhop.ports import AuditEntry, IssuanceState
from everyhop.services.chronicle import Chronicler
from everyhop.services.rotate import request_rotation


async def told(world: World) -> list[Observation]:
    return list(await MemoryStore(world.disk).observations(kind=Kind.CERTIFICATE, limit=10_000))


def test_issuance_rotation_and_sightings_are_told_once() -> None:
    async def story() -> None:
        world = World()
        life = await start(world)
        chronicler = Chronicler(life.store)
        assert await chronicler.tick(None) == 2 + 4 + 4  # authorities, leaves, and their sightings
        assert await chronicler.tick(None) == 0
        events = Counter(str(one.body["event"]) for one in await told(world))
        assert events == {"issued": 6, "seen on the wire": 4}
        now = world.clock.move(timedelta(minutes=5))
        await request_rotation(life.store, "root", reason="a test", actor=SYSTEM, overlap=timedelta(0), now=now)
        await life.settle()
        await Chronicler(life.store).tick(None)  # another life goes on where this one ended
        events = Counter(str(one.body["event"]) for one in await told(world))
        assert events == {"issued": 12, "seen on the wire": 8, "requested": 1, "rotation": 5}
        steps = [one.body["to"] for one in await told(world) if one.body["event"] == "rotation"]
        assert steps == ["distributing", "overlapping", "reissuing", "retiring", "done"]
        subjects = {one.subject for one in await told(world)}
        assert {"web/identity", "authority/root-2", "rotation 1"} <= subjects

    asyncio.run(story())


def test_a_refusal_of_the_gate_is_told_and_is_no_failure_of_the_gate() -> None:
    async def story() -> None:
        world = World()
        store = MemoryStore(world.disk)
        details = {"code": "policy-refused", "why": "not a service", "request": "r"}
        await store.audit(AuditEntry(world.clock.now(), "acme", "issue service", "x", "refused", dict(details)))
        await store.audit(AuditEntry(world.clock.now(), "cli", "apply topology", "f", "accepted"))
        await store.audit(
            AuditEntry(world.clock.now(), "acme", "issue service", "y", "refused", {"code": "authority-unavailable"})
        )
        await Chronicler(store).tick(None)
        assert [(one.subject, one.verdict) for one in await told(world)] == [
            ("x", Verdict.PASS),
            ("y", Verdict.FAIL),
        ]

    asyncio.run(story())


def test_an_intent_that_is_signed_late_is_told_late_and_once() -> None:
    async def story() -> None:
        world = World()
        life = world.life()
        await life.begin()
        lines = dict(world.disk.journal)
        root, intermediate = lines
        open_line = lines[root]
        world.disk.journal[root] = replace(open_line, state=IssuanceState.INTENDED, certificate=None)
        chronicler = Chronicler(life.store)
        assert await chronicler.tick(None) == 1
        assert await chronicler.tick(None) == 0
        world.disk.journal[root] = open_line
        assert await chronicler.tick(None) == 1
        assert await chronicler.tick(None) == 0
        assert [one.subject for one in await told(world)] == ["authority/intermediate-1", "authority/root-1"]
        assert intermediate in world.disk.journal

    asyncio.run(story())


def test_kill_at_every_call_neither_loses_nor_repeats() -> None:
    async def story(at: int, after: bool) -> bool:
        world = World()
        await start(world)
        fuse = Fuse(at=at, after=after)
        try:
            await Chronicler(world.life(fuse).store).tick(None)
        except Crash:
            pass
        crashed = fuse.blown
        await Chronicler(world.life().store).tick(None)
        assert len(await told(world)) == 10
        return crashed

    for after in (False, True):
        at = 1
        while asyncio.run(story(at, after)):
            at += 1
        assert at > 5
