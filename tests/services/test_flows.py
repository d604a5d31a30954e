"""Who talks to whom becomes flows: joined to services, judged by what the ports said, dated, and without ourselves."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

import pytest
from tests.fakes.clock import MovedClock
from tests.fakes.sockets import FakePorts, FakeSockets, Process
from tests.fakes.store import MemoryStore
from tests.fakes.world import TEXT

from everyhop.core.endpoint.facts import Encryption
from everyhop.core.endpoint.target import Wire
from everyhop.core.flow import ITSELF, Flow, FlowClass, ListenerSeen
from everyhop.core.observation import Kind, Stream
from everyhop.core.plan import PROXY_SOURCE
from everyhop.core.validation import read
from everyhop.core.verdict import Verdict
from everyhop.errors import EveryhopError
from everyhop.ports import Event, Json, Socket
from everyhop.services.apply import plan_of
from everyhop.services.connections import Pair
from everyhop.services.flows import DETECTOR_KEY, DETECTORS, FLOWS, LISTENERS, FlowDetector, FlowWatcher
from everyhop.services.observe import PROBE_SOURCE

WEB = Process("python", 11, mark="web")
WEB_PROXY = Process("envoy", 12, mark="envoy-web")
DB = Process("postgres", 21, mark="db")
DB_PROXY = Process("envoy", 22, mark="envoy-db")
EDGE = Process("envoy", 31, mark="envoy-edge")
EVERYHOP = Process("everyhop", 1, mark=ITSELF)
SHELL = Process("curl", 77)
OTHER = Process("cron", 78, uid=1001, user="other")

EXEMPT = """\
exceptions:
  - {hop: web -> db, posture: exempt, reason: the driver is old, owner: data, until: 2026-03-10}
"""
EXEMPT_TEXT = TEXT.replace('{service: db, at: "127.0.0.1:7101"}', "db") + EXEMPT


@dataclass
class Stage:
    """The small world's mesh as the kernel would list it: everybody listens and nobody is connected."""

    text: str = TEXT
    clock: MovedClock = field(default_factory=MovedClock)
    store: MemoryStore = field(default_factory=MemoryStore)
    sockets: FakeSockets = field(default_factory=FakeSockets)
    events: list[Event] = field(default_factory=list[Event])
    caught: list[Socket] = field(default_factory=list[Socket])
    wanted: list[Collection[int]] = field(default_factory=list[Collection[int]])

    def __post_init__(self) -> None:
        self.ports = FakePorts(self.clock)
        self.topology = read(self.text, file="everyhop.yaml", today=date(2026, 3, 1))
        self.plan = plan_of(self.topology, {}, data="/data", file_dir="/shop")
        self.samples: dict[Pair, bool] = {}
        self.sampled: list[Collection[int]] = []
        for address, process, answer in (
            ("127.0.0.1:7001", WEB, Encryption.PLAINTEXT),
            ("127.0.0.1:9001", WEB_PROXY, Encryption.TLS),
            ("127.0.0.1:7101", WEB_PROXY, Encryption.PLAINTEXT),
            ("127.0.0.1:7002", DB, Encryption.PLAINTEXT),
            ("127.0.0.1:9002", DB_PROXY, Encryption.TLS),
            ("127.0.0.1:8443", EDGE, Encryption.TLS),
        ):
            self.sockets.listen(address, process)
            self.ports.answers[address] = answer
        self.life()

    def life(self) -> None:
        """Begin anew on the same store."""
        self.watcher = FlowWatcher(
            self.store,
            self.sockets,
            self.ports,
            self.clock,
            self.events.append,
            catch=self.catch,
            sample=self.sample,
        )

    async def catch(self, ports: Collection[int]) -> Sequence[Socket]:
        self.wanted.append(ports)
        return self.caught

    async def sample(self, ports: Collection[int]) -> dict[Pair, bool]:
        self.sampled.append(ports)
        return self.samples

    def tick(self, after: timedelta = timedelta(seconds=5), times: int = 1) -> dict[str, Flow]:
        """Look, and return the stored flows by key."""

        async def run() -> dict[str, Flow]:
            for _ in range(times):
                self.clock.move(after)
                await self.watcher.tick(self.plan, self.topology, None)
            return {one.value.key: one.value for one in await FLOWS.all(self.store)}

        return asyncio.run(run())

    def listeners(self) -> dict[str, ListenerSeen]:
        return {one.value.address: one.value for one in asyncio.run(LISTENERS.all(self.store))}

    def detector(self) -> FlowDetector:
        found = asyncio.run(DETECTORS.get(self.store, DETECTOR_KEY))
        assert found
        return found.value

    def told(self, kind: Kind, subject: str = "") -> list[tuple[Json, Verdict]]:
        """The changes that were observed, in order."""
        found = [
            one
            for stream in Stream
            for one in asyncio.run(self.store.observations(stream=stream, kind=kind, subject=subject or None))
        ]
        return [(one.body.get("change"), one.verdict) for one in found]


