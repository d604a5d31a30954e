"""The neutral plan as Envoy resources.

Rules, each from a measured trap: versions and groups are stated on *both* sides (an upstream without them falls back
to TLS 1.2); mTLS listeners have session resumption off and a bounded connection age (otherwise a dead identity lives
on); ALPN follows the upstream's HTTP mode; TLS failures are logged at the listener, since they never reach a filter;
nothing is translated that was not named by the plan. JSON here is Envoy's own, checked by :mod:`messages`.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from everyhop.core.hop import Address, Protocol
from everyhop.core.identity import SpiffeId
from everyhop.core.plan import (
    IDENTITY,
    PROXY_SOURCE,
    TRUST_BUNDLE,
    EdgeRedirect,
    EdgeTls,
    Inbound,
    NodePlan,
    Outbound,
    TlsRules,
    Upstream,
)
from everyhop.doors.xds.access_log import call_log, connection_log
from everyhop.doors.xds.messages import CLUSTER, LISTENER, SECRET, TYPE_URL_PREFIX, JsonObject, encode
from everyhop.services.deploy import BundleMaterial, Material, NodeTarget

_TLS = TYPE_URL_PREFIX + "envoy.extensions.transport_sockets.tls.v3."
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_VERSIONS = {"TLSv1.2": "TLSv1_2", "TLSv1.3": "TLSv1_3"}
_TLS12_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
_DRAIN = timedelta(seconds=5)
_APP_IDLE = timedelta(seconds=1)
"""An app's kept-alive connection is given up after this: most servers close theirs after 2-5 s, and a request that
crosses such a close on the wire would fail."""
_HARD_LIMIT = 1.1
"""A server ends a connection this much after the age at which a well-behaved client has left it."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """One xDS resource: its version is its content."""

    type_url: str
    name: str
    version: str
    body: bytes = field(repr=False)


def resources(target: NodeTarget, log_path: str) -> dict[tuple[str, str], Resource]:
    """Every resource of a node by (type URL, name). ``log_path`` is where its listeners log connections.

    Raises ``ValueError`` with the path of the field if a translation does not fit Envoy's schema.
    """
    found = [_versioned(CLUSTER, upstream.name, _cluster(upstream)) for upstream in target.plan.upstreams]
    found += [
        _versioned(LISTENER, listener.name, _listener(target.plan, listener, log_path))
        for listener in target.plan.listeners
    ]
    found += [
        Resource(SECRET, material.name, material.version, encode(SECRET, _secret(material)))
        for material in target.secrets.values()
    ]
    return {(resource.type_url, resource.name): resource for resource in found}


def _versioned(type_url: str, name: str, value: JsonObject) -> Resource:
    body = encode(type_url, value)
    return Resource(type_url, name, hashlib.sha256(body).hexdigest()[:16], body)


# --- secrets ------------------------------------------------------------------------------------------------------


def _secret(material: Material) -> Json:
    if isinstance(material, BundleMaterial):
        return {"name": material.name, "validation_context": {"trusted_ca": _inline(material.roots.encode())}}
    return {
        "name": material.name,
        "tls_certificate": {
            "certificate_chain": _inline(material.chain.encode()),
            "private_key": _inline(material.key),
        },
    }


def _inline(content: bytes) -> Json:
    return {"inline_bytes": base64.b64encode(content).decode()}


def _from_sds(name: str) -> Json:
    return {"name": name, "sds_config": {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}}


# --- TLS ----------------------------------------------------------------------------------------------------------


def _parameters(rules: TlsRules) -> Json:
    parameters: Json = {
        "tls_minimum_protocol_version": _VERSIONS[rules.minimum],
        "tls_maximum_protocol_version": _VERSIONS[rules.maximum],
        "ecdh_curves": list(rules.groups),
    }
    if rules.minimum == "TLSv1.2":
        parameters["cipher_suites"] = list(_TLS12_CIPHERS)
    return parameters


def _peers(identities: tuple[SpiffeId, ...]) -> Json:
    """Trust the bundle, and of those it vouches for exactly these identities."""
    return {
        "default_validation_context": {
            "match_typed_subject_alt_names": [
                {"san_type": "URI", "matcher": {"exact": str(identity)}} for identity in identities
            ]
        },
        "validation_context_sds_secret_config": _from_sds(TRUST_BUNDLE),
    }


def _server_socket(rules: TlsRules, credential: str, *, alpn: tuple[str, ...], callers: tuple[SpiffeId, ...]) -> Json:
    common: Json = {
        "tls_params": _parameters(rules),
        "alpn_protocols": list(alpn),
        "tls_certificate_sds_secret_configs": [_from_sds(credential)],
    }
    context: Json = {"@type": _TLS + "DownstreamTlsContext", "common_tls_context": common}
    if callers:
        common["combined_validation_context"] = _peers(callers)
        context["require_client_certificate"] = True
        # A resumed session skips the check of the client's certificate, also of one that has expired.
        context["disable_stateless_session_resumption"] = True
        context["disable_stateful_session_resumption"] = True
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _client_socket(upstream: Upstream, rules: TlsRules, callee: SpiffeId) -> Json:
    common: Json = {
        "tls_params": _parameters(rules),
        "tls_certificate_sds_secret_configs": [_from_sds(IDENTITY)],
        "combined_validation_context": _peers((callee,)),
    }
    if upstream.protocol.is_http:
        common["alpn_protocols"] = ["h2"]
    context: Json = {
        "@type": _TLS + "UpstreamTlsContext",
        "common_tls_context": common,
        "sni": upstream.server_name,
        "max_session_keys": 0,
    }
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


# --- clusters -----------------------------------------------------------------------------------------------------


def _cluster(upstream: Upstream) -> Json:
    cluster: Json = {
        "name": upstream.name,
        "type": "STRICT_DNS" if _needs_dns(upstream.address) else "STATIC",
        "connect_timeout": "5s",
        "per_connection_buffer_limit_bytes": 1 << 20,
        "load_assignment": {
            "cluster_name": upstream.name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(upstream.address)}}]}],
        },
        "circuit_breakers": {
            "thresholds": [
                {"max_connections": 10000, "max_pending_requests": 10000, "max_requests": 100000, "max_retries": 100}
            ]
        },
    }
    if upstream.tls is None and _is_loopback4(upstream.address):
        cluster["upstream_bind_config"] = {"source_address": {"address": PROXY_SOURCE, "port_value": 0}}
    if upstream.tls is not None and upstream.callee is not None:
        cluster["transport_socket"] = _client_socket(upstream, upstream.tls, upstream.callee)
    if upstream.protocol.is_http:
        cluster["typed_extension_protocol_options"] = {_HTTP_OPTIONS: _http_options(upstream)}
    if upstream.heartbeat is not None:
        cluster["health_checks"] = [_heartbeat(upstream.heartbeat)]
        # The heartbeat observes; it never takes an endpoint out of use.
        cluster["common_lb_config"] = {"healthy_panic_threshold": {"value": 100}}
    return cluster


def _http_options(upstream: Upstream) -> Json:
    common: Json = {}
    if upstream.max_connection_age is not None:
        common["max_connection_duration"] = _seconds(upstream.max_connection_age)
    if upstream.tls is None:
        common["idle_timeout"] = _seconds(_APP_IDLE)
    second = upstream.tls is not None or upstream.protocol is not Protocol.HTTP
    return {
        "@type": TYPE_URL_PREFIX + _HTTP_OPTIONS,
        "common_http_protocol_options": common,
        "explicit_http_config": {"http2_protocol_options": _HTTP2} if second else {"http_protocol_options": {}},
    }


_HTTP2: Json = {
    "max_concurrent_streams": 100,
    "initial_stream_window_size": 1 << 16,
    "initial_connection_window_size": 1 << 20,
}


def _heartbeat(interval: timedelta) -> Json:
    """A fresh handshake, with the caller's own credential, at this interval: proof of an idle hop."""
    return {
        "timeout": "5s",
        "interval": _seconds(interval),
        "no_traffic_interval": _seconds(interval),
        "interval_jitter_percent": 10,
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "reuse_connection": False,
        "tcp_health_check": {},
    }


