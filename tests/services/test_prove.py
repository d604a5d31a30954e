"""Seals: made in time, once for each number whatever crashes, by a key that is certified, renewed and destroyed."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
from tests.fakes.crash import Crash, Fuse
from tests.fakes.store import MemoryStore
from tests.fakes.world import Life, World

from everyhop.core.evidence.note import read_note
from everyhop.core.evidence.signer import EvidenceSigner
from everyhop.core.ledger import leaf, root
from everyhop.core.observation import Kind, Observation, Source, Stream
from everyhop.core.policy import SYSTEM
from everyhop.core.verdict import Verdict
from everyhop.errors import EveryhopError
from everyhop.services.audit import audit
from everyhop.services.prove import EVIDENCE_KEYS, Prover, SealTimes
from everyhop.services.rotate import request_rotation

MINUTE = timedelta(minutes=1)
TIMES = SealTimes(record=MINUTE, detail=5 * MINUTE)


def seen(at: datetime, count: int = 1, stream: Stream = Stream.RECORD) -> Observation:
    return Observation(at, Kind.HOUR, Source.SERVER, "web -> db", "envoy of db", Verdict.PASS, {"count": count}, stream)


def prover(life: Life) -> Prover:
    return Prover(life.store, life.keys, life.gate, life.authorities, life.world.clock, TIMES)


async def begun(world: World) -> Life:
    life = world.life()
    await life.begin()
    return life


async def check(world: World) -> None:
    """The store is as it was sealed, and every note was signed once for its number."""
    found = await audit(MemoryStore(world.disk), "shop.internal", "test", world.clock.now())
    assert found.faults == ()


def test_a_seal_covers_what_was_observed_and_names_the_one_before() -> None:
    async def story() -> None:
        world = World()
        life = await begun(world)
        proving = prover(life)
        for count in (1, 2, 3):
            await life.store.observe([seen(world.clock.now(), count), seen(world.clock.now(), 9, Stream.DETAIL)])
        await proving.tick(life.the.policy, None)
        first = (await life.store.seals(Stream.RECORD))[0]
        facts = await life.store.observations()
        assert (first.number, first.first, first.last, first.previous) == (1, 1, 3, b"")
        assert first.root == root([leaf(one) for one in facts])
        await life.store.observe([seen(world.clock.now(), 4)])
        await proving.tick(life.the.policy, None)
        assert len(await life.store.seals(Stream.RECORD)) == 1, "its minute is not over"
        world.clock.move(MINUTE)
        await proving.tick(life.the.policy, None)
        second = (await life.store.seals(Stream.RECORD))[1]
        assert (second.number, second.first, second.last) == (2, 4, 4)
        assert read_note(second.note).seal.previous == second.previous != b""
        assert len(await life.store.seals(Stream.DETAIL)) == 1
        await check(world)

    asyncio.run(story())


def test_nothing_is_sealed_or_made_where_nothing_was_observed() -> None:
    async def story() -> None:
        life = await begun(World())
        await prover(life).tick(life.the.policy, None)
        assert not await life.store.seals(Stream.RECORD)
        assert not await EVIDENCE_KEYS.all(life.store)

    asyncio.run(story())


def test_the_key_is_renewed_at_half_of_its_life_and_the_old_one_destroyed() -> None:
    async def story() -> None:
        world = World()
        life = await begun(world)
        proving = prover(life)
        await life.store.observe([seen(world.clock.now())])
        await proving.tick(life.the.policy, None)
        (first,) = [one.value for one in await EVIDENCE_KEYS.all(life.store)]
        signer = EvidenceSigner.read(first.chain)
        assert not signer.fault("shop.internal", "test", world.clock.now())
        assert signer.fault("shop.internal", "live", world.clock.now())
        leaf_certificate = signer.chain[0]
        world.clock.move((leaf_certificate.not_valid_after_utc - world.clock.now()) / 2)
        await life.store.observe([seen(world.clock.now())])
        await proving.tick(life.the.policy, None)
        former, present = [one.value for one in await EVIDENCE_KEYS.all(life.store)]
        assert former.retired_at == world.clock.now()
        assert present.retired_at is None
        assert [key for key in world.held if key.startswith("evidence/")] == [present.key_id]
        await check(world)

    asyncio.run(story())


@pytest.mark.parametrize("kind", ["intermediate", "root"])
def test_seals_go_on_over_a_rotation(kind: str) -> None:
    async def story() -> None:
        world = World()
        life = await begun(world)
        await life.settle(checked=False)
        proving = prover(life)
        await life.store.observe([seen(world.clock.now())])
        await proving.tick(life.the.policy, None)
        now = world.clock.now()
        await request_rotation(life.store, kind, reason="a test", actor=SYSTEM, overlap=timedelta(0), now=now)
        await life.settle(checked=False)
        world.clock.move(MINUTE)
        await life.store.observe([seen(world.clock.now())])
        await proving.tick(life.the.policy, None)
        former, present = [one.value for one in await EVIDENCE_KEYS.all(life.store)]
        assert (former.signer, present.signer) == ("intermediate-1", "intermediate-2")
        await check(world)

    asyncio.run(story())


def test_a_dead_authority_does_not_end_the_sealing_of_a_living_key() -> None:
    async def story() -> None:
        world = World()
        life = await begun(world)
        proving = prover(life)
        await life.store.observe([seen(world.clock.now())])
        await proving.tick(life.the.policy, None)
        world.clock.move(timedelta(days=-1))  # no authority is alive there, and neither is the key
        await life.store.observe([seen(world.clock.now())])
        with pytest.raises(EveryhopError) as caught:
            await proving.tick(life.the.policy, None)
        assert caught.value.code.name == "authority-unavailable"
        world.clock.move(timedelta(days=1) + MINUTE)
        await proving.tick(life.the.policy, None)
        assert [seal.number for seal in await life.store.seals(Stream.RECORD)] == [1, 2]
        await check(world)

    asyncio.run(story())


def test_a_gap_is_never_sealed_over() -> None:
    async def story() -> None:
        world = World()
        life = await begun(world)
        await life.store.observe([seen(world.clock.now(), count) for count in range(3)])
        del world.disk.observed[1]
        with pytest.raises(EveryhopError) as caught:
            await prover(life).tick(life.the.policy, None)
        assert caught.value.code.name == "evidence-invalid"

    asyncio.run(story())


def test_kill_at_every_call_leaves_one_note_for_each_number() -> None:
    """And what is signed for a number is the same text, whatever was observed after the crash."""

    async def story(at: int, after: bool) -> bool:
        world = World()
        life = await begun(world)
        await life.store.observe([seen(world.clock.now())])
        fuse = Fuse(at=at, after=after)
        dying = world.life(fuse)
        try:
            await prover(dying).tick(dying.the.policy, None)
        except Crash:
            pass
        crashed = fuse.blown
        fuse.at = 0
        begun_with = world.disk.documents.get(("seal-intent", "record"))
        await life.store.observe([seen(world.clock.now(), 2)])
        world.clock.move(2 * MINUTE)
        anew = world.life()
        await anew.begin()
        await prover(anew).tick(anew.the.policy, None)
        world.clock.move(2 * MINUTE)
        await prover(anew).tick(anew.the.policy, None)
        seals = await anew.store.seals(Stream.RECORD)
        if begun_with is not None:
            assert read_note(seals[0].note).seal.root.hex() == begun_with.value["root"]
        assert seals[-1].last == 2
        living = [key for key in world.held if key.startswith("evidence/")]
        assert len(living) == 1
        assert len([line for line in world.disk.journal.values() if line.profile == "evidence"]) == 1
        await check(world)
        return crashed

    for after in (False, True):
        at = 1
        while asyncio.run(story(at, after)):
            at += 1
        assert at > 15, "the story has more calls than that"


def test_two_processes_seal_at_once_and_one_seal_stands() -> None:
    async def story() -> None:
        world = World()
        one = await begun(world)
        await one.store.observe([seen(world.clock.now(), count) for count in range(5)])
        fuse = Fuse(yields=True)
        lives = [world.life(fuse), world.life(fuse)]
        await asyncio.gather(*(prover(life).seal(Stream.RECORD, life.the.policy) for life in lives))
        assert [seal.number for seal in await one.store.seals(Stream.RECORD)] == [1]
        await check(world)

    asyncio.run(story())