# --- the classes --------------------------------------------------------------------------------------------------


def test_a_mesh_at_work_has_no_plaintext_flow() -> None:
    stage = Stage()
    connect = stage.sockets.connect
    connect("127.0.0.1:40001", "127.0.0.1:8443", calling=SHELL, serving=EDGE)
    connect("127.0.0.1:40002", "127.0.0.1:9001", calling=EDGE, serving=WEB_PROXY)
    connect("127.0.0.1:40003", "127.0.0.1:7001", calling=WEB_PROXY, serving=WEB)
    connect("127.0.0.1:40004", "127.0.0.1:7101", calling=WEB, serving=WEB_PROXY)
    connect("127.0.0.1:40005", "127.0.0.1:9002", calling=WEB_PROXY, serving=DB_PROXY)
    connect("127.0.0.1:40006", "127.0.0.1:7002", calling=DB_PROXY, serving=DB)
    found = stage.tick()
    assert {key: flow.encryption for key, flow in found.items()} == {
        "curl (shop) -> 127.0.0.1:8443": FlowClass.TLS,
        "edge -> 127.0.0.1:9001": FlowClass.MTLS,
        "web -> 127.0.0.1:7001": FlowClass.WITHIN_SERVICE,
        "web -> 127.0.0.1:7101": FlowClass.WITHIN_SERVICE,
        "web -> 127.0.0.1:9002": FlowClass.MTLS,
        "db -> 127.0.0.1:7002": FlowClass.WITHIN_SERVICE,
    }
    assert found["web -> 127.0.0.1:9002"].callee == "db"
    assert found["web -> 127.0.0.1:9002"].owner == "data"
    assert all(flow.connections == 1 for flow in found.values())


def test_two_services_past_their_proxies_are_plaintext_even_on_loopback() -> None:
    stage = Stage()
    stage.tick()
    stage.sockets.connect("127.0.0.1:40001", "127.0.0.1:7002", calling=WEB, serving=DB)
    flow = stage.tick()["web -> 127.0.0.1:7002"]
    assert (flow.encryption, flow.caller, flow.callee, flow.owner) == (FlowClass.PLAINTEXT, "web", "db", "data")
    assert flow.counts
    assert "past their proxies" in flow.evidence
    assert "said plaintext" in flow.evidence
    assert stage.told(Kind.FLOW) == [("appeared", Verdict.FAIL)]


def test_a_service_in_anothers_way_out_is_plaintext() -> None:
    stage = Stage()
    stage.sockets.connect("127.0.0.1:40001", "127.0.0.1:7101", calling=DB, serving=WEB_PROXY)
    assert stage.tick()["db -> 127.0.0.1:7101"].encryption is FlowClass.PLAINTEXT