# --- listeners ----------------------------------------------------------------------------------------------------


def _listener(plan: NodePlan, listener: Inbound | Outbound | EdgeTls | EdgeRedirect, log_path: str) -> Json:
    body: Json = {
        "name": listener.name,
        "address": _address(listener.address),
        "stat_prefix": listener.name,
        "per_connection_buffer_limit_bytes": 1 << 15 if isinstance(listener, EdgeTls | EdgeRedirect) else 1 << 20,
        # With SO_REUSEPORT, Envoy's default, another mesh of this user could listen on the same port without a word,
        # and the kernel would deal out connections between the two. One worker needs no second socket.
        "enable_reuse_port": False,
    }
    if isinstance(listener, Inbound):
        body |= {"access_log": [connection_log(log_path, listener.name)], "filter_chains": [_inbound_chain(listener)]}
    elif isinstance(listener, Outbound):
        protocol = next(one.protocol for one in plan.upstreams if one.name == listener.upstream)
        body["filter_chains"] = [{"filters": [_outbound_filter(listener, protocol, log_path)]}]
    elif isinstance(listener, EdgeTls):
        body |= {
            "access_log": [connection_log(log_path, listener.name)],
            "listener_filters": [_TLS_INSPECTOR],
            "listener_filters_timeout": "5s",
            "filter_chains": [_edge_chain(listener, index, log_path) for index in range(len(listener.hosts))],
        }
    else:
        body["filter_chains"] = [{"filters": [_redirect_filter(listener)]}]
    return body


