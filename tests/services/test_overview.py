"""Overview and evidence: what a person sees is what was stored, and what was not seen stays unknown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.fakes.estate import DATA, NOW, fill
from tests.fakes.store import MemoryStore

from everyhop.core.flow import Flow, FlowClass
from everyhop.core.hop import Posture
from everyhop.core.observation import Kind, Observation, Source
from everyhop.core.verdict import Verdict
from everyhop.errors import EveryhopError
from everyhop.services.evidence import hop_evidence, latest, seals, trends
from everyhop.services.flows import DETECTOR_KEY, DETECTORS, FLOWS
from everyhop.services.overview import Overview, Protection, overview, protection, refusals_of

HOUR = timedelta(hours=1)


def on_estate(play: Callable[[MemoryStore], Awaitable[None]], *, well: bool = False) -> None:
    async def run() -> None:
        store = MemoryStore()
        await fill(store, well=well)
        await play(store)

    asyncio.run(run())


def test_every_hop_counts_and_the_unknown_stay_in_the_whole() -> None:
    async def play(store: MemoryStore) -> None:
        found = await overview(store, DATA, NOW)
        assert (found.encrypted.good, found.encrypted.unknown, found.encrypted.total) == (14, 2, 18)
        assert sum(found.counts.values()) == len(found.hops) == 18
        assert found.quantum_safe.good == 12
        assert found.verdict is Verdict.FAIL

    on_estate(play)


def test_an_estate_without_trouble_passes() -> None:
    async def play(store: MemoryStore) -> None:
        found = await overview(store, DATA, NOW)
        assert found.verdict is Verdict.PASS
        assert not found.firing
        assert not found.open_findings
        assert not found.plaintext_flows

    on_estate(play, well=True)


def test_what_needs_somebody_comes_first() -> None:
    async def play(store: MemoryStore) -> None:
        found = await overview(store, DATA, NOW)
        assert [hop.protection for hop in found.hops[:3]] == [Protection.UNKNOWN, Protection.UNKNOWN, Protection.EXEMPT]
        assert [alert.phase for alert in found.alerts] == ["firing", "firing", "firing", "pending", "ended"]
        counting = [one.counts for one in found.findings]
        assert counting == sorted(counting, reverse=True)
        assert found.findings[0].severity == "critical"
        assert found.renewals[0].name == "cart/identity"
        first = found.first_to_expire
        assert first is not None
        assert first.not_after == min(one.not_after for one in found.status.certificates if one.not_after)
        assert [value.sli for value in found.slis] == [f"M{number}" for number in range(1, 11)]

    on_estate(play)


def test_owners_have_what_waits_for_them() -> None:
    async def play(store: MemoryStore) -> None:
        owners = {owner.name: owner for owner in (await overview(store, DATA, NOW)).owners}
        data = owners["data"]
        assert (data.hops, data.hops_well, data.open, data.firing, data.exceptions) == (5, 3, 3, 3, 1)
        assert data.contact == "data@shop.example"
        assert owners["payments"].open == 0

    on_estate(play)


def test_an_exception_is_told_once_and_its_end_is_seen() -> None:
    async def play(store: MemoryStore) -> None:
        found = await overview(store, DATA, NOW)
        assert [(one.what, one.ended) for one in found.exceptions] == [("cart -> cache", False)]
        later = await overview(store, DATA, NOW + timedelta(days=100))
        assert [one.ended for one in later.exceptions] == [True]
        hop = later.hop("cart -> cache")
        assert hop is not None
        assert hop.protection is Protection.PLAINTEXT

    on_estate(play)


def test_time_alone_makes_hops_unknown() -> None:
    async def play(store: MemoryStore) -> None:
        found = await overview(store, DATA, NOW + HOUR)
        assert found.counts[Protection.ENCRYPTED] == 0
        assert found.counts[Protection.UNKNOWN] == 16
        assert found.verdict is Verdict.UNKNOWN

    on_estate(play, well=True)


@pytest.mark.parametrize("fault", ["", "the kernel does not tell"])
def test_no_flow_is_good_news_only_if_somebody_looked(fault: str) -> None:
    async def play(store: MemoryStore) -> None:
        detector = await DETECTORS.get(store, DETECTOR_KEY)
        assert detector is not None
        silent = replace(detector.value, fault=fault, last_run_at=NOW if fault else NOW - HOUR)
        await DETECTORS.put(store, DETECTOR_KEY, silent)
        found = await overview(store, DATA, NOW)
        assert found.blind
        assert found.verdict is Verdict.UNKNOWN
        await store.delete(DETECTORS.kind, DETECTOR_KEY)
        assert (await overview(store, DATA, NOW)).blind

    on_estate(play, well=True)


def test_flows_beside_the_mesh_are_those_that_nobody_encrypts() -> None:
    async def play(store: MemoryStore) -> None:
        flow = (await FLOWS.all(store))[0].value
        for kind in (FlowClass.MTLS, FlowClass.TLS, FlowClass.WITHIN_HOST):
            await FLOWS.put(store, str(kind), replace(flow, key=str(kind), encryption=kind))
        found = await overview(store, DATA, NOW)
        assert [one.protection for one in found.beside] == ["not encrypted", "not encrypted", "unknown", "exempt"]
        assert {one.flow.caller for one in found.plaintext_flows} == {"reporting", "web"}
        assert len(found.flows) == 8

    on_estate(play)


def test_a_hop_is_what_was_seen_of_it() -> None:
    async def play(store: MemoryStore) -> None:
        (hop,) = [one.status for one in (await overview(store, DATA, NOW)).hops if one.status.hop == "web -> cart"]
        cases = {
            Protection.ENCRYPTED: {},
            Protection.WEAK: {"seen": Posture.TLS, "ok": False},
            Protection.PLAINTEXT: {"seen": Posture.PLAINTEXT, "ok": False},
            Protection.UNKNOWN: {"seen": Posture.UNKNOWN, "ok": False},
            Protection.EXEMPT: {"seen": Posture.EXEMPT},
            Protection.CARRIED: {"seen": Posture.PASSTHROUGH},
        }
        assert {expected: protection(replace(hop, **fields)) for expected, fields in cases.items()} == {
            expected: expected for expected in cases
        }

    on_estate(play)


def test_refusals_are_told_in_words_and_by_hop() -> None:
    async def play(store: MemoryStore) -> None:
        found = await overview(store, DATA, NOW)
        assert [(one.node, one.code) for one in found.refusals] == [
            ("payments", "wrong-identity"),
            ("checkout", "expired"),
            ("orders-db", "plaintext"),
        ]

        def codes(name: str) -> list[str]:
            hop = found.hop(name)
            assert hop is not None
            return [one.code for one in refusals_of(found, hop)]

        assert codes("api -> checkout") == ["expired"]
        assert codes("checkout -> payments") == []  # cart was refused there, and cart is another caller
        assert codes("ledger -> orders-db") == ["plaintext"]  # who showed no identity may have been anybody

    on_estate(play)


def test_nothing_applied_is_an_error() -> None:
    with pytest.raises(EveryhopError, match="nothing was applied") as caught:
        asyncio.run(overview(MemoryStore(), DATA, NOW))
    assert caught.value.code.name == "not-running"


def test_an_identity_leads_to_its_owner() -> None:
    async def play(store: MemoryStore) -> None:
        found: Overview = await overview(store, DATA, NOW)
        assert found.owner_of("spiffe://shop.internal/production/ledger") == "payments"
        assert found.owner_of("spiffe://shop.internal/production/nobody") == ""
        assert found.owner_of("") == ""

    on_estate(play)


def test_evidence_comes_from_both_ends_and_from_outside_newest_first() -> None:
    async def play(store: MemoryStore) -> None:
        hop = (await overview(store, DATA, NOW)).hop("api -> checkout")
        assert hop is not None
        found = await hop_evidence(store, hop, NOW)
        assert {one.source for one in found.observations} == {Source.SERVER, Source.CLIENT}
        moments = [one.at for one in found.observations]
        assert moments == sorted(moments, reverse=True)
        assert {one.subject for one in found.probes} == {hop.status.address}
        assert len(found.hours) == 24
        few = await hop_evidence(store, hop, NOW, limit=4)
        assert len(few.observations) == 4

    on_estate(play)


def test_hours_of_both_ends_are_not_added_up() -> None:
    async def play(store: MemoryStore) -> None:
        hop = (await overview(store, DATA, NOW)).hop("web -> cart")
        assert hop is not None

        def hour(source: Source, count: int, result: str = "ok") -> Observation:
            body = {"count": count, "result": result}
            return Observation(NOW - HOUR / 2, Kind.HOUR, source, "web -> cart", "envoy", Verdict.PASS, body)

        told = [
            hour(Source.SERVER, 5),
            hour(Source.SERVER, 2),
            hour(Source.CLIENT, 6),
            hour(Source.CLIENT, 90, "verify"),
        ]
        await store.observe(told)
        assert (await hop_evidence(store, hop, NOW)).hours[-1].value == 7

    on_estate(play)


def test_trends_keep_gaps_and_objectives() -> None:
    async def play(store: MemoryStore) -> None:
        found = await trends(store, NOW)
        assert found["M1"].objective == 0.95
        assert [point.value for point in found["M1"].points].count(None) == 2
        assert all(point.at <= NOW for series in found.values() for point in series.points)
        companion = {"sli": "M1", "name": "M1, a companion", "value": 0.1}
        await store.observe([Observation(NOW - HOUR, Kind.INDICATOR, Source.RULES, "all", "", Verdict.PASS, companion)])
        assert len((await trends(store, NOW))["M1"].points) == len(found["M1"].points)

    on_estate(play)


def test_the_newest_observations_and_seals() -> None:
    async def play(store: MemoryStore) -> None:
        found = await latest(store, limit=7)
        assert len(found) == 7
        assert [one.at for one in found] == sorted((one.at for one in found), reverse=True)
        assert [(one.stream, one.number) for one in await seals(store)][-1][1] == 1

    on_estate(play)


def test_a_flow_that_was_never_judged_is_no_comfort() -> None:
    async def play(store: MemoryStore) -> None:
        flow = Flow("k", "a", "b", "127.0.0.1:1", FlowClass.UNKNOWN, NOW, NOW, 1, owner="us")
        await FLOWS.put(store, "k", flow)
        assert (await overview(store, DATA, NOW)).verdict is Verdict.UNKNOWN

    on_estate(play, well=True)
