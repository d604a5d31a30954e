"""A believable estate in a store: twelve services, eighteen hops, a day of history, and trouble if one wants it.

Rules: everything goes through the same records and observations that the services write; nothing is random, so that
pictures of it can be compared. ``fill(store)`` has trouble, ``fill(store, well=True)`` has none.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tests.fakes.pki import CA

from everyhop.core.alerts.state import AlertPhase, AlertState, Route
from everyhop.core.chain import Authority, Trust
from everyhop.core.endpoint.facts import Encryption
from everyhop.core.endpoint.target import Wire
from everyhop.core.finding import Finding, Severity
from everyhop.core.flow import Flow, FlowClass, ListenerSeen
from everyhop.core.hop import Address, End, Posture
from everyhop.core.lifecycle import CredentialState, Held, Rotation, RotationState, Slot
from everyhop.core.observation import Kind, Observation, Plain, Source, Stream, canonical
from everyhop.core.plan import HopPlan, Plan
from everyhop.core.profile import KeyAlgorithm
from everyhop.core.sli import INDICATORS
from everyhop.core.sli.value import SliValue
from everyhop.core.topology import Topology
from everyhop.core.validation import read
from everyhop.core.verdict import Verdict
from everyhop.ports import Seal, Store
from everyhop.services.alert import ALERTS
from everyhop.services.apply import apply, planned, remember_addresses
from everyhop.services.flows import DETECTOR_KEY, DETECTORS, FLOWS, LISTENERS, FlowDetector
from everyhop.services.inspect import FINDINGS
from everyhop.services.measure import SLIS
from everyhop.services.observe import HOPS_SEEN, HopSeen
from everyhop.services.operate import BEAT_KEY, BEATS, Beat
from everyhop.services.records import AUTHORITIES, ROTATIONS, SLOTS, TRUST, TRUST_KEY
from everyhop.services.refusals import REFUSALS_SEEN, RefusalSeen
from everyhop.services.supervise import PROCESSES, ProcessState

NOW = datetime(2026, 11, 22, 14, 32, 5, tzinfo=UTC)
DATA = "/var/lib/everyhop"
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)

TEXT = """\
everyhop: 1
trust_domain: shop.internal
environment: production
owners:
  data: {contact: data@shop.example, escalation: "on call, +44 20 7946 0000"}
  payments: {contact: "https://chat.shop.example/payments"}
  platform: {contact: platform@shop.example}
  storefront: {contact: storefront@shop.example}
services:
  api: {owner: storefront, criticality: high, listen: "127.0.0.1:7001", calls: [auth, checkout, search]}
  auth: {owner: platform, criticality: critical, listen: "127.0.0.1:7002", calls: [cache]}
  cache: {owner: data, criticality: medium, listen: "127.0.0.1:7003", protocol: tcp}
  cart: {owner: storefront, criticality: medium, listen: "127.0.0.1:7004", calls: [cache]}
  catalog-db: {owner: data, criticality: high, listen: "127.0.0.1:7005", protocol: postgres}
  checkout: {owner: payments, criticality: critical, listen: "127.0.0.1:7006", calls: [orders-db, payments]}
  ledger: {owner: payments, criticality: critical, listen: "127.0.0.1:7007", protocol: grpc, calls: [orders-db]}
  legacy: {owner: platform, criticality: low, listen: "127.0.0.1:7008", protocol: tcp}
  orders-db: {owner: data, criticality: critical, listen: "127.0.0.1:7009", protocol: postgres}
  payments: {owner: payments, criticality: critical, listen: "127.0.0.1:7010", protocol: grpc, calls: [auth, ledger]}
  search: {owner: storefront, criticality: medium, listen: "127.0.0.1:7011", calls: [catalog-db]}
  web: {owner: storefront, criticality: high, listen: "127.0.0.1:7012", calls: [auth, cart, search]}
edge:
  https: 127.0.0.1:8443
  http: 127.0.0.1:8080
  hosts:
    api.shop.example: {to: api}
    pos.shop.example: {passthrough: legacy}
    shop.example: {to: web}
exceptions:
  - {hop: cart -> cache, posture: exempt, reason: the cache speaks no TLS before its upgrade in January, owner: data,
     until: 2027-01-31}