def _inbound_chain(listener: Inbound) -> Json:
    limit = listener.max_connection_age * _HARD_LIMIT
    if listener.protocol.is_http:
        alpn: tuple[str, ...] = ("h2", "http/1.1")
        filters = [
            _http_filter(
                listener.name,
                [_virtual_host("all", ["*"], listener.upstream)],
                max_connection_duration=limit,
                # What the caller claims about certificates is dropped; what its handshake proved is set.
                forward_client_cert_details="SANITIZE_SET",
                set_current_client_cert_details={"uri": True, "dns": True},
            )
        ]
    else:
        alpn = ()
        filters = [_tcp_filter(listener.name, listener.upstream, limit, after_handshake=True)]
    return {
        "name": "mtls",
        "filters": filters,
        "transport_socket": _server_socket(listener.tls, IDENTITY, alpn=alpn, callers=listener.callers),
        "transport_socket_connect_timeout": "10s",
    }


def _outbound_filter(listener: Outbound, protocol: Protocol, log_path: str) -> Json:
    if not protocol.is_http:
        # One connection here is one connection there: each is logged.
        return _tcp_filter(listener.name, listener.upstream, None, access_log=call_log(log_path, sample=False))
    host = _virtual_host("all", ["*"], listener.upstream, retry=True)
    log = call_log(log_path, sample=True)
    return _http_filter(listener.name, [host], forward_client_cert_details="SANITIZE", access_log=[log])


def _edge_chain(listener: EdgeTls, index: int, log_path: str) -> Json:
    host = listener.hosts[index]
    chain: Json = {"name": host.host, "filter_chain_match": {"server_names": [host.host]}}
    if not host.credential:
        return chain | {"filters": [_tcp_filter(f"{listener.name}.{host.host}", host.upstream, None)]}
    served = _virtual_host(host.host, [host.host], host.upstream, retry=True, hsts=listener.hsts, require_tls=True)
    return chain | {
        "filters": [
            _http_filter(
                f"{listener.name}.{host.host}",
                [served, _MISDIRECTED],
                forward_client_cert_details="SANITIZE",
                access_log=[call_log(log_path, sample=True)],
                use_remote_address=True,
                strip_any_host_port=False,
                # Envoy's advice for proxies that face clients.
                merge_slashes=True,
                path_with_escaped_slashes_action="UNESCAPE_AND_REDIRECT",
                common={"headers_with_underscores_action": "REJECT_REQUEST", "idle_timeout": "3600s"},
            )
        ],
        "transport_socket": _server_socket(listener.tls, host.credential, alpn=("h2", "http/1.1"), callers=()),
        "transport_socket_connect_timeout": "10s",
    }


