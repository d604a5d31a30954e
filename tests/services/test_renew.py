"""Renewal: from due to seen on the wire, and what happens when a step does not."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.fakes.world import NODES, TEXT, Life, World, check_all, start

from everyhop.core.lifecycle import CredentialState, Slot
from everyhop.errors import EveryhopError
from everyhop.ports import Lease
from everyhop.services.deploy import LeafMaterial
from everyhop.services.renew import Tick

DB = "db/identity"


async def db(life: Life) -> Slot:
    return (await life.slots())[DB]


async def served(life: Life) -> str:
    material = life.world.envoys.has["db"]["identity"]
    assert isinstance(material, LeafMaterial)
    return material.version


def test_a_renewal_closes_only_when_it_was_seen() -> None:
    async def play() -> None:
        world = World()
        life = await start(world)
        old = await served(life)
        world.clock.move(timedelta(hours=15))
        world.wire = False
        await life.tick()
        assert (await db(life)).state is CredentialState.DEPLOYING
        await life.settle()
        slot = await db(life)
        assert slot.state is CredentialState.PROVING
        assert slot.current is not None
        assert slot.current.serial == old != await served(life)
        assert slot.current.key_id in world.held, "the former key went before the new certificate was seen"
        world.wire = True
        await life.settle()
        slot = await db(life)
        assert slot.state is CredentialState.SERVED
        assert slot.seen_at == world.clock.now()
        await check_all(world)

    asyncio.run(play())


def test_the_former_certificate_is_offered_until_the_new_one_is_issued() -> None:
    async def play() -> None:
        world = World()
        life = await start(world)
        old = await served(life)
        world.clock.move(timedelta(hours=15))
        key = world.held.pop("intermediate-1")
        await life.settle()
        slot = await db(life)
        assert (slot.state, slot.fault.partition(":")[0]) == (CredentialState.FAILED, "key-unavailable")
        assert await served(life) == old
        world.envoys.check(world.clock.now())
        world.held["intermediate-1"] = key
        world.clock.move(timedelta(seconds=3))
        await life.settle()
        assert (await db(life)).state is CredentialState.SERVED
        assert await served(life) != old

    asyncio.run(play())


def test_a_refused_certificate_is_retried_with_growing_pauses_and_leaves_no_keys() -> None:
    async def play() -> None:
        world = World()
        life = await start(world)
        world.envoys.refuses.add(("db", "identity"))
        world.clock.move(timedelta(hours=15))
        pauses: list[timedelta] = []
        for _ in range(6):
            await life.settle()
            slot = await db(life)
            assert slot.state is CredentialState.FAILED
            assert "refused" in slot.fault
            assert slot.retry_at is not None
            pauses.append(slot.retry_at - world.clock.now())
            await life.settle()
            assert (await db(life)).attempts == slot.attempts, "retried before its time"
            world.clock.set(slot.retry_at)
        assert pauses == [timedelta(seconds=2 * 2**n) for n in range(6)]
        assert len([key for key in world.held if key.startswith("leaf/db/")]) == 1
        world.envoys.refuses.clear()
        await life.settle()
        assert (await db(life)).attempts == 0
        await check_all(world)

    asyncio.run(play())


def test_one_slot_that_fails_does_not_hold_up_the_others() -> None:
    async def play() -> None:
        world = World()
        life = await start(world)
        world.envoys.refuses.add(("db", "identity"))
        world.clock.move(timedelta(hours=15))
        await life.settle()
        states = {key: slot.state for key, slot in (await life.slots()).items()}
        assert states.pop(DB) is CredentialState.FAILED
        assert set(states.values()) == {CredentialState.SERVED}

    asyncio.run(play())


@pytest.mark.parametrize("away", [timedelta(days=3), timedelta(days=40)])
def test_a_sleep_longer_than_the_leaf_lifetime_is_repaired(away: timedelta) -> None:
    async def play() -> None:
        world = World()
        await start(world)
        world.clock.move(away)
        life = world.life()
        await life.begin()
        await life.settle(checked=False)
        world.envoys.check(world.clock.now())
        await check_all(world)

    asyncio.run(play())


def test_a_clock_that_jumps_back_is_survived_both_served_and_failed() -> None:
    async def play() -> None:
        world = World()
        life = await start(world)
        world.clock.move(timedelta(days=30))
        await life.settle(checked=False)
        world.envoys.refuses.add(("web", "identity"))
        world.clock.move(timedelta(hours=15))
        await life.settle()
        assert (await life.slots())["web/identity"].state is CredentialState.FAILED
        world.envoys.refuses.clear()
        world.clock.move(timedelta(days=-20))
        await life.settle(checked=False)
        world.envoys.check(world.clock.now())
        await check_all(world)

    asyncio.run(play())


def test_a_changed_name_makes_a_renewal_due() -> None:
    async def play() -> None:
        world = World()
        await start(world)
        world.text = TEXT.replace("protocol: postgres", "protocol: postgres, dns: [db.shop.internal]")
        life = world.life()
        await life.settle()
        generations = {key: slot.generation for key, slot in (await life.slots()).items()}
        assert generations == {DB: 2, "web/identity": 1, "edge/identity": 1, "edge/host:shop.localhost": 1}
        slot = await db(life)
        assert slot.current is not None
        line = await life.store.issuance(serial=int(slot.current.serial, 16))
        assert line is not None
        assert "dns:db.shop.internal" in line.names

    asyncio.run(play())


def test_what_is_not_planned_any_more_is_forgotten_with_its_keys() -> None:
    async def play() -> None:
        world = World()
        life = await start(world)
        text = TEXT.partition("edge:")[0]
        life.the = Tick(World(text=text).life().the.plan, life.the.policy, life.the.renewal, None)
        world.text = text
        await life.settle()
        assert sorted(await life.slots()) == [DB, "web/identity"]
        assert sorted(key.partition("@")[0] for key in world.held if key.startswith("leaf/")) == [
            "leaf/db/identity",
            "leaf/web/identity",
        ]
        assert life.deployment.target("edge") is None
        assert life.deployment.target("db") is not None

    asyncio.run(play())


def test_every_proxy_is_given_the_trust_bundle_and_its_own_credentials_only() -> None:
    async def play() -> None:
        life = await start(World())
        secrets = {node: sorted(target.secrets) for node in NODES if (target := life.deployment.target(node))}
        assert secrets == {
            "db": ["identity", "trust"],
            "web": ["identity", "trust"],
            "edge": ["host:shop.localhost", "identity", "trust"],
        }
        assert "PRIVATE KEY" not in repr(life.deployment.target("db"))

    asyncio.run(play())


def test_an_older_holder_of_the_lease_writes_nothing() -> None:
    async def play() -> None:
        world = World()
        life = await start(world)
        now = world.clock.now()
        old = await life.store.acquire("control", "one", timedelta(seconds=1), now)
        assert isinstance(old, Lease)
        assert await life.store.acquire("control", "two", timedelta(hours=1), now + timedelta(minutes=1))
        world.clock.move(timedelta(hours=15))
        before = await life.slots()
        with pytest.raises(EveryhopError) as refusal:
            await life.renewer.tick(Tick(life.the.plan, life.the.policy, life.the.renewal, old), {})
        assert refusal.value.code.name == "store-fenced"
        assert await life.slots() == before

    asyncio.run(play())


def test_renewals_of_a_fleet_are_spread_over_time() -> None:
    async def play() -> None:
        life = await start(World())
        dues = {slot.due_at for slot in (await life.slots()).values()}
        assert len(dues) == 4
        assert max(dues) - min(dues) <= timedelta(hours=24) * 0.2

    asyncio.run(play())
