"""kill -9 at every single port call: issuance, establishing, renewal, and both rotations go on and stay safe.

Rules: the k-th call fails before or after it took effect, for every k until a story passes without a crash. After the
crash a new control plane on what is left plays the story again. While proxies are in play, every step of every proxy
is checked: nobody is served a certificate that somebody does not trust.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from tests.fakes.crash import Crash, Fuse, check_journal
from tests.fakes.world import World, check_all, policy, start

from everyhop.core.certificate import CertificateRequest
from everyhop.core.lifecycle import RotationState
from everyhop.core.profile import PROFILES, KeyAlgorithm
from everyhop.ports import Issuance, IssuanceState, KeyPurpose
from everyhop.services.rotate import request_rotation

POLICY = policy()
DB = POLICY.trust_domain.identity("test", "db")


@dataclass(frozen=True)
class Story:
    """``before`` makes the world; ``play`` is killed and repeated; ``after`` says what must be true in the end."""

    before: Callable[[World], Awaitable[object]]
    play: Callable[[World, Fuse | None], Awaitable[object]]
    after: Callable[[World], Awaitable[object]]


async def nothing(world: World) -> None:
    """No work to do."""


# --- (a) one issuance ---------------------------------------------------------------------------------------------


async def issue(world: World, fuse: Fuse | None) -> Issuance:
    life = world.life(fuse)
    await life.gate.recover(await life.authorities.key_ids())
    signer = (await life.authorities.get((await life.authorities.trust()).value.signer)).issuer()
    public_key = await life.keys.generate("leaf/one", KeyAlgorithm.P256, KeyPurpose.LEAF)
    request = CertificateRequest(
        "one", PROFILES["service"], public_key, timedelta(hours=1), "data", "test", identity=DB
    )
    return await life.gate.issue(request, signer, POLICY)


async def establish(world: World) -> None:
    await world.life().begin()


async def issued_once(world: World) -> None:
    check_journal(world.disk, world.ledger)
    again = await issue(world, None)
    assert [line.serial for line in world.disk.journal.values() if line.request_id == "one"] == [again.serial]


# --- (b) an authority ---------------------------------------------------------------------------------------------


async def begin(world: World, fuse: Fuse | None) -> None:
    await world.life(fuse).begin()


async def one_authority(world: World) -> None:
    check_journal(world.disk, world.ledger)
    life = world.life()
    assert [one.name for one in await life.authorities.all()] == ["intermediate-1", "root-1"]
    trust = (await life.authorities.trust()).value
    assert (trust.signer, trust.bundle) == ("intermediate-1", ("root-1",))
    assert sorted(world.held) == ["intermediate-1", "root-1"]


# --- (c) a renewal ------------------------------------------------------------------------------------------------


async def make_due(world: World) -> None:
    await start(world)
    world.clock.move(timedelta(hours=15))


async def renew(world: World, fuse: Fuse | None) -> None:
    life = world.life(fuse)
    await life.begin()
    await life.settle()


async def renewed(world: World) -> None:
    await check_all(world)
    slots = await world.life().slots()
    assert {slot.generation for slot in slots.values()} == {2}
    assert all(slot.current and slot.current.issued_at == world.clock.now() for slot in slots.values())


# --- (d, e) rotations ---------------------------------------------------------------------------------------------


def ask(kind: str) -> Callable[[World], Awaitable[None]]:
    async def before(world: World) -> None:
        life = await start(world)
        now = world.clock.now()
        # Without an overlap nothing but the acknowledgements stands between the new root and its first leaf.
        await request_rotation(life.store, kind, reason="a test", actor="test", overlap=timedelta(0), now=now)

    return before


async def rotate(world: World, fuse: Fuse | None) -> None:
    life = world.life(fuse)
    await life.begin()
    await life.settle()


def rotated(root: str, intermediate: str) -> Callable[[World], Awaitable[None]]:
    async def after(world: World) -> None:
        await check_all(world)
        life = world.life()
        (rotation,) = await life.rotations()
        assert rotation.state is RotationState.DONE
        trust = (await life.authorities.trust()).value
        assert (trust.signer, trust.bundle) == (intermediate, (root,))
        assert {name for name in world.held if not name.startswith("leaf/")} == {root, intermediate}
        bundle = await life.authorities.bundle(trust)
        for node in world.envoys.has.values():
            assert [getattr(one, "roots", bundle) for one in node.values()] == [bundle] * len(node)
        assert all(slot.current and slot.current.authority == intermediate for slot in (await life.slots()).values())

    return after


STORIES = {
    "issuance": Story(establish, issue, issued_once),
    "establishing": Story(nothing, begin, one_authority),
    "renewal": Story(make_due, renew, renewed),
    "intermediate rotation": Story(ask("intermediate"), rotate, rotated("root-1", "intermediate-2")),
    "root rotation": Story(ask("root"), rotate, rotated("root-2", "intermediate-2")),
}
READS = frozenset({"get", "all", "issuance", "issuances", "public", "reveal", "ids"})
"""A crash after one of these is the crash before the next call: nothing lies between."""
SHARDS = 6
"""A long story's crashes are shared out over this many tests, so that they run side by side."""


def shards() -> Iterator[object]:
    for name in STORIES:
        count = SHARDS if "rotation" in name or name == "renewal" else 1
        for after in (False, True):
            for shard in range(count):
                moment = "after" if after else "before"
                yield pytest.param(name, after, shard, count, id=f"{name}-{moment}-{shard}")


@pytest.mark.parametrize(("name", "after", "shard", "count"), list(shards()))
def test_a_crash_at_any_call_loses_nothing(name: str, after: bool, shard: int, count: int) -> None:
    story = STORIES[name]

    async def play() -> None:
        beginning = World()
        await story.before(beginning)
        unharmed = Fuse()
        await story.play(beginning.copy(), unharmed)
        assert unharmed.calls
        moments = [at for at, call in enumerate(unharmed.calls, 1) if not (after and call in READS)]
        for at in moments[shard::count]:
            world = beginning.copy()
            fuse = Fuse(at, after=after)
            with pytest.raises(Crash):
                await story.play(world, fuse)
            issued = {line.request_id: line for line in world.disk.journal.values() if line.certificate}
            try:
                await story.play(world, None)
                await story.after(world)
            except Exception as error:
                raise AssertionError(f"after a crash at call {at}: {fuse.calls[-3:]}") from error
            for line in issued.values():
                assert world.disk.journal[line.serial] == line, "an issued certificate was changed or lost"

    asyncio.run(play())


def test_a_second_crash_while_repairing_the_first_loses_nothing() -> None:
    story = STORIES["root rotation"]

    async def play() -> None:
        beginning = World()
        await story.before(beginning)
        unharmed = Fuse()
        await story.play(beginning.copy(), unharmed)
        for at in range(3, len(unharmed.calls), 29):
            world = beginning.copy()
            for again in (at, 7, 23):
                with pytest.raises(Crash):
                    await story.play(world, Fuse(again, after=bool(again % 2)))
            await story.play(world, None)
            await story.after(world)

    asyncio.run(play())


def test_an_open_intent_is_finished_from_its_journaled_bytes() -> None:
    async def play() -> None:
        beginning, whole = World(), Fuse()
        await establish(beginning)
        await issue(beginning.copy(), whole)
        world = beginning.copy()
        with pytest.raises(Crash):
            await issue(world, Fuse(whole.calls.index("sign") + 1))
        (line,) = [one for one in world.disk.journal.values() if one.state is IssuanceState.INTENDED]
        finished = await issue(world, None)
        assert (finished.serial, finished.tbs) == (line.serial, line.tbs)

    asyncio.run(play())
