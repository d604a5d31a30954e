"""Status: what there is and how it stands, from the store alone. What was not seen lately is unknown."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.fakes.clock import START
from tests.fakes.store import MemoryStore
from tests.fakes.world import TEXT, World, start

from everyhop.core.hop import Posture
from everyhop.core.lifecycle import CredentialState
from everyhop.errors import EveryhopError
from everyhop.services.apply import apply
from everyhop.services.inventory import HopStatus, Status, status
from everyhop.services.observe import HOPS_SEEN, HopSeen
from everyhop.services.operate import BEAT_KEY, BEATS, Beat

ME = "spiffe://shop.internal/test/"
SECOND = timedelta(seconds=1)


async def applied(text: str = TEXT, store: MemoryStore | None = None) -> MemoryStore:
    store = store or MemoryStore()
    await apply(store, text, file="f", file_dir="/", actor="t", now=START)
    await BEATS.put(store, BEAT_KEY, Beat(START, "running", "one"))
    return store


async def see(store: MemoryStore, hop: str, **fields: Any) -> None:
    given: dict[str, Any] = {"at": START, "peer_identity": ME + hop.partition(" ")[0], "version": "TLSv1.3"}
    given |= {"cipher": "AES", "group": "X25519MLKEM768", "peer_serial": "1", "connections": 3, "source": "envoy"}
    await HOPS_SEEN.put(store, hop, HopSeen(hop=hop, **(given | fields)))


async def everything_seen(store: MemoryStore) -> None:
    for hop in ("edge -> web", "web -> db"):
        await see(store, hop)
    await see(store, "client -> edge", peer_identity="")


def hop(found: Status, name: str) -> HopStatus:
    return next(one for one in found.hops if one.hop == name)


def test_everything_seen_is_well() -> None:
    async def play() -> None:
        store = await applied()
        await everything_seen(store)
        found = await status(store, "/data", START + SECOND)
        assert found.ok
        assert (found.running, found.state, found.trust_domain) == (True, "running", "shop.internal")
        assert {one.hop: (one.wanted, one.seen) for one in found.hops} == {
            "client -> edge": (Posture.TLS, Posture.TLS),
            "edge -> web": (Posture.MTLS, Posture.MTLS),
            "web -> db": (Posture.MTLS, Posture.MTLS),
        }
        assert (hop(found, "web -> db").owner, hop(found, "web -> db").connections) == ("data", 3)

    asyncio.run(play())


def test_what_was_never_seen_or_not_lately_is_unknown() -> None:
    async def play() -> None:
        store = await applied()
        await see(store, "edge -> web")
        later = START + timedelta(seconds=21)
        await BEATS.put(store, BEAT_KEY, Beat(later, "running", "one"))
        found = await status(store, "/data", later)
        assert not found.ok
        assert (hop(found, "web -> db").seen, hop(found, "web -> db").note) == (Posture.UNKNOWN, "not seen yet")
        assert hop(found, "edge -> web").seen is Posture.UNKNOWN
        assert "last seen" in hop(found, "edge -> web").note
        fresh = await status(store, "/data", START + timedelta(seconds=20))
        assert hop(fresh, "edge -> web").seen is Posture.MTLS

    asyncio.run(play())


def test_what_was_seen_in_the_future_is_not_seen_now() -> None:
    async def play() -> None:
        store = await applied()
        await see(store, "web -> db", at=START + timedelta(days=1))
        found = await status(store, "/data", START)
        assert hop(found, "web -> db").seen is Posture.UNKNOWN

    asyncio.run(play())


def test_a_hop_without_the_callers_identity_is_only_tls() -> None:
    async def play() -> None:
        store = await applied()
        await everything_seen(store)
        await see(store, "web -> db", peer_identity="")
        found = await status(store, "/data", START)
        assert (hop(found, "web -> db").seen, hop(found, "web -> db").ok, found.ok) == (Posture.TLS, False, False)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("beat", "running", "state"),
    [
        (None, False, "stopped"),
        (Beat(START, "running", "one"), True, "running"),
        (Beat(START - timedelta(seconds=11), "running", "one"), False, "lost"),
        (Beat(START, "stopped", "one"), False, "stopped"),
        (Beat(START, "starting", "one"), True, "starting"),
    ],
)
def test_a_sign_of_life_tells_whether_it_runs(beat: Beat | None, running: bool, state: str) -> None:
    async def play() -> None:
        store = await applied()
        await store.delete(BEATS.kind, BEAT_KEY)
        if beat:
            await BEATS.put(store, BEAT_KEY, beat)
        found = await status(store, "/data", START)
        assert (found.running, found.state) == (running, state)

    asyncio.run(play())


def test_a_fault_of_the_plane_is_no_good_state() -> None:
    async def play() -> None:
        store = await applied()
        await everything_seen(store)
        await BEATS.put(store, BEAT_KEY, Beat(START, "running", "one", "db: inbound: address in use"))
        found = await status(store, "/data", START)
        assert (found.ok, found.fault) == (False, "db: inbound: address in use")

    asyncio.run(play())


def test_an_exemption_is_shown_with_its_end_and_a_fault_after_it() -> None:
    async def play() -> None:
        text = TEXT.replace('{service: db, at: "127.0.0.1:7101"}', "db") + (
            "exceptions:\n  - {hop: web -> db, posture: exempt, reason: measured, owner: shop, until: 2026-03-05}\n"
        )
        store = await applied(text)
        before = hop(await status(store, "/data", START), "web -> db")
        assert (before.ok, before.seen, before.note) == (True, Posture.EXEMPT, "exempt until 2026-03-05: measured")
        last_day = hop(await status(store, "/data", START + timedelta(days=4)), "web -> db")
        assert last_day.ok
        after = hop(await status(store, "/data", START + timedelta(days=5)), "web -> db")
        assert (after.ok, after.note) == (False, "the exemption ended on 2026-03-05")

    asyncio.run(play())


def test_certificates_are_shown_with_owner_names_and_when_they_renew() -> None:
    async def play() -> None:
        world = World()
        await start(world)
        store = await applied(store=MemoryStore(world.disk))
        found = await status(store, "/data", world.clock.now())
        shown = {one.name: one for one in found.certificates}
        assert set(shown) == {"db/identity", "web/identity", "edge/identity", "edge/host:shop.localhost"}
        one = shown["edge/host:shop.localhost"]
        assert (one.owner, one.names, one.authority) == ("shop", ("shop.localhost",), "intermediate-1")
        assert one.not_after is not None
        assert world.clock.now() < one.renews_at < one.not_after
        assert {cert.state for cert in found.certificates} == {CredentialState.SERVED}
        assert [authority.name for authority in found.authorities] == ["intermediate-1", "root-1"]
        assert found.trust is not None
        assert found.trust.bundle == ("root-1",)
        assert found.rotation is None

    asyncio.run(play())


def test_nothing_can_be_said_before_the_first_topology() -> None:
    with pytest.raises(EveryhopError) as refusal:
        asyncio.run(status(MemoryStore(), "/data", START))
    assert refusal.value.code.name == "not-running"


def test_to_look_changes_nothing() -> None:
    async def play() -> None:
        store = await applied()
        before = store.disk.revision
        await status(store, "/data", START)
        assert store.disk.revision == before

    asyncio.run(play())
