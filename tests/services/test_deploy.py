"""What every proxy should have, and what it said to that."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.fakes.world import plan

from everyhop.services.deploy import BundleMaterial, Deployment, LeafMaterial, NodeTarget, Refusal

WEB, DB = (plan().node(name) for name in ("web", "db"))
LEAF = LeafMaterial("identity", "1", "CHAIN", b"KEY")
TRUST = BundleMaterial.of("trust", "ROOTS")
TARGET = NodeTarget(DB, {"identity": LEAF, "trust": TRUST})


def deployed() -> Deployment:
    found = Deployment()
    found.want(TARGET)
    found.connected("db")
    return found


def test_an_acknowledgement_counts_for_its_version_and_while_the_proxy_is_there() -> None:
    found = deployed()
    found.acknowledge("db", "identity", "1")
    assert found.accepted("db", "identity") == "1"
    assert found.behind(["db", "web"], "identity", "1") == ("web",)
    assert found.behind(["db"], "identity", "2") == ("db",)
    found.disconnected("db")
    assert found.accepted("db", "identity") is None
    assert not found.is_connected("db")


def test_what_a_former_process_acknowledged_is_not_what_the_new_one_has() -> None:
    found = deployed()
    found.acknowledge("db", "identity", "1")
    found.disconnected("db")
    found.connected("db")
    assert found.accepted("db", "identity") is None


def test_a_new_stream_counts_alone_though_the_old_one_has_not_ended_yet() -> None:
    found = deployed()
    found.acknowledge("db", "identity", "1")
    found.connected("db")
    assert found.accepted("db", "identity") is None
    found.acknowledge("db", "identity", "2")
    found.disconnected("db")
    assert found.accepted("db", "identity") == "2"


def test_a_refusal_stands_until_something_is_accepted() -> None:
    found = deployed()
    found.refuse("db", "identity", "2", "bad key")
    assert found.refusal("db", "identity") == Refusal("2", "bad key")
    assert found.refusals() == {"db": {"identity": Refusal("2", "bad key")}}
    found.acknowledge("db", "identity", "3")
    assert found.refusal("db", "identity") is None
    assert found.refusals() == {}


def test_a_refusal_of_what_is_not_wanted_any_more_is_nobodys_fault() -> None:
    found = deployed()
    found.refuse("db", "inbound", "1", "address in use")
    found.want(NodeTarget(replace(DB, listeners=()), TARGET.secrets))
    assert found.refusals() == {}


def test_unknown_nodes_are_listened_to_and_nothing_comes_of_it() -> None:
    found = Deployment()
    found.connected("x")
    found.acknowledge("x", "identity", "1")
    found.refuse("x", "identity", "1", "no")
    found.disconnected("x")
    assert found.accepted("x", "identity") is None
    assert found.target("x") is None
    assert found.refusals() == {}


def test_only_a_change_wakes_and_forgetting_wakes_too() -> None:
    async def play() -> None:
        found = deployed()
        waiting = asyncio.create_task(found.changed("db"))
        found.want(NodeTarget(DB, dict(TARGET.secrets)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
        found.offer("db", LEAF)
        await asyncio.sleep(0)
        assert not waiting.done()
        found.offer("db", replace(LEAF, version="2"))
        await asyncio.wait_for(waiting, 1)
        target = found.target("db")
        assert target is not None
        assert target.secrets["identity"].version == "2"
        assert target.secrets["trust"] == TRUST
        gone = asyncio.create_task(found.changed("db"))
        await asyncio.sleep(0)
        found.want(NodeTarget(WEB, {}))
        found.keep_only(["web"])
        await asyncio.wait_for(gone, 1)
        assert found.target("db") is None
        assert found.target("web") is not None

    asyncio.run(play())


def test_a_change_before_anybody_waits_is_not_missed() -> None:
    async def play() -> None:
        found = deployed()
        found.offer("db", replace(LEAF, version="2"))
        await asyncio.wait_for(found.changed("db"), 1)

    asyncio.run(play())


def test_everything_that_may_mean_progress_rings() -> None:
    found = deployed()
    for event in (
        lambda: found.acknowledge("db", "identity", "1"),
        lambda: found.refuse("db", "identity", "2", "no"),
        lambda: found.disconnected("db"),
        lambda: found.connected("db"),
        lambda: found.want(NodeTarget(WEB, {})),
    ):
        found.bell.clear()
        event()
        assert found.bell.is_set()


def test_a_bundles_version_is_its_content_and_keys_are_never_shown() -> None:
    assert BundleMaterial.of("trust", "A") == BundleMaterial.of("trust", "A")
    assert BundleMaterial.of("trust", "A").version != BundleMaterial.of("trust", "B").version
    assert "KEY" not in repr(TARGET)