def test_one_user_on_this_machine_is_listed_and_not_counted() -> None:
    stage = Stage()
    stage.sockets.connect("127.0.0.1:40001", "127.0.0.1:7002", calling=SHELL, serving=DB)
    flow = stage.tick()["curl (shop) -> 127.0.0.1:7002"]
    assert (flow.encryption, flow.caller_process, flow.caller_user) == (FlowClass.WITHIN_HOST, "curl", "shop")
    assert not flow.counts


def test_another_users_plaintext_counts() -> None:
    stage = Stage()
    stage.sockets.connect("127.0.0.1:40001", "127.0.0.1:7002", calling=OTHER, serving=DB)
    assert stage.tick()["cron (other) -> 127.0.0.1:7002"].encryption is FlowClass.PLAINTEXT


def test_a_caller_that_could_not_be_seen_is_not_taken_for_harmless() -> None:
    stage = Stage()
    hidden = replace(SHELL, seen=False)
    stage.sockets.connect("127.0.0.1:40001", "127.0.0.1:7002", calling=hidden, serving=DB)
    assert stage.tick()["user shop -> 127.0.0.1:7002"].encryption is FlowClass.UNKNOWN


def test_a_service_is_known_by_its_user_where_its_process_is_not_seen() -> None:
    stage = Stage()
    app = Process("java", 0, uid=2000, user="db", seen=False)
    stage.sockets.drop("127.0.0.1:7002")
    stage.sockets.listen("127.0.0.1:7002", app)
    stage.sockets.connect("127.0.0.1:40001", "127.0.0.1:7001", calling=app, serving=WEB)
    assert stage.tick()["db -> 127.0.0.1:7001"].encryption is FlowClass.PLAINTEXT


def test_clients_from_outside_are_one_caller_at_the_edge_and_many_elsewhere() -> None:
    stage = Stage()
    stage.sockets.drop("127.0.0.1:8443")
    stage.sockets.listen("0.0.0.0:8443", EDGE)
    stage.sockets.listen("0.0.0.0:9999", SHELL)
    stage.ports.answers["127.0.0.1:9999"] = Encryption.PLAINTEXT
    for host in ("192.0.2.1", "192.0.2.2"):
        stage.sockets.connect(f"{host}:5555", "10.0.0.1:8443", serving=EDGE)
        stage.sockets.connect(f"{host}:5555", "10.0.0.1:9999", serving=SHELL)
    found = stage.tick()
    assert {key: flow.encryption for key, flow in found.items()} == {
        "client -> 0.0.0.0:8443": FlowClass.TLS,
        "192.0.2.1 -> 0.0.0.0:9999": FlowClass.PLAINTEXT,
        "192.0.2.2 -> 0.0.0.0:9999": FlowClass.PLAINTEXT,
    }
    assert found["client -> 0.0.0.0:8443"].connections == 2


def test_what_services_call_elsewhere_is_unknown_and_what_others_call_is_nobodys_business() -> None:
    stage = Stage()
    stage.sockets.connect("10.0.0.1:5001", "192.0.2.9:80", calling=WEB)
    stage.sockets.connect("10.0.0.1:5002", "192.0.2.9:443", calling=SHELL)
    found = stage.tick()
    assert {key: flow.encryption for key, flow in found.items()} == {"web -> 192.0.2.9:80": FlowClass.UNKNOWN}
    assert found["web -> 192.0.2.9:80"].owner == "shop"


@pytest.mark.parametrize(("today", "excused"), [(date(2026, 3, 10), True), (date(2026, 3, 11), False)])
def test_an_exception_excuses_until_its_last_day(today: date, excused: bool) -> None:
    stage = Stage(EXEMPT_TEXT)
    stage.sockets.connect("127.0.0.1:40001", "127.0.0.1:7002", calling=WEB, serving=DB)
    stage.clock.set(stage.clock.now().replace(day=today.day))
    flow = stage.tick()["web -> 127.0.0.1:7002"]
    assert flow.encryption is FlowClass.PLAINTEXT
    assert (flow.excused, flow.excused_until) == (("the driver is old", date(2026, 3, 10)) if excused else ("", None))
    assert flow.counts is not excused