"""
_UNKNOWN = {"ledger -> orders-db": None, "auth -> cache": NOW - 23 * MINUTE}
"""Hops that nobody has seen lately in the estate with trouble: never, or not since then."""
_CLASSIC = {"search -> catalog-db", "edge -> api"}
"""Hops whose client knows no post-quantum group."""


async def fill(store: Store, *, well: bool = False) -> None:
    """Write the estate as of :data:`NOW`."""
    await apply(
        store, TEXT, file="/etc/everyhop/shop.yaml", file_dir="/etc/everyhop", actor="test", now=NOW - 26 * HOUR
    )
    await remember_addresses(store, read(TEXT, file="shop.yaml", today=NOW.date()), _next_free)
    found = await planned(store, DATA)
    assert found is not None
    topology, plan = found
    await BEATS.put(store, BEAT_KEY, Beat(NOW - SECOND, "running", "one"))
    await DETECTORS.put(store, DETECTOR_KEY, FlowDetector(NOW - 6 * SECOND, 214, 27, 63, 4))
    await _authorities(store, well=well)
    await _certificates(store, plan, well=well)
    await _processes(store, plan)
    await _hops(store, topology, plan, well=well)
    await _listeners(store, topology, well=well)
    await _indicators(store, well=well)
    await store.observe([one for hop in plan.hops for one in _history(hop, well=well)])
    if not well:
        await _trouble(store)
    await _findings(store, well=well)
    await _seal(store)


async def _hops(store: Store, topology: Topology, plan: Plan, *, well: bool) -> None:
    for number, hop in enumerate(plan.hops):
        name = str(hop.hop)
        if hop.posture in (Posture.EXEMPT, Posture.PASSTHROUGH):
            continue
        at = (
            NOW - timedelta(seconds=1 + number % 5)
            if well
            else _UNKNOWN.get(name, NOW - timedelta(seconds=1 + number % 5))
        )
        if at is None:
            continue
        edge = hop.hop.caller == "client"
        seen = HopSeen(
            hop=name,
            at=at,
            version="TLSv1.3",
            cipher="TLS_AES_128_GCM_SHA256",
            group="X25519" if name in _CLASSIC and not well else "X25519MLKEM768",
            peer_identity="" if edge else str(topology.identity(hop.hop.caller)),
            peer_serial="" if edge else _serial(f"{hop.hop.caller}/identity"),
            connections=1_840 + 977 * number,
            source=f"envoy of {hop.node}",
        )
        await HOPS_SEEN.put(store, seen.key, seen)
        if not edge:
            calling = replace(
                seen,
                end=End.CLIENT,
                at=at - SECOND,
                peer_identity=str(topology.identity(hop.hop.callee)),
                peer_serial=_serial(f"{hop.hop.callee}/identity"),
                failures=3 if name == "api -> checkout" and not well else 0,
                source=f"envoy of {hop.hop.caller}",
            )
            await HOPS_SEEN.put(store, calling.key, calling)


def _history(hop: HopPlan, *, well: bool) -> list[Observation]:
    """A day of one hop: its first sighting, its hours, its newest minutes, a probe."""
    name = str(hop.hop)
    if hop.posture in (Posture.EXEMPT, Posture.PASSTHROUGH) or (name == "ledger -> orders-db" and not well):
        return []
    shape: dict[str, Plain] = {
        "end": "server",
        "result": "ok",
        "version": "TLSv1.3",
        "cipher": "TLS_AES_128_GCM_SHA256",
        "group": "X25519MLKEM768",
        "peer": str(hop.caller or ""),
        "reason": "",
    }
    by = f"envoy of {hop.node}"
    start = NOW.replace(minute=0, second=0) - 23 * HOUR
    first = {"from": "unknown", "to": str(hop.posture), "group": "X25519MLKEM768"}
    found = [Observation(start - HOUR, Kind.POSTURE, Source.SERVER, name, by, Verdict.PASS, first)]
    for hour in range(24):
        count = round(220 + 160 * math.sin((hour - 6) / 24 * 2 * math.pi) + 17 * (hour * 7 % 5))
        body = shape | {"count": count, "resumed": None, "handshakes_timed": count, "handshake_us_sum": count * 2_100}
        found.append(Observation(start + hour * HOUR, Kind.HOUR, Source.SERVER, name, by, Verdict.PASS, body))
    for minute in range(3):
        at = NOW.replace(second=0) - minute * MINUTE
        body = shape | {"count": 5 + minute, "resumed": None}
        found += [
            Observation(at, Kind.CONNECTIONS, Source.SERVER, name, by, Verdict.PASS, body, Stream.DETAIL),
            Observation(
                at,
                Kind.CONNECTIONS,
                Source.CLIENT,
                name,
                f"envoy of {hop.hop.caller}",
                Verdict.PASS,
                body | {"end": "client", "peer": str(hop.callee or "")},
                Stream.DETAIL,
            ),
        ]
    answer: dict[str, Plain] = {
        "plaintext": "closed without an answer",
        "no certificate": "alert 116 certificate_required",
        "TLS 1.2": "alert 70 protocol_version",
    }
    probed = Observation(
        NOW - 7 * MINUTE, Kind.ENDPOINT, Source.PROBE, str(hop.address), "verify", Verdict.PASS, answer, Stream.DETAIL
    )
    return [*found, probed]


async def _trouble(store: Store) -> None:
    plain = Flow(
        key="reporting|127.0.0.1:7009",
        caller="reporting",
        callee="orders-db",
        server="127.0.0.1:7009",
        encryption=FlowClass.PLAINTEXT,
        first_at=NOW - 41 * MINUTE,
        last_at=NOW - 9 * SECOND,
        connections=212,
        owner="data",
        evidence="the server answered 'R' to a plain StartupMessage at 13:51",
        caller_process="pg_dump",
        caller_user="reporting",
    )
    second = replace(
        plain,
        key="web|127.0.0.1:7003",
        caller="web",
        callee="cache",
        server="127.0.0.1:7003",
        first_at=NOW - 4 * MINUTE,
        last_at=NOW - 2 * SECOND,
        connections=18,
        evidence="the server answered +PONG to a plain PING at 14:28",
        caller_process="python",
        caller_user="web",
    )
    unsure = replace(
        plain,
        key="10.4.0.17|0.0.0.0:9200",
        caller="10.4.0.17",
        callee="cache",
        server="0.0.0.0:9200",
        encryption=FlowClass.UNKNOWN,
        evidence="connected, and nothing that we know made it speak",
        caller_process="",
        caller_user="",
        connections=3,
    )
    excused = replace(
        plain,
        key="cart|127.0.0.1:7003",
        caller="cart",
        callee="cache",
        server="127.0.0.1:7003",
        connections=9_412,
        first_at=NOW - 26 * HOUR,
        evidence="the hop is exempt",
        caller_process="python",
        caller_user="cart",
        excused="the cache speaks no TLS before its upgrade in January",
        excused_until=date(2027, 1, 31),
    )
    within = replace(
        plain,
        key="web|127.0.0.1:7012",
        caller="web",
        callee="web",
        server="127.0.0.1:7012",
        encryption=FlowClass.WITHIN_SERVICE,
        owner="storefront",
        evidence="an app and its own proxy",
        connections=4_870,
    )
    for flow in (plain, second, unsure, excused, within):
        await FLOWS.put(store, flow.key, flow)
    await _alerts(store)
    for seen in (
        RefusalSeen(
            "payments",
            "mtls",
            "spiffe://shop.internal/production/cart",
            "TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify_cert_failed:_SAN_match",
            14,
            NOW - 52 * MINUTE,
            NOW - 3 * MINUTE,
            "127.0.0.1:51122",
        ),
        RefusalSeen(
            "orders-db",
            "mtls",
            "",
            "TLS_error:|268435703:SSL_routines:OPENSSL_internal:WRONG_VERSION_NUMBER",
            2,
            NOW - 5 * HOUR,
            NOW - 2 * HOUR,
            "10.4.0.17:40110",
        ),
        RefusalSeen(
            "checkout",
            "mtls",
            "spiffe://shop.internal/production/api",
            "TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:certificate_has_expired",
            3,
            NOW - 31 * MINUTE,
            NOW - 30 * MINUTE,
            "127.0.0.1:53000",
        ),
    ):
        await REFUSALS_SEEN.put(store, f"{seen.node}|{seen.failure[-20:]}", seen)
    await store.observe(
        [
            Observation(
                NOW - 23 * MINUTE,
                Kind.POSTURE,
                Source.SERVER,
                "auth -> cache",
                "envoy of cache",
                Verdict.UNKNOWN,
                {"from": "mtls", "to": "unknown"},
            ),
            Observation(
                NOW - 30 * MINUTE,
                Kind.REFUSAL,
                Source.SERVER,
                "api -> checkout",
                "envoy of checkout",
                Verdict.FAIL,
                {"why": "its certificate has expired", "count": 3},
            ),
            Observation(
                NOW - 4 * MINUTE,
                Kind.FLOW,
                Source.SOCKETS,
                "web -> cache",
                "sock_diag",
                Verdict.FAIL,
                {"class": "plaintext", "process": "python", "server": "127.0.0.1:7003"},
            ),
        ]
    )


async def _alerts(store: Store) -> None:
    def alert(name: str, subject: str, owner: str, summary: str, minutes: int) -> AlertState:
        return AlertState(
            fingerprint=hashlib.sha256(f"{name} {subject}".encode()).hexdigest()[:16],
            alert=name,
            phase=AlertPhase.FIRING,
            severity=Severity.CRITICAL,
            route=Route.PAGE,
            owner=owner,
            subject=subject,
            summary=summary,
            runbook=f"runbooks/{name}.md",
            since=NOW - minutes * MINUTE,
            fired_at=NOW - (minutes - 1) * MINUTE,
            told={"webhook": "firing"},
        )

    flow = "PlaintextFlowOnRegulatedService"
    lost = alert("HopNotObserved", "ledger -> orders-db", "data", "nobody has seen this hop since it was applied", 96)
    for one in (
        alert(flow, "reporting -> orders-db", "data", "pg_dump of user reporting reads orders-db in the clear", 41),
        alert(flow, "web -> cache", "data", "python of user web talks to cache past both proxies", 4),
        replace(lost, severity=Severity.HIGH, route=Route.TICKET),
        replace(
            alert("CertRenewalOverdue", "cart/identity", "storefront", "due 6 minutes ago, waits to be seen", 6),
            phase=AlertPhase.PENDING,
            severity=Severity.HIGH,
            suppressed="rotation of the intermediate is under way",
        ),
        replace(
            alert("HopHandshakesAllFail", "api -> checkout", "payments", "every handshake of 2 minutes failed", 31),
            phase=AlertPhase.ENDED,
            ended_at=NOW - 28 * MINUTE,
        ),
    ):
        await ALERTS.put(store, one.fingerprint, one)


async def _findings(store: Store, *, well: bool) -> None:
    base = Finding(
        rule="tls-group-classical",
        verdict=Verdict.FAIL,
        severity=Severity.MEDIUM,
        subject="search -> catalog-db",
        statement="expected a post-quantum hybrid to be chosen, got X25519",
        evidence="ServerHello key_share group 0x001d",
        guideline="everyhop-default 1",
        owner="data",
        citation="draft-ietf-tls-ecdhe-mlkem",
        runbook="runbooks/tls-group-classical.md",
    )
    good = replace(base, verdict=Verdict.PASS, evidence="X25519MLKEM768", statement="a post-quantum hybrid was chosen")
    found = [replace(good, subject=subject) for subject in ("client -> edge", "edge -> web", "api -> checkout")]
    found.append(
        replace(
            base,
            rule="hop-exempt",
            severity=Severity.LOW,
            subject="cart -> cache",
            statement="expected mTLS, plaintext is allowed by an exception",
            excused="the cache speaks no TLS before its upgrade in January",
            excused_until=date(2027, 1, 31),
        )
    )
    if not well:
        found += [
            base,
            replace(base, subject="edge -> api", owner="storefront"),
            replace(
                base,
                rule="plaintext-accepted",
                severity=Severity.CRITICAL,
                subject="127.0.0.1:7009",
                statement="expected a plain StartupMessage to be refused, got 'R': authentication begins in the clear",
                evidence="52 00 00 00 17 00 00 00 0a",
                citation="PostgreSQL 18, 54.2.1",
                runbook="runbooks/plaintext-accepted.md",
            ),
            replace(
                base,
                rule="plaintext-accepted",
                severity=Severity.CRITICAL,
                subject="127.0.0.1:7003",
                statement="expected PING in the clear to be refused, got +PONG",
                evidence="2b 50 4f 4e 47 0d 0a",
                runbook="runbooks/plaintext-accepted.md",
            ),
            replace(
                base,
                rule="hsts-missing-subdomains",
                severity=Severity.LOW,
                subject="api.shop.example",
                statement="expected includeSubDomains in Strict-Transport-Security, got max-age=31536000",
                evidence="strict-transport-security: max-age=31536000",
                owner="storefront",
                citation="RFC 6797, 6.1.2",
                runbook="",
            ),
            replace(
                base,
                rule="listener-unknown",
                severity=Severity.HIGH,
                verdict=Verdict.UNKNOWN,
                subject="0.0.0.0:9200",
                statement="expected every listener to be in the topology, got java of user elastic",
                evidence="",
                owner="platform",
                citation="",
                runbook="",
            ),
        ]
    for one in found:
        await FINDINGS.put(store, f"{one.rule}|{one.subject}", one)


async def _listeners(store: Store, topology: Topology, *, well: bool) -> None:
    for name, service in topology.services.items():
        mesh = ListenerSeen(
            address=f"127.0.0.1:{service.listen.port + 8400}",
            service=name,
            part="proxy",
            user="everyhop",
            process="envoy",
            encryption=Encryption.TLS,
            wire=Wire.TLS,
            seen_at=NOW - 6 * SECOND,
            asked_at=NOW - 22 * MINUTE,
            evidence="alert 116 certificate_required to a client without a certificate",
            owner=service.owner,
        )
        app = replace(
            mesh,
            address=str(service.listen),
            part="app",
            user=name,
            process="postgres" if name.endswith("-db") else "python",
            encryption=Encryption.UNKNOWN,
            wire=Wire.POSTGRESQL if name.endswith("-db") else Wire.HTTP,
            asked_at=None,
            evidence="on loopback, behind its proxy",
        )
        if name in ("orders-db", "cache") and not well:
            app = replace(
                app, encryption=Encryption.PLAINTEXT, asked_at=NOW - 22 * MINUTE, evidence="answered in the clear"
            )
        for one in (mesh, app):
            await LISTENERS.put(store, one.address, one)
    stranger = ListenerSeen(
        "0.0.0.0:9200", "", "", "elastic", "java", Encryption.SILENT, None, NOW - 6 * SECOND, NOW - 22 * MINUTE
    )
    secure = ListenerSeen(
        "0.0.0.0:22",
        "",
        "",
        "root",
        "sshd",
        Encryption.OWN,
        Wire.SSH,
        NOW - 6 * SECOND,
        NOW - HOUR,
        "SSH-2.0-OpenSSH_9.2",
    )
    for one in (secure,) if well else (stranger, secure):
        await LISTENERS.put(store, one.address, one)


async def _indicators(store: Store, *, well: bool) -> None:
    rows = [
        ("M1", "ratio", 1.0 if well else 0.944, 0.95),
        ("M2", "ratio", 0.9998 if well else 0.9991, 0.999),
        ("M3", "ratio", 0.99 if well else 0.833, 0.95),
        ("M4", "seconds", 11.2 * 3600, 6 * 3600.0),
        ("M5", "ratio", 1.0, 0.99),
        ("M6", "seconds", 0.0041, 0.05),
        ("M7", "ratio", None, 0.8),
        ("M8", "ratio", 1.0, 0.995),
        ("M9", "ratio", None, 0.999),
        ("M10", "flows", 0.0 if well else 2.0, 0.0),
    ]
    start = NOW.replace(minute=0, second=0) - 23 * HOUR
    told: list[Observation] = []
    for number, (code, unit, value, objective) in enumerate(rows):
        name = INDICATORS[code].name
        verdict = Verdict.UNKNOWN if value is None else Verdict.PASS
        if not well and code in ("M1", "M3", "M10"):
            verdict = Verdict.FAIL
        note = "" if value is not None else "not applicable: certificates live 24 hours and are not revoked"
        counted: dict[str, Any] = (
            {"good": 16_977, "total": 18_004, "unknown": 240} if unit == "ratio" and value is not None else {}
        )
        await SLIS.put(
            store,
            f"{code}|all",
            SliValue(
                sli=code,
                name=name,
                scope="all",
                value=value,
                unit=unit,
                at=NOW,
                window_seconds=3600,
                objective=objective,
                verdict=Verdict.NOT_APPLICABLE if value is None else verdict,
                budget_left=None if code != "M2" else (0.98 if well else 0.41),
                note=note,
                **counted,
            ),
        )
        for hour in range(24):
            then = _then(code, value, hour, number, well=well)
            body: dict[str, Plain] = {"sli": code, "name": name, "value": then, "objective": objective}
            at = start + hour * HOUR
            told.append(Observation(at, Kind.INDICATOR, Source.RULES, "all", "measure", verdict, body))
    await store.observe(told)


def _then(code: str, value: float | None, hour: int, number: int, *, well: bool) -> float | None:
    """An indicator's value some hours ago; nobody could look in the small hours."""
    if value is None or (hour in (9, 10) and code in ("M1", "M3", "M10")):
        return None
    wave = math.sin(hour * 1.7 + number)
    if code in ("M1", "M3"):
        fallen = 0.0 if well or hour < 22 else 1 - value
        return round(min(1.0, 0.992 + 0.006 * wave) - fallen, 4)
    if code == "M10":
        return 0.0 if well or hour < 23 else value
    if code == "M2":
        return round(0.9996 + 0.0003 * wave, 5)
    if code == "M6":
        return round(0.0042 + 0.0009 * wave + (0.011 if hour == 17 and not well else 0), 5)
    if code == "M4":
        return 3600 * (12 + 10 * math.cos(hour / 24 * 4 * math.pi))
    return value


