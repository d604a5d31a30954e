"""The scanner on endpoints that are described: what it asks, and what it makes of the answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.fakes.clock import START, MovedClock
from tests.fakes.endpoint import Behaviour, FakeEndpointProber, chose
from tests.fakes.pki import CA

from everyhop.core.endpoint.facts import Encryption, Entrance, HttpFacts, TlsFacts
from everyhop.core.endpoint.fleet import Entry
from everyhop.core.endpoint.target import Target, Wire
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.guidelines.registry import find
from everyhop.core.report.endpoint import EndpointReport
from everyhop.core.tls.versions import TLS12
from everyhop.core.verdict import Verdict
from everyhop.ports import ClientCredential
from everyhop.services.scan import Mode, Order, Scanner

AUTHORITY = CA("the authority")
LEAF = AUTHORITY.issue("shop.test")
ORDER = Order(guideline=find("mozilla-intermediate@6.0"))


class Net:
    """A prober and a scanner over it."""

    def __init__(self) -> None:
        clock = MovedClock()
        self.prober = FakeEndpointProber(clock)
        self.scanner = Scanner(self.prober, clock, {"own": [AUTHORITY.certificate]})

    def scan(self, address: str, order: Order = ORDER, **entry: str) -> EndpointReport:
        return asyncio.run(self.scanner.scan(Entry(Target.parse(address), **entry), order))  # type: ignore[arg-type]

    def looks(self) -> set[str]:
        return {what for what, _ in self.prober.asked}


@pytest.fixture
def net() -> Net:
    return Net()


def verdict(report: EndpointReport, rule: str) -> Verdict:
    return next(one.verdict for one in report.findings if one.rule == rule)


def test_a_good_endpoint_is_well(net: Net) -> None:
    net.prober.serve("shop.test:8883", Behaviour(wire=Wire.MQTT, chain=(LEAF.der,)))
    report = net.scan("shop.test:8883")
    assert report.verdict is Verdict.PASS
    assert net.looks() == {"plain", "verify", "certificate", "revocation"}
    assert verdict(report, "chain-untrusted") is Verdict.PASS


def test_plaintext_is_asked_first_and_ends_the_look(net: Net) -> None:
    net.prober.serve("cache.test:6379", Behaviour(Encryption.PLAINTEXT, Wire.REDIS))
    report = net.scan("cache.test:6379")
    assert report.verdict is Verdict.FAIL
    assert net.looks() == {"plain"}


def test_nobody_listens_is_not_well(net: Net) -> None:
    assert net.scan("shop.test").verdict is Verdict.UNKNOWN
    assert net.looks() == {"plain"}


def test_who_cannot_be_reached_is_not_asked_again(net: Net) -> None:
    net.prober.serve("far.test:443", Behaviour(Encryption.UNKNOWN, None, "unreachable: timeout"))
    assert net.scan("far.test").verdict is Verdict.UNKNOWN
    assert net.looks() == {"plain"}


def test_tls_that_is_offered_is_looked_at_and_fails(net: Net) -> None:
    net.prober.serve("db.test:5432", Behaviour(Encryption.UPGRADE_OFFERED, Wire.POSTGRESQL, chain=(LEAF.der,)))
    report = net.scan("db.test:5432")
    assert verdict(report, "tls-optional") is Verdict.FAIL
    assert "verify" in net.looks()


def test_http_is_asked_only_where_http_is_spoken(net: Net) -> None:
    net.prober.serve("shop.test:443", Behaviour(wire=Wire.HTTP, chain=(LEAF.der,)))
    report = net.scan("shop.test")
    assert "http" in net.looks()
    assert report.facts.http is not None
    assert report.facts.http.plain_port == 80, "beside 443 stands 80"
    other = Net()
    other.prober.serve("shop.test:8443", Behaviour(wire=Wire.HTTP, chain=(LEAF.der,)))
    found = other.scan("shop.test:8443").facts.http
    assert found is not None
    assert found.plain_port is None


def test_enumerate_asks_for_everything(net: Net) -> None:
    net.prober.serve("shop.test:8883", Behaviour(wire=Wire.MQTT, chain=(LEAF.der,)))
    report = net.scan("shop.test:8883", replace(ORDER, mode=Mode.ENUMERATE))
    assert {"enumerate", "session"} <= net.looks()
    assert "verify" not in net.looks()
    assert report.verdict is Verdict.PASS


@pytest.mark.parametrize(("lets_in", "expected"), [((), Verdict.PASS), ((Entrance.NO_CERTIFICATE,), Verdict.FAIL)])
def test_mtls_is_proved_by_trying(net: Net, lets_in: tuple[Entrance, ...], expected: Verdict) -> None:
    net.prober.serve("api.test:9443", Behaviour(chain=(AUTHORITY.issue("api.test").der,), lets_in=lets_in))
    credentials = {Entrance.FOREIGN_AUTHORITY.value: ClientCredential(b"chain", b"key")}
    report = net.scan("api.test:9443", replace(ORDER, enforcement=True, credentials=credentials))
    assert report.verdict is expected
    assert report.facts.enforcement is not None
    assert len(report.facts.enforcement.entries) == 2


def test_an_entry_is_held_to_its_own_guideline(net: Net) -> None:
    net.prober.serve("old.test:8883", Behaviour(wire=Wire.MQTT, tls={"forbidden_suites_tls12": chose(TLS12, 0x009E)}))
    order = replace(ORDER, guidelines={"mine": find("everyhop")})
    assert str(net.scan("old.test:8883", order).guideline) == "mozilla-intermediate 6.0"
    report = asyncio.run(net.scanner.scan(Entry(Target.parse("old.test:8883"), "mine", "fleet.txt", 3), order))
    assert report.guideline.name == "everyhop"
    assert (report.file, report.line) == ("fleet.txt", 3)


def test_a_fleet_goes_side_by_side_up_to_a_bound(net: Net) -> None:
    for number in range(40):
        net.prober.serve(f"host{number}.test:8883", Behaviour(wire=Wire.MQTT))
    entries = [Entry(Target.parse(f"host{number}.test:8883")) for number in range(40)]

    async def all_of_them() -> list[EndpointReport]:
        return [one async for one in net.scanner.fleet(entries, replace(ORDER, at_once=5))]

    reports = asyncio.run(all_of_them())
    assert {str(one.target) for one in reports} == {str(entry.target) for entry in entries}
    assert 1 < net.prober.busiest <= 5


def test_who_stops_reading_stops_the_scan(net: Net) -> None:
    entries = [Entry(Target.parse(f"host{number}.test:8883")) for number in range(100)]

    async def only_the_first() -> int:
        reports = net.scanner.fleet(entries, replace(ORDER, at_once=3))
        async for _ in reports:
            break
        await reports.aclose()
        return len(asyncio.all_tasks())

    assert asyncio.run(only_the_first()) == 1, "nothing is left over"
    assert len(net.prober.asked) < 10


# --- one endpoint never costs another its report ------------------------------------------------------------------


class Broken(FakeEndpointProber):
    """One look at one endpoint raises what nobody foresaw."""

    def __init__(self, clock: MovedClock, error: Exception) -> None:
        super().__init__(clock)
        self.error = error

    async def verify(self, target: Target, guideline: Guideline, *, timeout: float = 5.0) -> TlsFacts:
        if target.host == "bad.test":
            raise self.error
        return await super().verify(target, guideline, timeout=timeout)


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), ValueError("Invalid IPv6 URL"), KeyError(7)])
def test_a_fault_of_ours_is_one_endpoints_unknown(error: Exception) -> None:
    clock = MovedClock()
    prober = Broken(clock, error)
    names = ("a.test", "bad.test", "b.test")
    for name in names:
        prober.serve(f"{name}:8883", Behaviour(wire=Wire.MQTT, chain=(LEAF.der,)))
    scanner = Scanner(prober, clock, {"own": [AUTHORITY.certificate]})

    async def all_of_them() -> dict[str, EndpointReport]:
        entries = [Entry(Target.parse(f"{name}:8883"), file="fleet.txt", line=7) for name in names]
        return {one.target.host: one async for one in scanner.fleet(entries, ORDER)}

    reports = asyncio.run(all_of_them())
    assert set(reports) == set(names)
    bad = reports.pop("bad.test")
    assert (bad.verdict, bad.file, bad.line) == (Verdict.UNKNOWN, "fleet.txt", 7)
    (finding,) = bad.findings
    assert (finding.rule, finding.subject) == ("scan-failed", "bad.test:8883")
    assert type(error).__name__ in finding.evidence
    assert not [one for report in reports.values() for one in report.findings if one.rule == "scan-failed"]


def test_a_hostile_redirect_costs_nobody_the_scan(net: Net) -> None:
    target = Target.parse("http://bad.test")
    answer = HttpFacts(target, START, plain_status=302, plain_location="https://[::bad")
    net.prober.serve("bad.test:80", Behaviour(Encryption.PLAINTEXT, Wire.HTTP, http=answer))
    assert net.scan("http://bad.test").verdict is not Verdict.PASS
