"""The class of a connection follows from what was proved about its port, from who meets whom, and from nothing else."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import product
from typing import Any

import pytest
from tests.fakes.world import TEXT, plan, topology

from everyhop.core.endpoint.facts import Encryption
from everyhop.core.endpoint.target import Wire
from everyhop.core.flow import (
    Flow,
    FlowClass,
    ListenerSeen,
    Meeting,
    classify,
    listener_verdict,
    verdict_of,
    worse,
)
from everyhop.core.hop import Address
from everyhop.core.places import Place, Places, Role, marks_of, places_of
from everyhop.core.verdict import Verdict

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
P, E, C = Encryption.PLAINTEXT, Encryption, FlowClass


def place(role: Role, service: str = "db") -> Place:
    return Place(Address("127.0.0.1", 7002), service, role, "data")


APP, MESH, WAY_OUT = place(Role.APP), place(Role.MESH), place(Role.WAY_OUT)
WEB: dict[str, Any] = {"caller": "web", "caller_part": "app"}
WEB_PROXY: dict[str, Any] = {"caller": "web", "caller_part": "proxy"}
DB_PROXY: dict[str, Any] = {"caller": "db", "caller_part": "proxy"}
HERE: dict[str, Any] = {"here": True, "same_user": True}
OVER: dict[str, Any] = {"held": False, "known": False}

TABLE: list[tuple[str, dict[str, Any], FlowClass]] = [
    ("a proxy to an mTLS port", {**WEB_PROXY, **HERE, "callee": MESH, "port": E.TLS}, C.MTLS),
    ("a proxy to an mTLS port that was not asked yet", {**WEB_PROXY, **HERE, "callee": MESH}, C.MTLS),
    ("a proxy to an mTLS port that answers plaintext", {**WEB_PROXY, **HERE, "callee": MESH, "port": P}, C.PLAINTEXT),
    ("an app at another's mTLS port", {**WEB, **HERE, "callee": MESH, "port": E.TLS}, C.TLS),
    ("an app past both proxies", {**WEB, **HERE, "callee": APP, "port": P}, C.PLAINTEXT),
    ("an app past both proxies, to TLS", {**WEB, **HERE, "callee": APP, "port": E.TLS}, C.TLS),
    ("an app past both proxies, to who knows", {**WEB, **HERE, "callee": APP}, C.UNKNOWN),
    ("a proxy past the other's", {**WEB_PROXY, **HERE, "callee": APP, "port": P}, C.PLAINTEXT),
    ("an app in another's way out", {**WEB, **HERE, "callee": WAY_OUT, "port": P}, C.PLAINTEXT),
    ("a proxy to its own app", {**DB_PROXY, **HERE, "callee": APP, "port": P}, C.WITHIN_SERVICE),
    (
        "a proxy to its own app under another user",
        {**DB_PROXY, "here": True, "callee": APP, "port": P},
        C.WITHIN_SERVICE,
    ),
    ("an app to its own proxy", {"caller": "db", **HERE, "callee": WAY_OUT, "port": P}, C.WITHIN_SERVICE),
    ("a service to itself over the network", {"caller": "db", "callee": APP, "port": P}, C.PLAINTEXT),
    ("a shell at an app", {**HERE, "callee": APP, "port": P}, C.WITHIN_HOST),
    ("a shell at somebody's port", {**HERE, "port": P}, C.WITHIN_HOST),
    ("a shell at a silent port", {**HERE, "port": E.SILENT}, C.WITHIN_HOST),
    ("a shell at a TLS port", {**HERE, "port": E.TLS}, C.TLS),
    ("another user at an app", {"here": True, "callee": APP, "port": P}, C.PLAINTEXT),
    ("who knows who at an app", {**HERE, "known": False, "callee": APP, "port": P}, C.UNKNOWN),
    ("who knows who at somebody's port", {**HERE, "known": False, "port": P}, C.WITHIN_HOST),
    ("a service at a port that is not in the topology", {**WEB, **HERE, "port": P}, C.WITHIN_HOST),
    ("a service at another user's port", {**WEB, "here": True, "port": P}, C.PLAINTEXT),
    ("from elsewhere to plaintext", {"callee": APP, "port": P}, C.PLAINTEXT),
    ("from elsewhere to TLS", {"port": E.TLS}, C.TLS),
    ("from elsewhere to an upgrade that is required", {"port": E.UPGRADE_REQUIRED}, C.TLS),
    ("from elsewhere to an upgrade that is offered", {"port": E.UPGRADE_OFFERED}, C.UNKNOWN),
    ("from elsewhere to SSH", {"port": E.OWN}, C.TLS),
    ("from elsewhere to silence", {"port": E.SILENT}, C.UNKNOWN),
    ("from elsewhere to a port that closed", {"port": E.CLOSED}, C.UNKNOWN),
    ("from here to elsewhere", {**WEB}, C.UNKNOWN),
    (
        "both taken, sampled as TLS",
        {**WEB, **HERE, "callee": APP, "port": E.UPGRADE_OFFERED, "sampled_tls": True},
        C.TLS,
    ),
    (
        "both taken, sampled as plaintext",
        {**WEB, **HERE, "callee": APP, "port": E.UPGRADE_OFFERED, "sampled_tls": False},
        C.PLAINTEXT,
    ),
    ("over, here, plaintext", {**OVER, "here": True, "callee": APP, "port": P}, C.UNKNOWN),
    ("over, here, TLS", {**OVER, "here": True, "callee": MESH, "port": E.TLS}, C.TLS),
    ("over, from elsewhere, plaintext", {**OVER, "port": P}, C.PLAINTEXT),
    ("over, from elsewhere, both", {**OVER, "port": E.UPGRADE_OFFERED}, C.UNKNOWN),
]


@pytest.mark.parametrize(("facts", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_class_of_a_connection(facts: dict[str, Any], expected: FlowClass) -> None:
    judgement = classify(Meeting(**facts))
    assert judgement.encryption is expected
    assert judgement.evidence


def test_nothing_is_ever_called_encrypted_without_a_proof() -> None:
    callers: list[dict[str, Any]] = [{}, WEB, DB_PROXY]
    proved = (E.TLS, E.UPGRADE_REQUIRED, E.OWN)
    for caller, callee, here, same, known, held, port in product(
        callers, (None, APP, WAY_OUT), (True, False), (True, False), (True, False), (True, False), Encryption
    ):
        meeting = Meeting(**caller, callee=callee, here=here, same_user=same, known=known, held=held, port=port)
        encrypted = classify(meeting).encryption in (FlowClass.TLS, FlowClass.MTLS)
        assert encrypted is (port in proved)


def test_a_flow_is_as_good_as_its_worst_connection() -> None:
    assert worse(FlowClass.MTLS, FlowClass.PLAINTEXT) is FlowClass.PLAINTEXT
    assert worse(FlowClass.UNKNOWN, FlowClass.TLS) is FlowClass.UNKNOWN
    assert {worse(one, other) for one in FlowClass for other in FlowClass} == set(FlowClass)


def test_verdicts() -> None:
    told = {encryption: verdict_of(encryption) for encryption in FlowClass}
    assert told[FlowClass.PLAINTEXT] is Verdict.FAIL
    assert told[FlowClass.UNKNOWN] is Verdict.UNKNOWN
    assert told[FlowClass.WITHIN_HOST] is Verdict.NOT_APPLICABLE
    assert {told[one] for one in (FlowClass.MTLS, FlowClass.TLS, FlowClass.WITHIN_SERVICE)} == {Verdict.PASS}


@pytest.mark.parametrize(
    ("answer", "loopback", "expected"),
    [
        (E.TLS, False, Verdict.PASS),
        (E.OWN, False, Verdict.PASS),
        (E.PLAINTEXT, True, Verdict.NOT_APPLICABLE),
        (E.PLAINTEXT, False, Verdict.FAIL),
        (E.UPGRADE_OFFERED, False, Verdict.FAIL),
        (E.SILENT, False, Verdict.UNKNOWN),
        (E.UNKNOWN, True, Verdict.UNKNOWN),
    ],
)
def test_verdicts_of_listeners(answer: Encryption, loopback: bool, expected: Verdict) -> None:
    seen = ListenerSeen("0.0.0.0:80", "", "", "root", "nginx", answer, None, NOON, NOON)
    assert listener_verdict(seen, loopback) is expected


def test_only_plaintext_without_an_exception_counts() -> None:
    def flow(encryption: FlowClass, excused: str = "", owner: str = "us") -> Flow:
        until = date(2026, 4, 1) if excused else None
        return Flow("a -> b", "a", "b", "b", encryption, NOON, NOON, 1, owner, excused=excused, excused_until=until)

    assert flow(FlowClass.PLAINTEXT).counts
    assert not flow(FlowClass.PLAINTEXT, "an old driver").counts
    assert not flow(FlowClass.UNKNOWN).counts
    assert not flow(FlowClass.PLAINTEXT, owner="").counts, "no service of the topology is at either end"


# --- places -------------------------------------------------------------------------------------------------------

WITH_REDIRECT = TEXT.replace("https: 127.0.0.1:8443\n", "https: 127.0.0.1:8443\n  http: 127.0.0.1:8080\n")


def test_every_planned_address_has_its_place() -> None:
    found = places_of(topology(WITH_REDIRECT), plan(WITH_REDIRECT))
    expected = {
        "127.0.0.1:7001": ("web", Role.APP, "shop", Wire.HTTP),
        "127.0.0.1:9001": ("web", Role.MESH, "shop", Wire.TLS),
        "127.0.0.1:7101": ("web", Role.WAY_OUT, "shop", Wire.POSTGRESQL),
        "127.0.0.1:7002": ("db", Role.APP, "data", Wire.POSTGRESQL),
        "127.0.0.1:9002": ("db", Role.MESH, "data", Wire.TLS),
        "127.0.0.1:8443": ("edge", Role.EDGE, "shop", Wire.HTTP),
        "127.0.0.1:8080": ("edge", Role.REDIRECT, "shop", Wire.HTTP),
    }
    for address, facts in expected.items():
        at = found.at(Address.parse(address))
        assert at
        assert (at.service, at.role, at.owner, at.wire) == facts
    assert found.at(Address.parse("127.0.0.1:7003")) is None
    edge = found.at(Address.parse("127.0.0.1:8443"))
    assert edge
    assert edge.server_name == "shop.localhost"


def test_an_app_that_listens_everywhere_stands_at_its_planned_place() -> None:
    found = places_of(topology(), plan())
    assert found.at(Address("0.0.0.0", 7001)) == found.at(Address("::", 7001)) == found.at(Address("127.0.0.1", 7001))
    assert found.at(Address("10.0.0.1", 7001)) is None


def test_the_first_of_two_places_counts() -> None:
    assert Places([place(Role.APP, "a"), place(Role.MESH, "b")]).at(Address("127.0.0.1", 7002)) == place(Role.APP, "a")


def test_marks_stand_for_apps_and_proxies() -> None:
    marks = marks_of(plan(), topology())
    assert marks["web"] == ("web", "app")
    assert marks["envoy-web"] == ("web", "proxy")
    assert marks["envoy-edge"] == ("edge", "proxy")
