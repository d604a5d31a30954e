"""A topology is stored as what should be, whole or not at all, and its addresses are remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import timedelta

import pytest
from tests.fakes.clock import START
from tests.fakes.store import MemoryStore
from tests.fakes.world import TEXT, topology

from everyhop.core.fault import TopologyFaults
from everyhop.core.hop import Address
from everyhop.services.apply import DASHBOARD, apply, planned, remember_addresses, remembered, wished

OPEN = TEXT.replace(', mesh: "127.0.0.1:9001"', "").replace('{service: db, at: "127.0.0.1:7101"}', "db")


async def put(store: MemoryStore, text: str, **given: str) -> bool:
    return await apply(
        store,
        text,
        file=given.get("file", "everyhop.yaml"),
        file_dir=given.get("file_dir", "/shop"),
        actor="t",
        now=START,
    )


class Ports:
    """Free addresses, one after the other; ``taken`` tells what was not to be given, ``band`` where to look."""

    def __init__(self, first: int = 15400) -> None:
        self.next = first
        self.taken: set[Address] = set()
        self.band = range(0)

    def __call__(self, taken: Collection[Address], band: range) -> Address:
        self.taken, self.band = set(taken), band
        while Address("127.0.0.1", self.next) in self.taken:
            self.next += 1
        return Address("127.0.0.1", self.next)


def test_a_topology_is_stored_once_and_audited() -> None:
    async def play() -> None:
        store = MemoryStore()
        assert await wished(store) is None
        assert await planned(store, "/data") is None
        assert await put(store, TEXT) is True
        assert await put(store, TEXT) is False
        assert await put(store, TEXT, file_dir="/elsewhere") is True
        assert await put(store, TEXT + "# a remark\n") is True
        found = await wished(store)
        assert found is not None
        assert (found[1].file, found[2], list(found[0].services)) == ("everyhop.yaml", 3, ["db", "web"])
        assert [one.action for one in store.disk.audit] == ["apply topology"] * 3

    asyncio.run(play())


def test_a_file_with_faults_changes_nothing() -> None:
    async def play() -> None:
        store = MemoryStore()
        await put(store, TEXT)
        before = (dict(store.disk.documents), list(store.disk.audit))
        with pytest.raises(TopologyFaults) as faults:
            await put(store, TEXT.replace("web: {owner: shop", "web: {owner: nobody").replace("postgres", "smoke"))
        assert faults.value.code.name == "topology-invalid"
        assert len(faults.value.faults) == 2
        assert (dict(store.disk.documents), list(store.disk.audit)) == before

    asyncio.run(play())


def test_an_exception_that_ended_since_does_not_stop_what_runs() -> None:
    async def play() -> None:
        store = MemoryStore()
        text = OPEN + "exceptions:\n  - {hop: web -> db, posture: exempt, reason: r, owner: shop, until: 2026-03-02}\n"
        await put(store, text)
        assert await wished(store) is not None
        with pytest.raises(TopologyFaults):
            await apply(store, text + "\n", file="f", file_dir="/", actor="t", now=START + timedelta(days=9))
        assert await wished(store) is not None

    asyncio.run(play())


def test_an_address_is_chosen_once_and_for_ever() -> None:
    async def play() -> None:
        store = MemoryStore()
        first = await remember_addresses(store, topology(OPEN), Ports())
        assert set(first) == {"mesh/web", "call/web/db", DASHBOARD}
        assert len(set(first.values())) == 3
        assert await remember_addresses(store, topology(OPEN), Ports(20000)) == first == await remembered(store)
        await remember_addresses(store, topology(TEXT), Ports(20000))
        assert await remember_addresses(store, topology(OPEN), Ports(20000)) == first, "it came back"

    asyncio.run(play())


def test_another_band_is_for_addresses_that_are_not_chosen_yet() -> None:
    async def play() -> None:
        store, ports = MemoryStore(), Ports()
        half = TEXT.replace(', mesh: "127.0.0.1:9001"', "")
        first = await remember_addresses(store, topology(half), ports)
        assert (set(first), ports.band) == ({"mesh/web", DASHBOARD}, range(15400, 16400))
        moved = OPEN + "policy: {mesh_ports: 21000-21009}\n"
        then = await remember_addresses(store, topology(moved), ports)
        assert (set(then), ports.band) == ({"mesh/web", "call/web/db", DASHBOARD}, range(21000, 21010))
        assert then["mesh/web"] == first["mesh/web"]

    asyncio.run(play())


def test_a_chosen_address_clashes_with_nothing_that_the_file_fixes() -> None:
    async def play() -> None:
        ports = Ports(8443)
        text = OPEN.replace("https: 127.0.0.1:8443", "https: 127.0.0.1:8443\n  http: 127.0.0.1:8444")
        found = await remember_addresses(MemoryStore(), topology(text), ports)
        assert {address.port for address in found.values()} == {8445, 8446, 8447}
        assert {one.port for one in ports.taken} >= {7001, 7002, 8443, 8444, 9002, 8445}

    asyncio.run(play())


def test_a_plan_can_be_shown_before_its_addresses_are_chosen() -> None:
    async def play() -> None:
        store = MemoryStore()
        await put(store, OPEN)
        found = await planned(store, "/data")
        assert found is not None
        assert found[1].node("web").listeners[0].address == Address("127.0.0.1", 0)
        await remember_addresses(store, topology(OPEN), Ports())
        found = await planned(store, "/data")
        assert found is not None
        assert found[1].node("web").listeners[0].address == Address("127.0.0.1", 15400)

    asyncio.run(play())
