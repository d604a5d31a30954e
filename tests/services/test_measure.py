"""Measuring: known numbers of connections give exactly the indicators and metrics that counting gives."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.fakes.clock import START, MovedClock
from tests.fakes.store import MemoryStore
from tests.fakes.world import TEXT, World, start, topology

from everyhop.core import tally
from everyhop.core.alerts import ALERTS
from everyhop.core.finding import Finding, Severity
from everyhop.core.flow import Flow, FlowClass
from everyhop.core.hop import End
from everyhop.core.observation import Kind, Observation, Source, Stream
from everyhop.core.sli.value import SliValue
from everyhop.core.tally import Shape, Tally
from everyhop.core.topology import Criticality
from everyhop.core.verdict import Verdict
from everyhop.services.apply import apply
from everyhop.services.flows import DETECTOR_KEY, DETECTORS, FLOWS, FlowDetector
from everyhop.services.inspect import FINDINGS
from everyhop.services.inventory import status
from everyhop.services.measure import CHART_EVERY, EVERY, SLIS, Meter, overrides_of
from everyhop.services.observe import HOPS_SEEN, HopSeen
from everyhop.services.overview import overview

HOP = "web -> db"
MINUTE = timedelta(minutes=1)


class Scene:
    """A store with an applied topology, and a meter that reads it."""

    def __init__(self, store: MemoryStore | None = None, text: str = TEXT) -> None:
        self.store = store or MemoryStore()
        self.clock = MovedClock()
        self.text = text
        self.meter = Meter(self.store, self.clock)

    async def begin(self) -> Scene:
        await apply(self.store, self.text, file="f", file_dir="/", actor="t", now=START)
        await self.tick()
        return self

    async def tick(self, after: timedelta = EVERY) -> bool:
        self.clock.move(after)
        found = await status(self.store, "/data", self.clock.now())
        return await self.meter.tick(found, topology(self.text), None)

    async def connections(self, result: str, count: int, *, hop: str = HOP, end: End = End.SERVER, **more: Any) -> None:
        given = {
            "version": "TLSv1.3",
            "cipher": "TLS_AES_128_GCM_SHA256",
            "group": "X25519MLKEM768",
            "peer": "spiffe://x",
        }
        shape = Shape(hop, end, "envoy", result, **(given if result == "ok" else {}))
        one = Tally(count, more.get("resumed"), count, count * 1500, (0, 0, *[count] * 7))
        await self.store.observe([tally.observed(shape, one, self.clock.now())])

    def value(self, sli: str, scope: str = HOP, name: str = "") -> SliValue:
        return next(v for v in self.meter.values if (v.sli, v.scope) == (sli, scope) and name in ("", v.name))

    def metric(self, name: str, **labels: str) -> float:
        (found,) = [
            one.value
            for one in self.meter.samples()
            if one.metric.name == name
            and labels.items() <= dict(zip(one.metric.labels, one.labels, strict=True)).items()
        ]
        return found


async def scene(**given: Any) -> Scene:
    return await Scene(**given).begin()


def test_known_numbers_of_connections_give_exactly_their_indicators() -> None:
    async def play() -> None:
        world = await scene()
        failed = {"verify": 4, "protocol": 6, "abandoned": 70, "refused_by_policy": 50, "plaintext": 30}
        for result, count in {"ok": 990, **failed}.items():
            await world.connections(result, count)
        await world.connections("ok", 500, end=End.CLIENT, resumed=400)
        await world.tick()
        m2 = world.value("M2")
        assert (m2.good, m2.total, m2.value, m2.owner) == (990, 1000, 0.99, "data")
        assert m2.verdict is Verdict.FAIL
        assert (world.value("M1").good, world.value("M1").total) == (990, 990)
        assert (world.value("M3").value, world.value("M3", "all").total) == (1, 990)
        assert (world.value("M5").good, world.value("M5").note) == (990, "100.0% with a post-quantum group")
        assert (world.value("M7").good, world.value("M7").total) == (400, 500)
        assert world.value("M6").value is not None
        for result, count in {"ok": 990, "verify": 4, "refused_by_policy": 50, "abandoned": 70}.items():
            assert world.metric("everyhop_tls_connections_total", hop=HOP, end="server", result=result) == count
        assert world.metric("everyhop_plaintext_refused_total", hop=HOP) == 30
        assert world.metric("everyhop_flow_connections_total", service="db", encryption="mtls") == 990
        assert world.metric("everyhop_tls_handshake_seconds", hop=HOP) == 990 * 0.0015

    asyncio.run(play())


@pytest.mark.parametrize(
    ("verdicts", "compliant"),
    [
        ({"plaintext-served": Verdict.PASS, "tls-version-old": Verdict.PASS}, [1]),
        ({"plaintext-served": Verdict.PASS, "tls-version-old": Verdict.FAIL}, [0]),
        ({"plaintext-served": Verdict.UNKNOWN, "tls-version-old": Verdict.FAIL}, [0]),
        ({"plaintext-served": Verdict.PASS, "tls-version-old": Verdict.UNKNOWN}, []),
        ({"plaintext-served": Verdict.UNKNOWN}, []),
    ],
)
def test_an_endpoint_of_which_a_grave_rule_is_unknown_is_not_called_compliant(
    verdicts: dict[str, Verdict], compliant: list[int]
) -> None:
    async def play() -> None:
        world = await scene()
        for rule, verdict in verdicts.items():
            await FINDINGS.put(world.store, rule, Finding(rule, verdict, Severity.HIGH, "10.0.0.5:443", "as said"))
        advice = Finding("tls-server-order", Verdict.UNKNOWN, Severity.LOW, "10.0.0.5:443", "as said")
        await FINDINGS.put(world.store, "advice", advice)
        await world.tick()
        found = [one.value for one in world.meter.samples() if one.metric.name == "everyhop_policy_compliant"]
        assert found == compliant

    asyncio.run(play())


def test_indicators_are_stored_and_become_observations() -> None:
    async def play() -> None:
        world = await scene()
        stored = {one.value.sli for one in await SLIS.all(world.store)}
        assert stored == {f"M{number}" for number in range(1, 11)}
        assert not await world.tick(timedelta(seconds=5)), "not before it is time"
        seen = await world.store.observations(stream=Stream.DETAIL, kind=Kind.INDICATOR, limit=5000)
        kept = await world.store.observations(stream=Stream.RECORD, kind=Kind.INDICATOR, limit=5000)
        assert len(seen) == len(kept) == len(world.meter.values)
        await world.tick(CHART_EVERY)
        more = await world.store.observations(stream=Stream.DETAIL, kind=Kind.INDICATOR, limit=5000)
        assert len(more) == 2 * len(seen)
        assert len(await world.store.observations(stream=Stream.RECORD, kind=Kind.INDICATOR, limit=5000)) == len(kept)

    asyncio.run(play())


def test_windows_go_on_after_a_restart_and_counters_begin_anew() -> None:
    async def play() -> None:
        world = await scene()
        await world.connections("ok", 90)
        await world.connections("protocol", 10)
        await world.tick()
        again = Scene(MemoryStore(world.store.disk))
        again.clock.set(world.clock.now())
        await again.tick()
        assert again.value("M2").total == 100
        assert again.metric("everyhop_tls_connections_total", hop=HOP, end="server", result="ok") == 0
        await again.connections("ok", 5)
        await again.tick()
        assert again.value("M2").total == 105
        assert again.metric("everyhop_tls_connections_total", hop=HOP, end="server", result="ok") == 5

    asyncio.run(play())


def test_hours_and_their_minutes_are_not_counted_twice() -> None:
    async def play() -> None:
        world = await scene()
        await world.connections("protocol", 7)
        minutes = await world.store.observations(stream=Stream.DETAIL, kind=Kind.CONNECTIONS)
        await world.store.observe(tally.hours(minutes, world.clock.now() + MINUTE))
        again = Scene(MemoryStore(world.store.disk))
        again.clock.set(world.clock.now() + 2 * MINUTE)
        await again.tick()
        assert again.meter.snapshot is not None
        (hop,) = [one for one in again.meter.snapshot.hops if one.hop == HOP]
        assert {errors.failures for errors in hop.errors.values()} == {7}
        assert again.value("M2").budget_left is not None

    asyncio.run(play())


def test_the_budget_is_that_of_thirty_days() -> None:
    async def play() -> None:
        world = Scene()
        old = Shape(HOP, End.SERVER, "envoy", "protocol")
        good = Shape(HOP, End.SERVER, "envoy", "ok")
        for day, shape, count in ((29, old, 5), (29, good, 9995), (31, old, 1000)):
            (hour,) = tally.hours([tally.observed(shape, Tally(count), START)], START - timedelta(days=day))
            await world.store.observe([hour])
        await world.begin()
        assert world.value("M2").budget_left == pytest.approx(0.5)  # 5 of 10,000 failed, 10 may: medium, 99.9 %

    asyncio.run(play())


def flow(connections: int, **fields: Any) -> Flow:
    given: dict[str, Any] = {"key": "k", "caller": "web", "callee": "db", "server": "127.0.0.1:7002"}
    given |= {"encryption": FlowClass.PLAINTEXT, "first_at": START, "last_at": START + MINUTE, "owner": "data"}
    return Flow(connections=connections, **(given | fields))


def test_flows_that_go_round_the_proxies_are_counted_as_they_come() -> None:
    async def play() -> None:
        store = MemoryStore()
        await FLOWS.put(store, "k", flow(100))
        world = await scene(store=store)
        await DETECTORS.put(store, DETECTOR_KEY, FlowDetector(START, 0, 0, 0, 0))
        await world.connections("ok", 3)
        await FLOWS.put(store, "k", flow(101))
        await world.tick()
        m1 = world.value("M1")
        assert (m1.good, m1.total) == (3, 4), "those of an earlier life were counted then"
        assert (world.value("M10", "db").value, world.value("M10", "all").value, world.value("M10", "web").value) == (
            1,
            1,
            0,
        )
        assert world.metric("everyhop_flow_connections_total", service="db", encryption="plaintext") == 1
        await FLOWS.put(store, "k", flow(105, encryption=FlowClass.MTLS))
        await world.tick()
        assert world.value("M1").total == 4, "what the proxies carry is theirs to count"
        assert world.value("M10", "db").value == 0
        for encryption in (FlowClass.TLS, FlowClass.UNKNOWN):
            at_the_door = flow(300, key=encryption, caller="python", server="127.0.0.1:9002", encryption=encryption)
            await FLOWS.put(store, at_the_door.key, at_the_door)
        await world.tick()
        assert world.value("M1", "all").total == 4, "whoever comes to a proxy's door is the proxy's to count"

    asyncio.run(play())


def test_without_a_detector_nothing_is_said_of_plaintext() -> None:
    async def play() -> None:
        world = await scene()
        assert world.value("M10", "all").value is None
        assert world.value("M10", "all").verdict is Verdict.UNKNOWN
        names = {one.metric.name for one in world.meter.samples() if one.metric.name.startswith("everyhop_flow_det")}
        assert names == {"everyhop_flow_detector_blind"}
        assert world.metric("everyhop_flow_detector_blind") == 1

    asyncio.run(play())


@pytest.mark.parametrize(
    ("age", "fault", "blind"), [(0, "", ""), (0, "not permitted", "not permitted"), (200, "", "since")]
)
def test_the_page_the_indicator_the_alert_and_prometheus_mean_the_same_by_blind(
    age: int, fault: str, blind: str
) -> None:
    async def play() -> None:
        world = await scene()
        world.clock.move(MINUTE)
        looked = world.clock.now() - timedelta(seconds=age)
        await DETECTORS.put(world.store, DETECTOR_KEY, FlowDetector(looked, 0, 0, 0, 0, fault=fault))
        await world.tick()
        page = (await overview(world.store, "/data", world.clock.now())).blind
        assert blind in page
        assert bool(page) == bool(blind)
        assert world.value("M10", "all").verdict is (Verdict.UNKNOWN if blind else Verdict.PASS)
        assert world.meter.snapshot is not None
        told = [one.summary for one in ALERTS["FlowDetectorBlind"].condition(world.meter.snapshot)]
        assert told == ([page] if blind else [])
        assert world.metric("everyhop_flow_detector_blind") == bool(blind)

    asyncio.run(play())


def test_flows_in_plaintext_come_first_and_only_ours() -> None:
    async def play() -> None:
        store = MemoryStore()
        newer = {"last_at": START + 2 * MINUTE, "encryption": FlowClass.UNKNOWN}
        told = [flow(1, key=f"unknown {number}", **newer) for number in range(250)]
        told += [flow(1), flow(1, key="excused", excused="measured"), flow(1, key="of nobody", owner="")]
        for one in told:
            await FLOWS.put(store, one.key, one)
        world = await scene(store=store)
        series = [
            one.labels
            for one in world.meter.samples()
            if one.metric.name == "everyhop_flow_last_seen_timestamp_seconds"
        ]
        assert [labels[0] for labels in series[:3]] == ["k", "excused", "unknown 0"]
        assert len(series) == 200
        assert "of nobody" not in {labels[0] for labels in series}

    asyncio.run(play())


SILENCE = "  - {{alert: {alert}, about: '{about}', reason: moves, until: 2026-12-31}}\n"


@pytest.mark.parametrize(
    ("silenced", "quiet"),
    [
        (["HopNotSeen"], 0),
        (["HopHandshakesAllFail", "HopHandshakeBudgetBurnFast"], 0),
        (["HopHandshakesAllFail", "HopHandshakeBudgetBurnFast", "HopHandshakeBudgetBurnSlow"], 1),
    ],
)
def test_maintenance_is_when_all_is_silenced_that_it_switches_off(silenced: list[str], quiet: int) -> None:
    silences = "".join(SILENCE.format(alert=alert, about=HOP) for alert in silenced)

    async def play() -> None:
        world = await scene(text=f"{TEXT}notify:\n  silences:\n{silences}")
        assert world.metric("everyhop_maintenance", hop=HOP) == quiet
        assert world.metric("everyhop_maintenance", hop="edge -> web") == 0

    asyncio.run(play())


def test_silence_is_measured_in_heartbeats() -> None:
    async def play() -> None:
        world = await scene(text=TEXT + "policy: {heartbeat: 10m}\n")
        assert world.metric("everyhop_observer_silent_after_seconds") == 1800
        assert world.meter.snapshot is not None
        assert world.meter.snapshot.heartbeat == 10 * MINUTE

    asyncio.run(play())


def test_certificates_orders_and_authorities() -> None:
    async def play() -> None:
        mesh = World()
        await start(mesh)
        world = await Scene(MemoryStore(mesh.disk)).begin()
        lead = world.value("M4", "web/identity", "expiry lead")
        assert lead.value is not None
        assert 0 < lead.value < 86400
        assert world.value("M4", "web/identity", "renewal slack").verdict is Verdict.PASS
        assert world.value("M4", "all", "expiry lead").value is not None
        assert world.metric("everyhop_cert_rotation_in_progress", cert="web/identity", owner="shop") == 0
        assert world.metric("everyhop_cert_not_after_timestamp_seconds", cert="authority/root-1") > START.timestamp()
        m8 = world.value("M8", "all")
        assert (m8.good, m8.total, m8.verdict) == (6, 6, Verdict.PASS)
        assert world.metric("everyhop_issuance_total", result="ok") == 0, "of this life"

    asyncio.run(play())


def test_findings_hops_and_probes() -> None:
    async def play() -> None:
        world = await scene()
        finding = Finding(
            "tls-version-old", Verdict.FAIL, Severity.HIGH, "10.0.0.5:443", "accepts TLS 1.0", owner="shop"
        )
        await FINDINGS.put(world.store, "one", finding)
        seen = HopSeen(
            HOP, world.clock.now(), "TLSv1.3", "AES", "X25519", "spiffe://shop.internal/test/web", "1", 1, "e"
        )
        await HOPS_SEEN.put(world.store, HOP, seen)
        body: dict[str, Any] = {"hellos": 7, "revocation_source": "ocsp", "revocation_status": "good"}
        look = Observation(
            world.clock.now(), Kind.ENDPOINT, Source.PROBE, "10.0.0.5:443", "prober", Verdict.PASS, body, Stream.DETAIL
        )
        await world.store.observe([look])
        await world.tick()
        assert world.metric("everyhop_policy_compliant", endpoint="10.0.0.5:443", owner="shop") == 0
        assert world.metric("everyhop_hop_posture", hop=HOP, seen="mtls") == 1
        assert world.metric("everyhop_hops_unobserved") == 2
        assert world.metric("everyhop_probe_hellos_total") == 7
        assert world.metric("everyhop_revocation_check_total", source="ocsp", result="good") == 1
        assert world.value("M9", "ocsp").value == 1
        assert world.meter.snapshot is not None
        assert world.meter.snapshot.observer_last_run == seen.at
        assert set(world.meter.snapshot.unsealed_since) == {"detail", "record"}

    asyncio.run(play())


def test_targets_of_the_topology_go_first() -> None:
    text = TEXT + "objectives:\n  handshake_success: {medium: 0.5}\n"
    assert overrides_of(topology(text))["M2"] == {Criticality.MEDIUM: 0.5}

    async def play() -> None:
        world = await scene(text=text)
        assert world.value("M2").objective == 0.5
        assert world.metric("everyhop_slo_objective", sli="M2", hop=HOP) == 0.5

    asyncio.run(play())


def test_indicators_of_what_is_gone_go() -> None:
    async def play() -> None:
        world = await scene()
        stray = SliValue("M1", "TLS usage", "gone -> away", 1.0, "ratio", START, 3600)
        await SLIS.put(world.store, "M1|TLS usage|gone -> away", stray)
        await world.tick()
        assert await SLIS.get(world.store, "M1|TLS usage|gone -> away") is None

    asyncio.run(play())