def test_a_port_that_takes_both_is_unknown_until_a_sample_decides() -> None:
    stage = Stage()
    stage.ports.answers["127.0.0.1:7002"] = Encryption.UPGRADE_OFFERED
    stage.sockets.connect("127.0.0.1:40001", "127.0.0.1:7002", calling=WEB, serving=DB)
    assert stage.tick()["web -> 127.0.0.1:7002"].encryption is FlowClass.UNKNOWN
    (pair,) = [(one.local, one.remote) for one in stage.sockets.table if one.local.port == 40001 and one.remote]
    stage.samples = {pair: False}
    assert stage.tick()["web -> 127.0.0.1:7002"].encryption is FlowClass.UNKNOWN  # not more than once a minute
    assert stage.tick(timedelta(minutes=1))["web -> 127.0.0.1:7002"].encryption is FlowClass.PLAINTEXT
    assert stage.sampled == [{7002}, {7002}]
    assert stage.told(Kind.FLOW) == [("appeared", Verdict.UNKNOWN), ("changed", Verdict.FAIL)]


# --- what is over -------------------------------------------------------------------------------------------------


def test_what_is_over_keeps_the_caller_it_was_seen_with() -> None:
    stage = Stage()
    stage.sockets.connect("127.0.0.1:40001", "127.0.0.1:7002", calling=WEB, serving=DB)
    stage.tick()
    stage.sockets.clear()
    stage.sockets.over("127.0.0.1:7002", "127.0.0.1:40001")
    found = stage.tick(timedelta(seconds=50))
    assert list(found) == ["web -> 127.0.0.1:7002"]
    assert found["web -> 127.0.0.1:7002"].connections == 1
    assert stage.wanted == []


@pytest.mark.parametrize(
    ("near", "far", "expected"),
    [
        ("127.0.0.1:7002", "127.0.0.1:40001", FlowClass.UNKNOWN),
        ("127.0.0.1:40001", "127.0.0.1:7002", FlowClass.UNKNOWN),
        ("127.0.0.1:8443", "127.0.0.1:40001", FlowClass.TLS),
    ],
)
def test_nobody_knows_whose_it_was_when_it_is_over(near: str, far: str, expected: FlowClass) -> None:
    stage = Stage()
    stage.tick()
    stage.sockets.over(near, far)
    (flow,) = stage.tick(timedelta(minutes=3)).values()
    assert (flow.caller, flow.encryption) == ("127.0.0.1", expected)


def test_what_came_from_elsewhere_in_plaintext_counts_even_when_it_is_over() -> None:
    stage = Stage()
    stage.sockets.listen("0.0.0.0:9999", SHELL)
    stage.ports.answers["127.0.0.1:9999"] = Encryption.PLAINTEXT
    stage.sockets.over("10.0.0.1:9999", "192.0.2.1:40001")
    assert stage.tick()["192.0.2.1 -> 0.0.0.0:9999"].encryption is FlowClass.PLAINTEXT


def test_a_caller_too_quick_for_a_snapshot_is_caught_by_looking_closer() -> None:
    stage = Stage()
    stage.tick()
    stage.sockets.over("127.0.0.1:7002", "127.0.0.1:40001")
    quick = FakeSockets()
    quick.connect("127.0.0.1:40002", "127.0.0.1:7002", calling=WEB)
    stage.caught = quick.table
    found = stage.tick(timedelta(minutes=3))
    assert stage.wanted == [{7002}]
    assert {key: flow.encryption for key, flow in found.items()} == {"web -> 127.0.0.1:7002": FlowClass.PLAINTEXT}


# --- ourselves ----------------------------------------------------------------------------------------------------


