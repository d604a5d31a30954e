"""The plan as Envoy resources, held against every trap that was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from tests.fakes.world import TEXT, plan

from everyhop.core.hop import Address
from everyhop.core.plan import NodePlan
from everyhop.doors.xds.messages import BOOTSTRAP, CLUSTER, LISTENER, SECRET, encode, message_class, parse
from everyhop.doors.xds.translate import Resource, resources
from everyhop.services.deploy import BundleMaterial, LeafMaterial, NodeTarget

Json = dict[str, Any]
LOG = "/data/nodes/x/connections.jsonl"
ME = "spiffe://shop.internal/test/"
HTTP = TEXT.replace("protocol: postgres", "protocol: http")
EDGE = (
    TEXT.replace("https: 127.0.0.1:8443", "https: 127.0.0.1:8443\n  http: 127.0.0.1:8080")
    .replace(
        "shop.localhost: {to: web}",
        "shop.localhost: {to: web}\n    orders.localhost: {to: web}\n    raw.example: {passthrough: raw}",
    )
    .replace("edge:", '  raw: {owner: shop, listen: "192.0.2.7:8443", protocol: tcp}\nedge:')
)


def node(name: str, text: str = TEXT) -> NodePlan:
    return plan(text).node(name)


def translated(of: NodePlan, **secrets: Any) -> dict[tuple[str, str], Resource]:
    return resources(NodeTarget(of, secrets), LOG)


def body(of: NodePlan, kind: str, name: str) -> Json:
    """A resource as Envoy will read it."""
    message = message_class(kind)()
    message.ParseFromString(translated(of)[kind, name].body)
    pool = cast("DescriptorPool", message.DESCRIPTOR.file.pool)
    return json_format.MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=pool)


def found(value: object, key: str) -> Iterator[Any]:
    """Every value under ``key``, however deep."""
    if isinstance(value, dict):
        for name, inner in cast("dict[str, object]", value).items():
            if name == key:
                yield inner
            yield from found(inner, key)
    elif isinstance(value, list):
        for inner in cast("list[object]", value):
            yield from found(inner, key)


def only(value: object, key: str) -> Any:
    (one,) = found(value, key)
    return one


# --- TLS on both sides --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [TEXT, HTTP], ids=["tcp", "http"])
def test_both_ends_state_the_same_versions_and_groups(text: str) -> None:
    server = only(body(node("db", text), LISTENER, "inbound"), "tls_params")
    client = only(body(node("web", text), CLUSTER, "to-db"), "tls_params")
    assert (
        server
        == client
        == {
            "tls_minimum_protocol_version": "TLSv1_3",
            "tls_maximum_protocol_version": "TLSv1_3",
            "ecdh_curves": ["X25519MLKEM768", "X25519", "P-256"],
        }
    )


@pytest.mark.parametrize("text", [TEXT, HTTP], ids=["tcp", "http"])
def test_an_mtls_port_asks_for_a_certificate_and_resumes_nothing(text: str) -> None:
    listener = body(node("db", text), LISTENER, "inbound")
    assert only(listener, "require_client_certificate") is True
    assert only(listener, "disable_stateless_session_resumption") is True
    assert only(listener, "disable_stateful_session_resumption") is True
    assert only(body(node("web", text), CLUSTER, "to-db"), "max_session_keys") == 0


def test_an_mtls_port_takes_exactly_its_callers_and_a_caller_exactly_its_callee() -> None:
    server = only(body(node("db"), LISTENER, "inbound"), "match_typed_subject_alt_names")
    assert server == [{"san_type": "URI", "matcher": {"exact": ME + "web"}}]
    client = only(body(node("web"), CLUSTER, "to-db"), "match_typed_subject_alt_names")
    assert client == [{"san_type": "URI", "matcher": {"exact": ME + "db"}}]
    assert only(body(node("web"), CLUSTER, "to-db"), "sni") == "db.test.shop.internal"


def test_secrets_are_named_and_never_stand_in_a_listener_or_cluster() -> None:
    for resource in (body(node("db"), LISTENER, "inbound"), body(node("web"), CLUSTER, "to-db")):
        (own,) = only(resource, "tls_certificate_sds_secret_configs")
        assert own["name"] == "identity"
        assert only(resource, "validation_context_sds_secret_config")["name"] == "trust"
        assert not list(found(resource, "inline_bytes"))
        assert {one["initial_fetch_timeout"] for one in found(resource, "sds_config")} == {"0s"}


def test_an_mtls_caller_speaks_http2_and_says_so() -> None:
    web = body(node("edge"), CLUSTER, "to-web")
    assert only(web, "alpn_protocols") == ["h2"]
    assert list(found(web, "http2_protocol_options"))
    assert not list(found(web, "http_protocol_options"))
    assert not list(found(body(node("web"), CLUSTER, "to-db"), "alpn_protocols")), "bytes are no HTTP"
    assert only(body(node("web"), LISTENER, "inbound"), "alpn_protocols") == ["h2", "http/1.1"]


# --- ages ---------------------------------------------------------------------------------------------------------


def test_connections_end_with_the_identity_they_were_made_with() -> None:
    text = HTTP + "policy: {max_connection_age: 10m}\n"
    caller = only(body(node("web", text), CLUSTER, "to-db"), "max_connection_duration")
    server = only(body(node("db", text), LISTENER, "inbound"), "max_connection_duration")
    assert (caller, server) == ("600s", "660s"), "the caller leaves before it is thrown out"
    tcp = body(node("db", TEXT + "policy: {max_connection_age: 10m}\n"), LISTENER, "inbound")
    assert only(tcp, "max_downstream_connection_duration") == "660s"
    assert only(tcp, "idle_timeout") == "0s", "a database's idle connection is not cut"


def test_an_apps_idle_connection_is_given_up_before_the_app_does() -> None:
    assert only(body(node("web"), CLUSTER, "app"), "idle_timeout") == "1s"
    assert not list(found(body(node("web"), CLUSTER, "app"), "transport_socket"))


def test_a_heartbeat_proves_an_idle_hop_and_judges_nothing() -> None:
    cluster = body(node("web"), CLUSTER, "to-db")
    assert only(cluster, "reuse_connection") is False
    assert only(cluster, "interval") == "5s"
    assert only(cluster, "healthy_panic_threshold") == {"value": 100.0}
    assert not list(found(body(node("web"), CLUSTER, "app"), "health_checks"))


# --- the edge -----------------------------------------------------------------------------------------------------


def test_the_edge_picks_by_name_and_has_no_default() -> None:
    https = body(node("edge", EDGE), LISTENER, "https")
    chains = {chain["name"]: chain for chain in https["filter_chains"]}
    assert {name: chain["filter_chain_match"]["server_names"] for name, chain in chains.items()} == {
        name: [name] for name in ("orders.localhost", "raw.example", "shop.localhost")
    }
    assert "default_filter_chain" not in https
    assert "tls_inspector" in https["listener_filters"][0]["name"]
    assert "transport_socket" not in chains["raw.example"], "its TLS is its own"
    shop = chains["shop.localhost"]["transport_socket"]
    assert only(shop, "tls_certificate_sds_secret_configs")[0]["name"] == "host:shop.localhost"
    assert not list(found(shop, "require_client_certificate"))
    assert only(shop, "alpn_protocols") == ["h2", "http/1.1"]


def test_a_host_answers_for_itself_only_with_hsts_and_others_get_421() -> None:
    https = body(node("edge", EDGE), LISTENER, "https")
    shop = next(chain for chain in https["filter_chains"] if chain["name"] == "shop.localhost")
    served, other = only(shop, "virtual_hosts")
    assert served["domains"][0] == "shop.localhost"
    assert all(domain.startswith("shop.localhost") for domain in served["domains"])
    assert only(served, "header") == {"key": "strict-transport-security", "value": "max-age=31536000"}
    assert only(other, "direct_response")["status"] == 421
    assert other["domains"] == ["*"]


def test_hsts_is_left_out_where_the_topology_says_off() -> None:
    https = body(node("edge", TEXT.replace("  hosts:", "  hsts: off\n  hosts:")), LISTENER, "https")
    assert not list(found(https, "header"))


def test_plain_http_is_redirected_with_308_and_unknown_hosts_are_not() -> None:
    redirect = body(node("edge", EDGE), LISTENER, "http")
    known, other = only(redirect, "virtual_hosts")
    assert only(known, "redirect") == {
        "https_redirect": True,
        "port_redirect": 8443,
        "response_code": "PERMANENT_REDIRECT",
    }
    assert not any(domain == "*" for domain in known["domains"])
    assert only(other, "direct_response")["status"] == 421


def test_an_edge_for_older_clients_takes_forward_secrecy_only() -> None:
    https = body(node("edge", TEXT.replace("  hosts:", "  tls: intermediate\n  hosts:")), LISTENER, "https")
    parameters = only(https, "tls_params")
    assert parameters["tls_minimum_protocol_version"] == "TLSv1_2"
    assert all(cipher.startswith("ECDHE-") for cipher in parameters["cipher_suites"])
    assert "cipher_suites" not in only(body(node("edge"), LISTENER, "https"), "tls_params")


# --- who called ---------------------------------------------------------------------------------------------------


def test_what_a_caller_claims_is_dropped_and_what_it_proved_is_set() -> None:
    listener = body(node("web"), LISTENER, "inbound")
    assert only(listener, "forward_client_cert_details") == "SANITIZE_SET"
    assert only(listener, "set_current_client_cert_details") == {"uri": True, "dns": True}
    for name, of in (("https", node("edge")), ("out-db", node("web", HTTP))):
        # SANITIZE is the default value: protobuf does not write it.
        assert set(found(body(of, LISTENER, name), "forward_client_cert_details")) <= {"SANITIZE"}


@pytest.mark.parametrize(("name", "listener"), [("db", "inbound"), ("web", "inbound"), ("edge", "https")])
def test_every_tls_port_logs_who_came_and_why_it_was_refused(name: str, listener: str) -> None:
    log = body(node(name), LISTENER, listener)["access_log"][0]["typed_config"]
    assert log["path"] == LOG
    line = only(log, "json_format")
    assert {"at", "listener", "peer", "version", "group", "peer_uri", "peer_serial", "failure"} <= set(line)
    assert line["failure"] == "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%"


def test_only_what_the_callee_never_saw_is_sent_again() -> None:
    policy = only(body(node("web", HTTP), LISTENER, "out-db"), "retry_policy")
    assert policy["retry_on"] == "connect-failure,refused-stream,reset-before-request"
    assert not list(found(body(node("web"), LISTENER, "inbound"), "retry_policy"))


# --- resources ----------------------------------------------------------------------------------------------------


def test_a_node_has_exactly_what_its_plan_names() -> None:
    leaf, trust = LeafMaterial("identity", "1a", "CHAIN", b"KEY"), BundleMaterial.of("trust", "ROOTS")
    assert set(translated(node("web"), identity=leaf, trust=trust)) == {
        (CLUSTER, "app"),
        (CLUSTER, "to-db"),
        (LISTENER, "inbound"),
        (LISTENER, "out-db"),
        (SECRET, "identity"),
        (SECRET, "trust"),
    }


def test_a_version_is_the_content_and_a_secrets_version_its_serial() -> None:
    leaf, trust = LeafMaterial("identity", "1a", "CHAIN", b"KEY"), BundleMaterial.of("trust", "ROOTS")
    first = translated(node("web"), identity=leaf, trust=trust)
    assert first == translated(node("web"), identity=leaf, trust=trust)
    assert first[SECRET, "identity"].version == "1a"
    assert first[SECRET, "trust"].version == trust.version
    moved = translated(node("web", TEXT.replace("127.0.0.1:9002", "127.0.0.1:9999")), identity=leaf, trust=trust)
    changed = {name for name, one in moved.items() if one.version != first[name].version}
    assert changed == {(CLUSTER, "to-db")}
    assert "KEY" not in repr(first)


def test_addresses_of_every_kind_find_their_form() -> None:
    unix = TEXT.replace("127.0.0.1:7002", "unix:{data}/db.sock")
    app = body(node("db", unix), CLUSTER, "app")
    assert (only(app, "pipe")["path"], only(app, "type")) == ("/data/db.sock", "STATIC")
    db = node("db")
    named = replace(db, upstreams=(replace(db.upstreams[0], address=Address("db.internal", 5432)),))
    assert body(named, CLUSTER, "app")["type"] == "STRICT_DNS"
    sixth = body(node("db", TEXT.replace("127.0.0.1:7002", "[::1]:7002")), CLUSTER, "app")
    assert (sixth["type"], only(sixth, "socket_address")["address"]) == ("STATIC", "::1")


@pytest.mark.parametrize(
    ("kind", "value", "field"),
    [
        (CLUSTER, {"name": "x", "conect_timeout": "5s"}, "conect_timeout"),
        (CLUSTER, {"name": "x", "connect_timeout": "soon"}, "connectTimeout|connect_timeout"),
        (CLUSTER, {"name": "x", "type": "STATICK"}, "STATICK"),
        (LISTENER, {"name": "x", "address": {"socket_adress": {}}}, "socket_adress"),
        (
            LISTENER,
            {"name": "x", "filter_chains": [{"filters": [{"typed_config": {"@type": "x/no.Such"}}]}]},
            "no.Such",
        ),
        (SECRET, {"name": 7}, "name"),
    ],
)
def test_a_mistake_in_a_translation_is_an_error_here_that_names_its_field(kind: str, value: Json, field: str) -> None:
    with pytest.raises((json_format.ParseError, TypeError), match=field):
        encode(kind, value)


def test_the_same_json_gives_the_same_bytes() -> None:
    one = {"name": "x", "connect_timeout": "5s"}
    assert encode(CLUSTER, one) == encode(CLUSTER, dict(reversed(one.items())))
    assert type(parse(BOOTSTRAP, {"node": {"id": "x"}})) is message_class("envoy.config.bootstrap.v3.Bootstrap")
