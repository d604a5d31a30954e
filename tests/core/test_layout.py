"""From a topology to its plan: exact callers, postures and ports, and nothing that nobody named."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from tests.fakes.world import TEXT, plan, topology

from everyhop.core.hop import Address, Hop, Posture, Protocol
from everyhop.core.layout import issuance_policy, lay_out, open_addresses, renewal_policy
from everyhop.core.plan import CLIENT, EDGE, IDENTITY, EdgeRedirect, EdgeTls, Inbound, NodePlan, Outbound, Plan
from everyhop.core.policy import Grant
from everyhop.core.topology import Topology
from everyhop.core.validation import read
from everyhop.services.apply import plan_of

ROOT = Path(__file__).resolve().parent.parent
RIGHT = sorted((ROOT / "corpus" / "topology" / "right").glob("*.yaml"))
SHOP = ROOT.parent / "examples" / "shop" / "everyhop.yaml"
ID = "spiffe://shop.internal/demo/"


def read_file(path: Path) -> Topology:
    return read(path.read_text(encoding="utf-8"), file=path.name, today=date(2026, 11, 1))


def planned(path: Path) -> Plan:
    return plan_of(read_file(path), {}, data="/data", file_dir="/file")


def inbound(node: NodePlan) -> Inbound:
    (found,) = [one for one in node.listeners if isinstance(one, Inbound)]
    return found


# --- the shop -----------------------------------------------------------------------------------------------------


def test_the_shop_has_a_proxy_a_service_and_one_at_the_edge() -> None:
    shop = planned(SHOP)
    assert sorted(node.name for node in shop.nodes) == ["api", "db", "edge", "web"]
    assert [app.name for app in shop.apps] == ["db", "api", "web"], "callees before callers"
    assert {str(one.hop): one.posture for one in shop.hops} == {
        "client -> edge": Posture.TLS,
        "edge -> web": Posture.MTLS,
        "web -> api": Posture.MTLS,
        "api -> db": Posture.MTLS,
    }


@pytest.mark.parametrize(("callee", "caller"), [("web", "edge"), ("api", "web"), ("db", "api")])
def test_an_inbound_port_takes_exactly_its_callers(callee: str, caller: str) -> None:
    listener = inbound(planned(SHOP).node(callee))
    assert [str(one) for one in listener.callers] == [ID + caller]
    assert (listener.tls.minimum, listener.tls.maximum) == ("TLSv1.3", "TLSv1.3")
    assert listener.tls.groups[0] == "X25519MLKEM768"


def test_a_caller_expects_exactly_its_callee_with_the_same_rules_on_both_ends() -> None:
    shop = planned(SHOP)
    for hop in shop.hops:
        if hop.posture is Posture.MTLS:
            (upstream,) = [one for one in shop.node(hop.hop.caller).upstreams if one.name == f"to-{hop.hop.callee}"]
            assert str(upstream.callee) == ID + hop.hop.callee
            assert upstream.address == inbound(shop.node(hop.hop.callee)).address == hop.address
            assert upstream.tls == inbound(shop.node(hop.hop.callee)).tls
            assert hop.server_name == upstream.server_name == f"{hop.hop.callee}.demo.shop.internal"


def test_apps_are_told_where_their_own_proxy_is() -> None:
    shop = planned(SHOP)
    (out,) = [one for one in shop.node("web").listeners if isinstance(one, Outbound)]
    web = next(app for app in shop.apps if app.name == "web")
    assert dict(web.environment)["SHOP_API"] == str(out.address)
    db = next(app for app in shop.apps if app.name == "db")
    assert db.listen == Address(path="/data/shop-db/.s.PGSQL.5432")
    assert db.command[1] == "/file/db.py"
    assert (db.directory, db.start_timeout) == ("/file/.", timedelta(seconds=90))


def test_the_edge_serves_its_hosts_and_redirects_to_them() -> None:
    edge = planned(SHOP).node(EDGE)
    tls = next(one for one in edge.listeners if isinstance(one, EdgeTls))
    assert [(one.host, one.credential) for one in tls.hosts] == [
        ("orders.localhost", "host:orders.localhost"),
        ("shop.localhost", "host:shop.localhost"),
    ]
    assert tls.hsts == "max-age=86400"
    redirect = next(one for one in edge.listeners if isinstance(one, EdgeRedirect))
    assert (redirect.https_port, redirect.hosts) == (8443, ("orders.localhost", "shop.localhost"))
    assert [one.name for one in edge.credentials] == [IDENTITY, "host:orders.localhost", "host:shop.localhost"]


# --- special hops -------------------------------------------------------------------------------------------------


def test_an_exempt_hop_goes_to_the_app_itself_and_needs_no_proxy() -> None:
    text = TEXT.replace('{service: db, at: "127.0.0.1:7101"}', "db") + (
        "exceptions:\n  - {hop: web -> db, posture: exempt, reason: measured, owner: shop, until: 2027-01-01}\n"
    )
    exempt = plan(text)
    assert [node.name for node in exempt.nodes] == ["web", EDGE]
    (hop,) = [one for one in exempt.hops if one.hop == Hop("web", "db")]
    assert (hop.posture, hop.address, hop.node, hop.reason) == (
        Posture.EXEMPT,
        Address("127.0.0.1", 7002),
        "",
        "measured",
    )


def test_an_edge_whose_only_hop_is_exempt_sends_in_the_clear_and_needs_no_identity() -> None:
    text = TEXT + (
        "exceptions:\n  - {hop: edge -> web, posture: exempt, reason: measured, owner: shop, until: 2027-01-01}\n"
    )
    edge = plan(text).node(EDGE)
    assert [one.name for one in edge.credentials] == ["host:shop.localhost"]
    assert [(one.address, one.tls, one.callee) for one in edge.upstreams] == [(Address("127.0.0.1", 7001), None, None)]
    assert not edge.trusts
    assert not [one for one in plan(text).node("web").listeners if isinstance(one, Inbound)]


def test_passthrough_carries_bytes_and_holds_no_credential() -> None:
    through = planned(next(path for path in RIGHT if path.stem == "passthrough"))
    (edge,) = through.nodes
    assert edge.credentials == ()
    assert [(one.address, one.protocol, one.tls) for one in edge.upstreams] == [
        (Address("192.0.2.7", 8443), Protocol.TCP, None)
    ]
    assert {one.posture for one in through.hops} == {Posture.PASSTHROUGH}, "no TLS of ours ends at this edge"


def test_unix_sockets_in_the_data_directory_are_where_they_will_be() -> None:
    unix = planned(next(path for path in RIGHT if path.stem == "unix"))
    (out,) = [one for one in unix.node("api").listeners if isinstance(one, Outbound)]
    assert out.address == Address(path="/data/api/.s.PGSQL.5432")
    (app,) = unix.apps
    assert dict(app.environment)["DATABASE"] == "/data/api/.s.PGSQL.5432"


def test_services_that_call_in_a_circle_start_in_name_order() -> None:
    circle = planned(next(path for path in RIGHT if path.stem == "aliases"))
    assert sorted(node.name for node in circle.nodes) == ["one", "three", "two"]
    assert {str(one.hop) for one in circle.hops} == {"one -> two", "two -> one", "two -> three", "three -> two"}


def test_connections_live_no_longer_than_their_protocol_allows() -> None:
    for node in plan(TEXT + "policy: {leaf_lifetime: 2h}\n").nodes:
        for one in node.upstreams:
            if one.tls is not None:
                assert (one.max_connection_age is not None) == one.protocol.is_http
    assert inbound(plan(TEXT + "policy: {leaf_lifetime: 90m}\n").node("web")).max_connection_age == timedelta(
        minutes=45
    )


# --- every topology -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*RIGHT, SHOP], ids=lambda path: path.stem)
def test_every_right_topology_has_a_plan_that_can_come_true(path: Path) -> None:
    found = planned(path)
    assert found == planned(path), "the same topology gives the same plan"
    named = {str(one.identity): one for one in found.nodes}
    shown = {
        str(caller)
        for node in found.nodes
        for one in node.listeners
        if isinstance(one, Inbound)
        for caller in one.callers
    }
    for node in found.nodes:
        assert node.listeners, "a proxy that listens nowhere"
        names = {one.name for one in node.upstreams}
        ports = [one.address for one in node.listeners if one.address.port or one.address.path]
        assert len(ports) == len(set(ports))
        for one in node.listeners:
            if isinstance(one, Inbound):
                assert one.callers, "a port that takes nobody"
                assert {str(caller) for caller in one.callers} <= set(named), "a caller without a proxy"
            if isinstance(one, Inbound | Outbound):
                assert one.upstream in names
            if isinstance(one, EdgeTls):
                assert {host.upstream for host in one.hosts} <= names
        for credential in node.credentials:
            served = any(isinstance(one, Inbound) for one in node.listeners)
            hosts = [host for one in node.listeners if isinstance(one, EdgeTls) for host in one.hosts]
            seen = (
                served or str(node.identity) in shown
                if credential.name == IDENTITY
                else credential.name in {host.credential for host in hosts}
            )
            assert seen, f"nobody will ever see {node.name}/{credential.name}: its renewal would never close"
    for hop in found.hops:
        assert hop.owner
        if hop.node:
            assert hop.listener in {one.name for one in found.node(hop.node).listeners}


@pytest.mark.parametrize("path", [*RIGHT, SHOP], ids=lambda path: path.stem)
def test_every_address_that_is_left_open_is_asked_for_and_no_other(path: Path) -> None:
    open_ones = open_addresses(read_file(path))
    assert len(set(open_ones)) == len(open_ones)
    chosen = {key: Address("127.0.0.1", 20000 + number) for number, key in enumerate(open_ones)}
    found = lay_out(read_file(path), chosen, data="/data", file_dir="/file")
    used = {one.address for node in found.nodes for one in node.listeners}
    assert set(chosen.values()) <= used
    for key in open_ones:
        with pytest.raises(KeyError):
            lay_out(read_file(path), {k: v for k, v in chosen.items() if k != key}, data="/d", file_dir="/f")


# --- what may be signed -------------------------------------------------------------------------------------------


def test_the_topology_says_what_may_be_signed() -> None:
    shop = topology(TEXT + "policy: {leaf_lifetime: 2h, leaf_key: p384, jitter: 0}\n")
    policy = issuance_policy(shop)
    me = "spiffe://shop.internal/test/"
    assert policy.identities == {
        f"{me}db": Grant("data"),
        f"{me}web": Grant("shop"),
        f"{me}edge": Grant("shop"),
    }
    assert policy.hosts == {"shop.localhost": "shop"}
    assert policy.scope.dns_suffixes == ("shop.internal", "shop.localhost")
    assert policy.max_lifetimes["service"] == policy.max_lifetimes["edge"] == timedelta(hours=2)
    assert policy.max_lifetimes["probe"] <= timedelta(minutes=10)
    assert (renewal_policy(shop).lifetime, renewal_policy(shop).jitter) == (timedelta(hours=2), 0)
    assert CLIENT not in {identity.rpartition("/")[2] for identity in policy.identities}