def test_nobody_hides_behind_an_address_of_ours() -> None:
    """A connection that lives is judged by the process that holds it, wherever it says it comes from."""
    for source in (PROBE_SOURCE, PROXY_SOURCE):
        stage = Stage()
        stage.sockets.connect(f"{source}:5001", "127.0.0.1:7002", calling=OTHER, serving=DB)
        (flow,) = stage.tick().values()
        assert (flow.caller_process, flow.encryption) == ("cron", FlowClass.PLAINTEXT)


def test_a_process_that_calls_itself_like_a_service_is_none() -> None:
    stage = Stage()
    stage.sockets.connect("127.0.0.1:5001", "127.0.0.1:7002", calling=replace(OTHER, name="web"), serving=DB)
    (flow,) = stage.tick().values()
    assert flow.caller == "web (other)"


def test_our_own_probes_are_no_flows() -> None:
    stage = Stage()
    stage.sockets.connect(f"{PROBE_SOURCE}:5001", "127.0.0.1:7002", serving=DB)
    stage.sockets.over("127.0.0.1:7002", f"{PROBE_SOURCE}:5002")
    stage.sockets.connect("10.0.0.1:5003", "10.0.0.1:9999", calling=EVERYHOP, serving=SHELL)
    stage.sockets.listen("10.0.0.1:9999", SHELL)
    stage.sockets.over("10.0.0.1:9999", "10.0.0.1:5004")  # by an address that others use, too: but it was just asked
    stage.ports.answers["10.0.0.1:9999"] = Encryption.PLAINTEXT
    stage.tick()
    assert stage.tick() == {}


def test_the_edge_is_asked_by_a_name_that_it_answers_to() -> None:
    stage = Stage()
    stage.tick()
    (edge,) = [one for one in stage.ports.asked if one.port == 8443]
    assert edge.name == "shop.localhost"


def test_our_own_sockets_and_the_ways_out_are_not_asked() -> None:
    stage = Stage()
    stage.sockets.listen("127.0.0.1:9443", EVERYHOP)
    stage.sockets.listen("127.0.0.1:19000", WEB_PROXY)
    stage.tick()
    assert [one for one in stage.ports.asked if one.port in (9443, 19000)] == []
    asked = [str(target) for target in stage.ports.asked]
    assert sorted(asked) == ["127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:8443", "127.0.0.1:9001", "127.0.0.1:9002"]
    seen = stage.listeners()
    assert seen["127.0.0.1:9443"].part == "everyhop"
    assert (seen["127.0.0.1:19000"].part, seen["127.0.0.1:19000"].service) == ("proxy", "web")
    assert seen["127.0.0.1:7101"].encryption is Encryption.PLAINTEXT
    assert seen["127.0.0.1:7101"].asked_at is None


def test_what_everyhop_opens_to_other_machines_is_asked_like_any_other() -> None:
    stage = Stage()
    stage.sockets.listen("0.0.0.0:9443", EVERYHOP)
    stage.ports.answers["127.0.0.1:9443"] = Encryption.TLS
    stage.sockets.connect("192.0.2.1:5555", "10.0.0.1:9443", serving=EVERYHOP)
    assert stage.tick() == {}  # who reads the dashboard is no flow of the mesh
    seen = stage.listeners()["0.0.0.0:9443"]
    assert (seen.part, seen.encryption) == ("everyhop", Encryption.TLS)


def test_a_proxys_own_address_tells_its_connections_when_they_are_over() -> None:
    stage = Stage()
    stage.tick()
    stage.sockets.over("127.0.0.1:7002", f"{PROXY_SOURCE}:5001")
    assert stage.tick(timedelta(minutes=3)) == {}
    assert stage.wanted == []
    stage.sockets.connect(f"{PROXY_SOURCE}:5002", "127.0.0.1:7002", calling=DB_PROXY, serving=DB)
    assert stage.tick()["db -> 127.0.0.1:7002"].encryption is FlowClass.WITHIN_SERVICE


