"""What the proxies saw becomes facts: dated, joined, bounded, and without our own footprints."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from tests.fakes.clock import MovedClock
from tests.fakes.pki import CA
from tests.fakes.plane import FakePlane
from tests.fakes.prober import FakeProber
from tests.fakes.store import MemoryStore
from tests.fakes.world import TEXT, plan

from everyhop.core.chain import serial_text
from everyhop.core.hop import Address, End
from everyhop.core.lifecycle import CredentialState, Held, Slot
from everyhop.core.observation import Kind, Stream
from everyhop.core.sli.counts import counts_of, total
from everyhop.core.tally import Shape, Tally, read
from everyhop.ports import Connection, Counters, EndCounters, Event
from everyhop.services.observe import HOPS_SEEN, PROBE_SOURCE, HopSeen, Observer
from everyhop.services.refusals import REFUSALS_SEEN, RefusalSeen

PLAN = plan()
ME = "spiffe://shop.internal/test/"
SAN = "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify SAN_match:TLS_error_end"


@dataclass
class Stage:
    clock: MovedClock = field(default_factory=MovedClock)
    store: MemoryStore = field(default_factory=MemoryStore)
    plane: FakePlane = field(default_factory=FakePlane)
    events: list[Event] = field(default_factory=list[Event])
    kept: int = 10

    def __post_init__(self) -> None:
        self.prober = FakeProber(self.clock)
        self.observer = Observer(
            self.store, self.plane, self.prober, self.clock, self.events.append, refusals_kept=self.kept
        )

    def line(self, node: str = "db", **fields: Any) -> Connection:
        given: dict[str, Any] = {
            "at": self.clock.now(),
            "listener": "inbound",
            "peer_address": "127.0.0.1:40000",
            "version": "TLSv1.3",
            "cipher": "TLS_AES_256_GCM_SHA384",
            "group": "X25519MLKEM768",
            "peer_identity": ME + "web",
            "peer_serial": 77,
        }
        return Connection(node=node, **(given | fields))

    def client(self, **fields: Any) -> Connection:
        given: dict[str, Any] = {"listener": "https", "peer_identity": "", "peer_serial": None, "handshake_us": 900}
        return self.line("edge", **(given | fields))

    def refused(self, who: str = "mallory", why: str = SAN, **fields: Any) -> Connection:
        return self.line(peer_identity=ME + who, failure=why, version="", **fields)

    async def collect(self, *lines: Connection) -> int:
        self.plane.seen += lines
        return await self.observer.collect(PLAN, None)

    async def hops(self) -> dict[str, HopSeen]:
        return {one.value.hop: one.value for one in await HOPS_SEEN.all(self.store)}

    async def counted(self) -> list[tuple[Shape, Tally]]:
        """What was counted, once it is written down."""
        await self.observer.write(None)
        return [read(one) for one in await self.store.observations(stream=Stream.DETAIL, kind=Kind.CONNECTIONS)]

    async def refusals(self) -> list[RefusalSeen]:
        return [one.value for one in await REFUSALS_SEEN.all(self.store)]


def proving(node: str, name: str = "identity", serial: str = "1") -> Slot:
    at = MovedClock().now()
    held = Held("r", "k", serial, "intermediate-1", "PEM", at, at, at + timedelta(days=1))
    return Slot(node, name, CredentialState.PROVING, 1, at, "r", at, pending=held)


# --- hops ---------------------------------------------------------------------------------------------------------


def test_a_hop_is_what_its_serving_end_saw_last() -> None:
    async def play() -> None:
        stage = Stage()
        assert await stage.collect(stage.line(), stage.line(peer_serial=78)) == 2
        seen = (await stage.hops())["web -> db"]
        assert (seen.version, seen.group, seen.peer_identity) == ("TLSv1.3", "X25519MLKEM768", ME + "web")
        assert (seen.peer_serial, seen.connections, seen.source) == ("4e", 2, "envoy of db")
        await stage.collect(stage.line())
        assert (await stage.hops())["web -> db"].connections == 3
        assert [one.fields["hop"] for one in stage.events] == ["web -> db"], "told once"
        assert await stage.collect() == 0

    asyncio.run(play())


def test_the_edge_is_called_by_whoever_comes() -> None:
    async def play() -> None:
        stage = Stage()
        await stage.collect(stage.client())
        assert list(await stage.hops()) == ["client -> edge"]

    asyncio.run(play())


def test_a_handshake_that_was_only_begun_is_abandoned() -> None:
    """Envoy logs version and group as soon as it has answered: a caller who then goes away has proved nothing."""

    async def play() -> None:
        stage = Stage()
        await stage.collect(
            stage.client(handshake_us=None),
            stage.line(peer_identity="", peer_serial=None),
            stage.line(),
            stage.line(peer_serial=None, reached=True),
            stage.line(version="", cipher="", group="", peer_identity="", peer_serial=None, reached=True),
        )
        assert list(await stage.hops()) == ["web -> db"]
        counted = await stage.counted()
        assert sorted((shape.subject, shape.result, one.count) for shape, one in counted if shape.result != "ok") == [
            ("? -> db", "abandoned", 1),
            ("client -> edge", "abandoned", 1),
        ]
        assert sum(one.count for shape, one in counted if shape.result == "ok") == 3

    asyncio.run(play())


def test_sessions_taken_up_at_the_edge_are_counted_beside_its_connections() -> None:
    async def play() -> None:
        stage = Stage()
        https = EndCounters("https", End.SERVER, connections=9, handshakes=9, resumed=4)
        stage.plane.counted["edge"] = Counters(10, (https,))
        await stage.observer.count(PLAN, None)
        await stage.collect(*[stage.client() for _ in range(9)], stage.client(handshake_us=None))
        stage.plane.counted["edge"] = Counters(20, (replace(https, handshakes=11, resumed=5),))
        await stage.observer.count(PLAN, None)
        edge = total(counts_of(shape, one) for shape, one in await stage.counted())
        assert (edge.ok, edge.resumed, edge.resumption_known) == (9, 5, 9)
        assert len(edge.kinds) == 1

    asyncio.run(play())


def test_a_connection_that_nobody_planned_is_no_hop() -> None:
    async def play() -> None:
        stage = Stage()
        await stage.collect(stage.line(peer_identity=ME + "mallory"), stage.line(listener="other"))
        assert await stage.hops() == {}

    asyncio.run(play())


def test_lines_are_taken_in_the_order_of_their_time() -> None:
    """A connection that began long ago is logged when it ends, after newer ones."""

    async def play() -> None:
        stage = Stage()
        old = stage.clock.now() - timedelta(hours=1)
        await stage.collect(stage.line(peer_serial=2), stage.line(at=old, peer_serial=1))
        assert (await stage.hops())["web -> db"].at == stage.clock.now()
        await stage.collect(stage.line(at=old, peer_serial=1))
        seen = (await stage.hops())["web -> db"]
        assert (seen.at, seen.peer_serial, seen.connections) == (stage.clock.now(), "2", 3)

    asyncio.run(play())


def test_a_clock_that_went_back_does_not_freeze_what_is_seen() -> None:
    async def play() -> None:
        stage = Stage()
        await stage.collect(stage.line(peer_serial=1))
        stage.clock.move(timedelta(days=-30))
        await stage.collect(stage.line(peer_serial=2))
        assert (await stage.hops())["web -> db"].peer_serial == "2"

    asyncio.run(play())


def test_our_own_probes_leave_no_trace() -> None:
    async def play() -> None:
        stage = Stage()
        ours = f"{PROBE_SOURCE}:51000"
        assert await stage.collect(stage.line(peer_address=ours), stage.refused(peer_address=ours)) == 0
        assert (await stage.hops(), await stage.refusals(), stage.observer.sightings) == ({}, [], {})
        near = PROBE_SOURCE + "0:51000"
        assert await stage.collect(stage.line(peer_address=near)) == 1, "another address that begins alike"

    asyncio.run(play())


# --- refusals -----------------------------------------------------------------------------------------------------


def test_refusals_are_joined_by_who_and_why() -> None:
    async def play() -> None:
        stage = Stage()
        first = stage.clock.now()
        await stage.collect(*(stage.refused(peer_address=f"10.0.0.1:{port}") for port in (1, 2)))
        stage.clock.move(timedelta(minutes=1))
        await stage.collect(stage.refused(peer_address="10.0.0.9:3", peer_serial=9), stage.refused("eve"))
        found = {one.peer_identity.rpartition("/")[2]: one for one in await stage.refusals()}
        assert set(found) == {"mallory", "eve"}
        one = found["mallory"]
        assert (one.count, one.first_at, one.last_at) == (3, first, stage.clock.now())
        assert one.last_peer == "10.0.0.9:3"
        assert [event.name for event in stage.events] == ["refused", "refused"]
        assert await stage.hops() == {}

    asyncio.run(play())


def test_plaintext_is_counted_by_where_it_comes_from() -> None:
    """Who would be hurt by refusing plaintext is known by host: it has shown no identity."""

    async def play() -> None:
        stage = Stage()
        plain = "TLS_error:|268435612:SSL routines:OPENSSL_internal:HTTP_REQUEST:TLS_error_end"
        for host, times in (("10.0.0.1", 3), ("10.0.0.2", 2)):
            lines = [
                stage.line(peer_identity="", failure=plain, version="", peer_address=f"{host}:{n}")
                for n in range(times)
            ]
            await stage.collect(*lines)
        assert {one.last_peer.partition(":")[0]: one.count for one in await stage.refusals()} == {
            "10.0.0.1": 3,
            "10.0.0.2": 2,
        }

    asyncio.run(play())


def test_refusals_fill_a_bounded_space_and_the_oldest_go_first() -> None:
    async def play() -> None:
        stage = Stage(kept=10)
        for number in range(30):
            stage.clock.move(timedelta(seconds=1))
            await stage.collect(stage.refused(f"one-{number}"))
        kept = sorted(int(one.peer_identity.rpartition("-")[2]) for one in await stage.refusals())
        assert kept == list(range(20, 30))
        await stage.collect(stage.refused("one-25"))
        assert len(await stage.refusals()) == 10, "one that is known already drives nobody out"

    asyncio.run(play())


def test_a_scanner_cannot_fill_the_store_in_one_moment() -> None:
    async def play() -> None:
        stage = Stage(kept=10)
        await stage.collect(*(stage.refused(f"bot-{number}") for number in range(500)))
        await stage.collect(*(stage.refused(f"more-{number}") for number in range(500)))
        assert len(await stage.refusals()) == 10
        await stage.collect(stage.refused("x" * 5000, "y" * 5000))
        assert max(len(key) for kind, key in stage.store.disk.documents if kind == REFUSALS_SEEN.kind) < 500

    asyncio.run(play())


def test_a_peer_that_hung_up_was_not_refused() -> None:
    async def play() -> None:
        stage = Stage()
        await stage.collect(stage.refused(why="TLS_error:|33554536:system_library:OPENSSL_internal:Connection_reset"))
        assert await stage.refusals() == []
        assert await stage.hops() == {}

    asyncio.run(play())


# --- what is seen on the wire -------------------------------------------------------------------------------------


def test_a_caller_is_seen_by_whom_it_calls() -> None:
    async def play() -> None:
        stage = Stage()
        await stage.collect(stage.line("web", peer_identity=ME + "edge", peer_serial=0xABC))
        (key, seen), *others = stage.observer.sightings.items()
        assert (key, seen.serial, seen.source, others) == ("edge/identity", "abc", "shown to web", [])

    asyncio.run(play())


def test_the_newest_showing_counts_whoever_logged_it() -> None:
    async def play() -> None:
        stage = Stage()
        old = stage.clock.now() - timedelta(hours=1)
        edge = ME + "edge"
        await stage.collect(
            stage.line("web", peer_identity=edge, peer_serial=2),
            stage.line("edge", peer_identity=edge, peer_serial=1, at=old),
        )
        assert stage.observer.sightings["edge/identity"].serial == "2"

    asyncio.run(play())


def test_who_listens_is_not_seen_by_what_others_say_and_nobody_by_a_refusal() -> None:
    async def play() -> None:
        stage = Stage()
        await stage.collect(
            stage.line(), stage.refused("edge"), stage.line(peer_identity=ME + "edge", peer_serial=None)
        )
        assert stage.observer.sightings == {}

    asyncio.run(play())


def test_a_listener_is_asked_itself_and_only_while_proof_is_awaited() -> None:
    async def play() -> None:
        stage = Stage()
        leaf = CA().issue("db.test")
        stage.prober.serve(Address("127.0.0.1", 9002), leaf.der, needs_credential=True)
        served = replace(proving("db"), state=CredentialState.SERVED)
        await stage.observer.look(PLAN, [served, proving("edge"), proving("gone")])
        assert stage.prober.asked == []
        await stage.observer.look(PLAN, [proving("db")])
        seen = stage.observer.sightings["db/identity"]
        assert seen.serial == serial_text(leaf.certificate.serial_number)
        assert seen.source == "handshake with 127.0.0.1:9002"

    asyncio.run(play())


def test_a_host_at_the_edge_is_asked_by_its_name_and_a_wildcard_by_some_name() -> None:
    async def play() -> None:
        stage = Stage()
        text = TEXT.replace("shop.localhost: {to: web}", '"*.shop.localhost": {to: web}')
        await stage.observer.look(plan(text), [proving("edge", "host:*.shop.localhost")])
        assert [(str(one.address), one.server_name) for one in stage.prober.asked] == [
            ("127.0.0.1:8443", "any.shop.localhost")
        ]
        assert stage.observer.sightings == {}, "nobody answered"

    asyncio.run(play())


def test_an_answer_that_is_no_certificate_proves_nothing() -> None:
    async def play() -> None:
        stage = Stage()
        stage.prober.serve(Address("127.0.0.1", 9002), b"\x30\x03junk")
        await stage.observer.look(PLAN, [proving("db")])
        assert stage.observer.sightings == {}

    asyncio.run(play())