async def _authorities(store: Store, *, well: bool) -> None:
    pem = CA("shop.internal root 1").pem.decode()
    root = Authority(
        "root-1",
        "root",
        "root-1",
        KeyAlgorithm.P256,
        pem,
        "root-1",
        NOW - timedelta(days=40),
        NOW - timedelta(days=40),
        NOW + timedelta(days=3610),
    )
    old = replace(root, name="intermediate-1", kind="intermediate", not_after=NOW + timedelta(days=50))
    new = replace(old, name="intermediate-2", issued_at=NOW - 9 * MINUTE, not_after=NOW + timedelta(days=90))
    for one in (root, old) if well else (root, old, new):
        await AUTHORITIES.put(store, one.name, one)
    await TRUST.put(store, TRUST_KEY, Trust("intermediate-1" if well else "intermediate-2", ("root-1",)))
    if not well:
        rotation = Rotation(
            kind="intermediate",
            number=2,
            state=RotationState.REISSUING,
            requested_at=NOW - 10 * MINUTE,
            since=NOW - 8 * MINUTE,
            reason="asked for by ada: rehearsal",
            new_intermediate="intermediate-2",
            progress="14 of 15 certificates seen under intermediate-2; waits for cart/identity",
            history=(("creating", f"{(NOW - 8 * MINUTE).isoformat()} new intermediate created: intermediate-2"),),
        )
        await ROTATIONS.put(store, "intermediate-0002", rotation)