# --- listeners ----------------------------------------------------------------------------------------------------


def test_listeners_are_known_with_service_part_and_owner_or_not_at_all() -> None:
    stage = Stage()
    stage.sockets.listen("[::]:6379", OTHER)
    stage.ports.answers["127.0.0.1:6379"] = Encryption.PLAINTEXT
    stage.tick()
    seen = stage.listeners()
    assert (seen["127.0.0.1:7002"].service, seen["127.0.0.1:7002"].part, seen["127.0.0.1:7002"].owner) == (
        "db",
        "app",
        "data",
    )
    assert (seen["127.0.0.1:9002"].part, seen["127.0.0.1:9002"].encryption) == ("proxy", Encryption.TLS)
    unknown = seen["[::]:6379"]
    assert (unknown.service, unknown.part, unknown.user, unknown.process) == ("", "", "other", "cron")
    assert (unknown.encryption, unknown.wire) == (Encryption.PLAINTEXT, Wire.REDIS)
    assert stage.told(Kind.LISTENER, "[::]:6379") == [("appeared", Verdict.UNKNOWN), ("asked", Verdict.FAIL)]
    assert stage.told(Kind.LISTENER, "127.0.0.1:7002")[-1] == ("asked", Verdict.NOT_APPLICABLE)


def test_a_listener_is_asked_once_an_hour_and_when_its_socket_is_another() -> None:
    stage = Stage()
    times = lambda: sum(str(target) == "127.0.0.1:7002" for target in stage.ports.asked)  # noqa: E731
    stage.tick(times=20)
    assert times() == 1
    stage.tick(timedelta(minutes=61))
    assert times() == 2
    stage.sockets.drop("127.0.0.1:7002")
    stage.tick()
    stage.sockets.listen("127.0.0.1:7002", DB)
    stage.ports.answers["127.0.0.1:7002"] = Encryption.TLS
    stage.tick()
    assert times() == 3
    assert stage.listeners()["127.0.0.1:7002"].encryption is Encryption.TLS


def test_an_answer_that_told_nothing_is_asked_for_again_soon_but_not_for_ever() -> None:
    stage = Stage()
    stage.ports.answers["127.0.0.1:7002"] = Encryption.SILENT
    stage.tick(timedelta(minutes=1), times=30)
    assert sum(str(target) == "127.0.0.1:7002" for target in stage.ports.asked) == 6


def test_a_listener_that_went_is_told_and_forgotten() -> None:
    stage = Stage()
    stage.tick()
    stage.sockets.drop("127.0.0.1:7002")
    stage.tick(timedelta(seconds=30))
    assert "127.0.0.1:7002" in stage.listeners()
    stage.tick(timedelta(seconds=31))
    assert "127.0.0.1:7002" not in stage.listeners()
    assert [change for change, _ in stage.told(Kind.LISTENER, "127.0.0.1:7002")] == ["appeared", "asked", "went"]


# --- what is written ----------------------------------------------------------------------------------------------


def test_a_flow_ends_stays_listed_and_goes() -> None:
    stage = Stage()
    stage.sockets.connect("127.0.0.1:40001", "127.0.0.1:7002", calling=WEB, serving=DB)
    stage.tick()
    seen_at = stage.clock.now()
    stage.sockets.clear()
    assert stage.tick(timedelta(seconds=59))["web -> 127.0.0.1:7002"].ended_at is None
    ended = stage.tick(timedelta(seconds=1))["web -> 127.0.0.1:7002"]
    assert (ended.ended_at, ended.last_at) == (seen_at, seen_at)
    stage.clock.set(seen_at + timedelta(minutes=14))
    assert stage.tick(timedelta(seconds=59))
    assert stage.tick(timedelta(seconds=1)) == {}
    assert [change for change, _ in stage.told(Kind.FLOW)] == ["appeared", "ended"]


