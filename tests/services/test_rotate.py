"""Rotations: nothing is signed with the new before all trust it, and the old leaves only with proof."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.fakes.plane import FakeEnvoys
from tests.fakes.world import TEXT, Life, World, check_all, start

from everyhop.core.lifecycle import CredentialState, Rotation, RotationState
from everyhop.core.plan import TRUST_BUNDLE
from everyhop.errors import EveryhopError
from everyhop.ports import KeyPurpose
from everyhop.services.rotate import request_renewal, request_rotation

HOUR = timedelta(hours=1)


async def ask(life: Life, kind: str, overlap: timedelta = timedelta(0)) -> Rotation:
    now = life.world.clock.now()
    return await request_rotation(life.store, kind, reason="a test", actor="test", overlap=overlap, now=now)


async def state(life: Life) -> RotationState:
    return (await life.rotations())[-1].state


# --- order and proof ----------------------------------------------------------------------------------------------


def test_an_acknowledgement_of_the_old_bundle_is_not_one_of_the_new() -> None:
    """All are connected and acknowledged what was wanted; the rotator runs before anybody wants the new bundle."""

    async def play() -> None:
        world = World()
        life = await start(world)
        before = (await life.authorities.trust()).value
        await ask(life, "root")
        await life.rotator.tick(life.the)
        assert await state(life) is RotationState.DISTRIBUTING
        assert (await life.authorities.trust()).value.signer == before.signer
        await life.rotator.tick(life.the)
        assert await state(life) is RotationState.DISTRIBUTING
        assert (await life.rotations())[-1].progress == "waits for db, web, edge to trust both roots"
        await life.settle()
        assert await state(life) is RotationState.DONE

    asyncio.run(play())


def test_one_proxy_that_does_not_answer_holds_the_new_root_back() -> None:
    async def play() -> None:
        world = World()
        life = await start(world)
        world.envoys.refuses.add(("web", TRUST_BUNDLE))
        await ask(life, "root")
        await life.settle()
        assert await state(life) is RotationState.DISTRIBUTING
        assert (await life.rotations())[-1].progress == "waits for web to trust both roots"
        world.envoys.refuses.clear()
        life = world.life()
        await life.settle()
        assert await state(life) is RotationState.DONE
        await check_all(world)

    asyncio.run(play())


def test_an_acknowledgement_of_a_proxy_that_went_away_does_not_count() -> None:
    async def play() -> None:
        world = World()
        life = await start(world)
        await ask(life, "root", HOUR)
        await life.settle()
        assert await state(life) is RotationState.OVERLAPPING
        world.clock.move(HOUR)
        world.envoys.away.add("db")
        life.deployment.disconnected("db")
        await life.settle()
        assert await state(life) is RotationState.REISSUING
        assert "db/identity" in (await life.rotations())[-1].progress
        assert (await life.authorities.trust()).value.bundle == ("root-2", "root-1")
        world.envoys.away.clear()
        life = world.life()
        await life.settle()
        assert await state(life) is RotationState.DONE

    asyncio.run(play())


def test_nothing_is_taken_out_before_everything_was_seen_on_the_wire() -> None:
    async def play() -> None:
        world = World()
        life = await start(world)
        world.wire = False
        await ask(life, "root")
        await life.settle()
        assert await state(life) is RotationState.REISSUING
        assert {slot.state for slot in (await life.slots()).values()} == {CredentialState.PROVING}
        assert (await life.authorities.trust()).value.bundle == ("root-2", "root-1")
        assert {"root-1", "intermediate-1"} <= set(world.held)
        world.wire = True
        await life.settle()
        assert await state(life) is RotationState.DONE
        assert not {"root-1", "intermediate-1"} & set(world.held)

    asyncio.run(play())


def test_the_overlap_passes_by_the_clock_and_not_by_restarts() -> None:
    async def play() -> None:
        world = World()
        life = await start(world)
        await ask(life, "root", HOUR)
        await life.settle()
        for _ in range(3):
            world.clock.move(HOUR / 4)
            life = world.life()
            await life.begin()
            await life.settle()
            assert await state(life) is RotationState.OVERLAPPING
            assert (await life.authorities.trust()).value.signer == "intermediate-1"
        world.clock.move(HOUR / 4)
        await life.settle()
        assert await state(life) is RotationState.DONE
        left = [name for name, _ in (await life.rotations())[-1].history]
        assert left == ["creating", "distributing", "overlapping", "reissuing", "retiring"]

    asyncio.run(play())


def test_an_intermediate_rotation_leaves_the_bundle_alone() -> None:
    async def play() -> None:
        world = World()
        life = await start(world)
        before = await life.authorities.bundle((await life.authorities.trust()).value)
        await ask(life, "intermediate", HOUR)
        await life.settle()
        assert await state(life) is RotationState.DONE
        assert await life.authorities.bundle((await life.authorities.trust()).value) == before
        assert [one.kind for one in await life.authorities.all()] == ["intermediate", "intermediate", "root"]

    asyncio.run(play())


# --- who may begin, and when --------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", ["intermediate", "root"])
def test_a_second_rotation_waits_for_the_first(second: str) -> None:
    async def play() -> None:
        life = await start(World())
        await ask(life, "root", HOUR)
        await life.settle()
        with pytest.raises(EveryhopError) as refusal:
            await ask(life, second)
        assert refusal.value.code.name == "rotation-busy"
        assert "overlapping" in refusal.value.message
        assert len(await life.rotations()) == 1

    asyncio.run(play())


def test_there_is_nothing_to_rotate_before_an_authority_exists() -> None:
    async def play() -> None:
        with pytest.raises(EveryhopError) as refusal:
            await ask(World().life(), "root")
        assert refusal.value.code.name == "authority-unavailable"

    asyncio.run(play())


def test_nothing_is_due_in_the_first_half_of_its_life() -> None:
    async def play() -> None:
        world = World()
        life = await start(world)
        world.clock.move(timedelta(days=44))
        assert await life.rotator.start_due(HOUR, life.the.policy.scope) is None
        world.clock.move(timedelta(days=2))
        due = await life.rotator.start_due(HOUR, life.the.policy.scope)
        assert due is not None
        assert (due.kind, due.reason) == ("intermediate", "intermediate-1: half of its life is over")
        assert await life.rotator.start_due(HOUR, life.the.policy.scope) is None

    asyncio.run(play())


def test_an_old_root_is_replaced_with_its_overlap() -> None:
    async def play() -> None:
        world = World()
        life = await start(world)
        await _live_until(world, life, timedelta(days=1830))
        due = (await life.rotations())[-1]
        assert (due.kind, due.overlap) == ("root", HOUR)

    asyncio.run(play())


async def _live_until(world: World, life: Life, age: timedelta) -> None:
    """Let the mesh live until its root is this old, an intermediate rotation at a time."""
    begun = world.clock.now()
    while world.clock.now() - begun < age:
        world.clock.move(timedelta(days=46))
        await life.rotator.start_due(HOUR, life.the.policy.scope)
        await life.settle(checked=False)


def test_when_nothing_can_be_signed_the_quickest_repair_comes_first() -> None:
    """Asleep for half of the root's life: the intermediate is dead, the root merely old. Waiting for an overlap would
    lengthen the outage; the root's turn comes afterwards."""

    async def play() -> None:
        world = World()
        await start(world)
        world.clock.move(timedelta(days=1900))
        life = world.life()
        await life.begin()
        first = await life.rotator.start_due(HOUR, life.the.policy.scope)
        assert first is not None
        assert (first.kind, first.overlap) == ("intermediate", timedelta(0))
        await _repair(world, life)
        second = await life.rotator.start_due(HOUR, life.the.policy.scope)
        assert second is not None
        assert (second.kind, second.overlap) == ("root", HOUR)

    asyncio.run(play())


