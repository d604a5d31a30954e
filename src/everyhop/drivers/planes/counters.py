"""What an Envoy counts: its admin interface's statistics as facts about listeners and upstreams.

Rules: only names that are known are read; a proxy of another version with other names gives fewer facts, not wrong
ones. Measured on Envoy 1.40: a resumed handshake counts as a handshake too, a plaintext connection to a strict port
counts as ``no_filter_chain_match`` and as no connection, and a rejected TLS 1.3 client has counted a handshake.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from everyhop.core.hop import End
from everyhop.ports import Counters, EndCounters

QUERY = (
    "/stats?format=json&filter="
    r"^(server\.uptime$|(listener|cluster)\.[^.].*\.(ssl\..*|downstream_cx_total|upstream_cx_total|no_filter_chain_match)$)"
)
_NAME = re.compile(
    r"^(?P<kind>listener|cluster)\.(?P<name>.+?)\.(?P<what>ssl\..+|downstream_cx_total|upstream_cx_total|no_filter_chain_match)$"
)
_LISTS = {"versions": "versions", "ciphers": "ciphers", "curves": "groups"}
_SUMS = {
    "downstream_cx_total": "connections",
    "upstream_cx_total": "connections",
    "no_filter_chain_match": "not_tls",
    "ssl.handshake": "handshakes",
    "ssl.session_reused": "resumed",
    "ssl.connection_error": "errors",
    "ssl.fail_verify_no_cert": "unverified",
    "ssl.fail_verify_error": "unverified",
    "ssl.fail_verify_san": "unverified",
    "ssl.fail_verify_cert_hash": "unverified",
}


def parse(text: str) -> Counters | None:
    """The counters in Envoy's answer to :data:`QUERY`; None if it is no such answer."""
    try:
        stats = cast("list[dict[str, Any]]", list(json.loads(text)["stats"]))
    except (ValueError, KeyError, TypeError):
        return None
    uptime, found = 0, dict[tuple[str, str], dict[str, Any]]()
    for one in stats:
        name, value = str(one.get("name", "")), one.get("value")
        if not isinstance(value, int):
            continue
        if name == "server.uptime":
            uptime = value
        elif matched := _NAME.match(name):
            _count(found.setdefault((matched["kind"], matched["name"]), {}), matched["what"], value)
    return Counters(uptime, tuple(_end(kind, name, values) for (kind, name), values in sorted(found.items())))


def _count(values: dict[str, Any], what: str, value: int) -> None:
    if what in _SUMS:
        values[_SUMS[what]] = values.get(_SUMS[what], 0) + value
        return
    _, _, rest = what.partition("ssl.")
    listed, _, item = rest.partition(".")
    if listed in _LISTS and item and value:
        cast("dict[str, int]", values.setdefault(_LISTS[listed], {}))[item] = value


def _end(kind: str, name: str, values: Mapping[str, Any]) -> EndCounters:
    return EndCounters(name, End.SERVER if kind == "listener" else End.CLIENT, **values)