def _redirect_filter(listener: EdgeRedirect) -> Json:
    redirect: Json = {
        "name": "redirect",
        "domains": list(listener.hosts),
        "routes": [
            {
                "match": {"prefix": "/"},
                "redirect": {
                    "https_redirect": True,
                    "port_redirect": listener.https_port,
                    "response_code": "PERMANENT_REDIRECT",
                },
            }
        ],
    }
    # A Host that we do not serve is not redirected: it would be an open redirect.
    return _http_filter(listener.name, [redirect, _MISDIRECTED], use_remote_address=True)


_MISDIRECTED: Json = {
    "name": "misdirected",
    "domains": ["*"],
    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 421}}],
}
_TLS_INSPECTOR: Json = {
    "name": "envoy.filters.listener.tls_inspector",
    "typed_config": {"@type": TYPE_URL_PREFIX + "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"},
}


def _virtual_host(
    name: str, domains: list[str], upstream: str, *, retry: bool = False, hsts: str = "", require_tls: bool = False
) -> Json:
    action: Json = {"cluster": upstream, "timeout": "0s", "idle_timeout": "300s"}
    if retry:
        # Only what the callee never saw is sent again, so that nothing is ever done twice.
        action["retry_policy"] = {
            "retry_on": "connect-failure,refused-stream,reset-before-request",
            "num_retries": 3,
            "retry_back_off": {"base_interval": "0.010s", "max_interval": "0.250s"},
        }
    host: Json = {"name": name, "domains": domains, "routes": [{"match": {"prefix": "/"}, "route": action}]}
    if hsts:
        host["response_headers_to_add"] = [
            {
                "header": {"key": "strict-transport-security", "value": hsts},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ]
    if require_tls:
        host["require_tls"] = "ALL"
    return host


def _http_filter(
    prefix: str,
    hosts: list[Json],
    *,
    max_connection_duration: timedelta | None = None,
    common: Json | None = None,
    **options: Any,
) -> Json:
    shared: Json = dict(common or {})
    if max_connection_duration is not None:
        shared["max_connection_duration"] = _seconds(max_connection_duration)
    config: Json = {
        "@type": TYPE_URL_PREFIX + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": prefix,
        "route_config": {"name": prefix, "virtual_hosts": hosts, "ignore_port_in_host_matching": True},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": TYPE_URL_PREFIX + "envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
        "common_http_protocol_options": shared,
        "http2_protocol_options": _HTTP2,
        "drain_timeout": _seconds(_DRAIN),
        "request_headers_timeout": "30s",
        "stream_idle_timeout": "300s",
        "normalize_path": True,
        "server_header_transformation": "PASS_THROUGH",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        **options,
    }
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": config}


def _tcp_filter(
    prefix: str,
    upstream: str,
    max_age: timedelta | None,
    *,
    after_handshake: bool = False,
    access_log: Json | None = None,
) -> Json:
    config: Json = {
        "@type": TYPE_URL_PREFIX + "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": prefix,
        "cluster": upstream,
        "idle_timeout": "0s",
        "max_connect_attempts": 3,
    }
    if access_log is not None:
        config["access_log"] = [access_log]
    if max_age is not None:
        config["max_downstream_connection_duration"] = _seconds(max_age)
    if after_handshake:
        # Otherwise the app gets a connection for everybody who knocks, before they are refused.
        config |= {"upstream_connect_mode": "ON_DOWNSTREAM_TLS_HANDSHAKE", "max_early_data_bytes": 1 << 16}
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": config}


# --- small forms --------------------------------------------------------------------------------------------------


def _address(address: Address) -> Json:
    if address.path:
        return {"pipe": {"path": address.path}}
    return {"socket_address": {"address": address.host, "port_value": address.port}}


def _is_loopback4(address: Address) -> bool:
    return address.host.startswith("127.") and not _needs_dns(address)


def _needs_dns(address: Address) -> bool:
    return bool(address.host) and not address.host.replace(".", "").isdigit() and ":" not in address.host


def _seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():.3f}s"