async def _certificates(store: Store, plan: Plan, *, well: bool) -> None:
    for node in plan.nodes:
        for number, one in enumerate(node.credentials):
            key = f"{node.name}/{one.name}"
            age = timedelta(minutes=47 * (number + 1) + sum(map(ord, key)) % 460)
            issued = NOW - age
            held = Held(
                request_id=key,
                key_id=key,
                serial=_serial(key),
                authority="intermediate-1" if well or key == "cart/identity" else "intermediate-2",
                certificate="",
                issued_at=issued,
                not_before=issued - 5 * MINUTE,
                not_after=issued + 24 * HOUR,
            )
            slot = Slot(
                node=node.name,
                name=one.name,
                state=CredentialState.SERVED,
                generation=3 + number,
                since=issued,
                request_id=key,
                due_at=issued + 12 * HOUR,
                current=held,
                seen_at=issued + 2 * SECOND,
            )
            if key == "cart/identity" and not well:
                slot = replace(
                    slot, state=CredentialState.PROVING, pending=held, since=NOW - 6 * MINUTE, due_at=NOW - 6 * MINUTE
                )
            await SLOTS.put(store, slot.key, slot)


async def _processes(store: Store, plan: Plan) -> None:
    for number, node in enumerate(plan.nodes):
        name = f"envoy-{node.name}"
        await PROCESSES.put(store, name, ProcessState(name, "up", 4100 + number, NOW - 25 * HOUR, 0))
    app = ProcessState("search", "waiting", 0, NOW - 20 * SECOND, 2, "exit status 1; the next try in 4 s")
    await PROCESSES.put(store, "search", app)


async def _seal(store: Store) -> None:
    """Heads over everything that was observed; their roots are hashes, and nobody signs them here."""
    for stream in Stream:
        held = await store.observations(stream=stream, limit=100_000)
        previous, first = b"", 1
        for number, last in enumerate((len(held) // 2, len(held)), start=1):
            root = hashlib.sha256(b"".join(canonical(one) for one in held[first - 1 : last])).digest()
            at = NOW - (3 - number) * 10 * MINUTE
            await store.seal(Seal(stream, number, first, last, root, previous, at, b"not signed in tests"))
            previous, first = root, last + 1


def _next_free(taken: Collection[Address], band: range) -> Address:
    return next(one for one in (Address("127.0.0.1", port) for port in band) if one not in taken)


def _serial(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:38]