def test_everything_expired_is_repaired_at_once() -> None:
    async def play() -> None:
        world = World()
        await start(world)
        world.clock.move(timedelta(days=4000))
        life = world.life()
        await life.begin()
        due = await life.rotator.start_due(HOUR, life.the.policy.scope)
        assert due is not None
        assert (due.kind, due.overlap, due.reason) == ("root", timedelta(0), "root-1: it has expired")
        await _repair(world, life)
        assert (await life.authorities.trust()).value.bundle == ("root-2",)
        await check_all(world)

    asyncio.run(play())


async def _repair(world: World, life: Life) -> None:
    """Let the loop run until everything is served, retries included."""
    for _ in range(5):
        await life.settle(checked=False)
        world.clock.move(timedelta(seconds=2))
    assert {slot.state for slot in (await life.slots()).values()} == {CredentialState.SERVED}
    world.envoys.check(world.clock.now())


def test_names_outside_of_the_scope_start_a_root_rotation() -> None:
    async def play() -> None:
        world = World()
        await start(world)
        world.text = TEXT.replace("shop.localhost: {to: web}", "shop.localhost: {to: web}\n    new.example: {to: web}")
        life = world.life()
        await life.settle()
        failed = (await life.slots())["edge/host:new.example"]
        assert (failed.state, failed.fault.partition(":")[0]) == (CredentialState.FAILED, "lint-refused")
        due = await life.rotator.start_due(timedelta(0), life.the.policy.scope)
        assert due is not None
        assert (due.kind, "outside" in due.reason) == ("root", True)
        await _repair(world, life)
        await check_all(world)

    asyncio.run(play())