def test_a_flow_that_comes_back_goes_on() -> None:
    stage = Stage()
    stage.sockets.connect("127.0.0.1:40001", "127.0.0.1:7002", calling=WEB, serving=DB)
    first = stage.tick()["web -> 127.0.0.1:7002"]
    stage.sockets.clear()
    stage.tick(timedelta(minutes=5))
    stage.sockets.connect("127.0.0.1:40002", "127.0.0.1:7002", calling=WEB, serving=DB)
    again = stage.tick()["web -> 127.0.0.1:7002"]
    assert (again.first_at, again.ended_at, again.connections) == (first.first_at, None, 2)


def test_documents_are_written_on_change_and_once_a_minute() -> None:
    stage = Stage()
    stage.sockets.connect("127.0.0.1:40001", "127.0.0.1:7002", calling=WEB, serving=DB)
    stage.tick()
    revision = asyncio.run(stage.store.revision())
    stage.tick(times=11)
    assert asyncio.run(stage.store.revision()) == revision
    stage.tick()
    assert asyncio.run(stage.store.revision()) == revision + 1
    assert stage.detector().last_run_at == stage.clock.now()


def test_a_new_life_goes_on_with_what_was_known() -> None:
    stage = Stage()
    stage.sockets.connect("127.0.0.1:40001", "127.0.0.1:7002", calling=WEB, serving=DB)
    first = stage.tick()["web -> 127.0.0.1:7002"]
    stage.life()
    again = stage.tick(timedelta(seconds=30))["web -> 127.0.0.1:7002"]
    assert (again.first_at, again.connections) == (first.first_at, 1)
    assert [change for change, _ in stage.told(Kind.FLOW)] == ["appeared"]
    assert stage.told(Kind.BLIND) == []


def test_a_store_that_took_nothing_is_given_all_of_it_again() -> None:
    stage = Stage()
    stage.sockets.connect("127.0.0.1:40001", "127.0.0.1:7002", calling=WEB, serving=DB)

    async def fenced() -> None:
        lost = await stage.store.acquire("control", "a", timedelta(0), stage.clock.now())
        await stage.store.acquire("control", "b", timedelta(hours=1), stage.clock.move(timedelta(seconds=1)))
        with pytest.raises(EveryhopError, match="lease"):
            await stage.watcher.tick(stage.plan, stage.topology, lost)

    asyncio.run(fenced())
    assert "web -> 127.0.0.1:7002" in stage.tick()
    assert len(stage.listeners()) == 6
    assert stage.told(Kind.FLOW) == [("appeared", Verdict.FAIL)]


# --- not knowing --------------------------------------------------------------------------------------------------


def test_not_being_able_to_look_is_written_down_once_and_ended() -> None:
    stage = Stage()
    stage.tick()
    looked = stage.clock.now()
    stage.sockets.fault = "expected the kernel's socket table, got permission denied"
    stage.tick(times=3)
    detector = stage.detector()
    assert (detector.last_run_at, detector.fault) == (looked, stage.sockets.fault)
    assert [event.name for event in stage.events] == ["flows.blind"]
    stage.sockets.fault = ""
    stage.tick()
    assert stage.detector().fault == ""
    began, ended = asyncio.run(stage.store.observations(kind=Kind.BLIND))
    assert (began.verdict, began.body["since"], began.body["until"]) == (Verdict.UNKNOWN, looked.isoformat(), "")
    assert ended.body["until"] == stage.clock.now().isoformat()


def test_a_pause_between_two_lives_is_an_interval_of_not_knowing() -> None:
    stage = Stage()
    stage.tick()
    stage.life()
    stage.tick(timedelta(hours=2))
    (blind,) = asyncio.run(stage.store.observations(kind=Kind.BLIND))
    assert blind.body["reason"] == "nobody looked"