# --- a rotation that cannot end well ------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "stuck_in"), [("root", RotationState.OVERLAPPING), ("root", RotationState.REISSUING)])
def test_a_host_that_is_added_during_a_rotation_does_not_block_it_for_ever(kind: str, stuck_in: RotationState) -> None:
    """The new intermediate cannot vouch for the new name, so not everything can ever be served under it."""

    async def play() -> None:
        world = World()
        life = await start(world)
        world.wire = stuck_in is not RotationState.REISSUING
        await ask(life, kind, HOUR if stuck_in is RotationState.OVERLAPPING else timedelta(0))
        await life.settle()
        assert await state(life) is stuck_in
        world.wire = True
        world.text = TEXT.replace("shop.localhost: {to: web}", "shop.localhost: {to: web}\n    new.example: {to: web}")
        life = world.life()
        await life.settle()
        assert await state(life) is RotationState.GIVEN_UP
        due = await life.rotator.start_due(timedelta(0), life.the.policy.scope)
        assert due is not None
        assert due.kind == "root"
        for _ in range(4):
            await life.settle()
            world.clock.move(timedelta(seconds=3))
        assert await state(life) is RotationState.DONE
        assert (await life.authorities.trust()).value.bundle == ("root-3",)
        await check_all(world)

    asyncio.run(play())


def test_a_machine_that_slept_through_the_life_of_the_new_intermediate_repairs_itself() -> None:
    async def play() -> None:
        world = World()
        life = await start(world)
        world.wire = False
        await ask(life, "intermediate")
        await life.settle()
        assert await state(life) is RotationState.REISSUING
        world.wire = True
        world.clock.move(timedelta(days=100))
        life = world.life()
        await life.begin()
        await life.settle(checked=False)
        assert await state(life) is RotationState.GIVEN_UP
        assert await life.rotator.start_due(HOUR, life.the.policy.scope) is not None
        await _repair(world, life)
        assert await state(life) is RotationState.DONE
        await check_all(world)

    asyncio.run(play())


def test_one_dead_proxy_does_not_let_the_others_certificates_run_out() -> None:
    """It holds up the end of a rotation, but when the new intermediate grows old the next one begins."""

    async def play() -> None:
        world = World()
        life = await start(world)
        world.envoys.away.add("db")
        life.deployment.disconnected("db")
        for _ in range(120):
            world.clock.move(timedelta(days=1))
            await life.rotator.start_due(HOUR, life.the.policy.scope)
            await life.settle(checked=False)
            others = FakeEnvoys({node: has for node, has in world.envoys.has.items() if node != "db"})
            others.check(world.clock.now())
        ended = [one.state for one in await life.rotations()]
        assert RotationState.GIVEN_UP in ended
        assert RotationState.DONE not in ended

    asyncio.run(play())


# --- leaves -------------------------------------------------------------------------------------------------------


def test_a_leaf_is_renewed_when_asked_and_only_that_one() -> None:
    async def play() -> None:
        world = World()
        life = await start(world)
        asked = await request_renewal(life.store, ["db/identity"], actor="test", now=world.clock.now())
        assert [slot.key for slot in asked] == ["db/identity"]
        await life.settle()
        assert {key: slot.generation for key, slot in (await life.slots()).items() if slot.generation > 1} == {
            "db/identity": 2
        }
        await request_renewal(life.store, [], actor="test", now=world.clock.now())
        await life.settle()
        assert {slot.generation for slot in (await life.slots()).values()} == {2, 3}

    asyncio.run(play())


def test_an_unknown_leaf_is_refused_and_nothing_changes() -> None:
    async def play() -> None:
        world = World()
        life = await start(world)
        before = await life.slots()
        with pytest.raises(EveryhopError) as refusal:
            await request_renewal(life.store, ["db/identity", "nobody"], actor="test", now=world.clock.now())
        assert refusal.value.code.name == "unknown-name"
        assert "db/identity" in refusal.value.hint
        assert await life.slots() == before

    asyncio.run(play())


def test_an_authority_that_was_begun_with_another_key_type_is_the_one_that_is_used() -> None:
    async def play() -> None:
        world = World()
        life = await start(world)
        root = await life.authorities.get("root-1")
        made = await life.authorities.make_intermediate("intermediate-2", root, life.the.policy)
        world.text = TEXT + "policy: {authority_key: p384}\n"
        life = world.life()
        assert await life.authorities.make_intermediate("intermediate-2", root, life.the.policy) == made
        assert world.held["intermediate-2"].purpose is KeyPurpose.ISSUER

    asyncio.run(play())
