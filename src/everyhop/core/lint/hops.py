"""Addresses of other services, as they stand in files: is what goes there encrypted?

Rules: an address on this machine (loopback, a Unix socket) is no hop. Of an address only scheme, host and port are ever
repeated, because passwords stand in the rest. A scheme counts as plaintext only if its encrypted twin has another name
(``redis`` and ``rediss``); where a parameter decides (``sslmode``), that is read.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from everyhop.core.finding import Severity

_PLAIN = {
    "http": "https",
    "ws": "wss",
    "redis": "rediss",
    "mqtt": "mqtts",
    "amqp": "amqps",
    "ldap": "ldaps",
    "ftp": "sftp or ftps",
    "stomp": "stomp+ssl",
    "nats": "tls",
    "grpc": "grpcs",
    "h2c": "https",
    "memcached": "a TLS port",
}
_SQL = frozenset(("postgres", "postgresql", "mysql", "mariadb", "cockroachdb"))
_DOCUMENT = frozenset(("mongodb", "mongodb+srv"))
_URL = re.compile(
    r"(?<![\w+.-])(?P<scheme>[A-Za-z][A-Za-z0-9+.]{1,20})://(?:[^\s/@'\"<>?#]{0,300}@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[^\s/:'\"<>?#\\,;)(\]}|`]{0,253})(?::(?P<port>[0-9]{1,5}|\$\{?\w+\}?))?"
    r"(?:/[^\s?'\"<>#]{0,500})?(?:\?(?P<query>[^\s'\"<>#]{0,500}))?"
)
_DSN = re.compile(r"(?i)(?<![\w-])sslmode\s*=\s*[\"']?(?P<mode>disable|allow|prefer|require)\b")
_MODE = re.compile(r"(?i)\b(?:ssl-?mode|sslmode|ssl|tls|ssl_mode|usessl)=(?P<mode>[\w-]+)")
_LOOPBACK = re.compile(r"127(?:\.[0-9]{1,3}){3}|0\.0\.0\.0|::1|::|localhost|.+\.localhost", re.IGNORECASE)
_VARIABLE = re.compile(r"\$|\{\{|%\(|%s|<[a-z]")
_NAMESPACES = frozenset(("www.w3.org", "schemas.xmlsoap.org", "json-schema.org", "xmlns.com", "purl.org"))
"""Hosts whose http addresses are names of things and not places to go."""


@dataclass(frozen=True, slots=True)
class PlainHop:
    """An address that is reached without encryption, or without it being sure."""

    offset: int
    what: str
    """Scheme, host and port, and the parameter that decides."""
    statement: str
    severity: Severity


def is_local(host: str) -> bool:
    """True for this machine: loopback, a Unix socket, or nothing."""
    plain = host.strip().strip("[]").rstrip(".")
    return not plain or plain.startswith(("unix", "/", "@")) or _LOOPBACK.fullmatch(plain) is not None


def is_variable(host: str) -> bool:
    """True if only somebody who runs it knows which host it is."""
    return _VARIABLE.search(host) is not None


def plain_hops(text: str, *, http: bool = True) -> Iterator[PlainHop]:
    """Every address in a text to which plaintext may go. ``http=False`` leaves http out, for text that cites pages."""
    urls = [*_URL.finditer(text)]
    for found in urls:
        scheme, host = found["scheme"].lower(), found["host"]
        if is_local(host) or host.lower() in _NAMESPACES or (scheme in ("http", "ws") and not http):
            continue
        query = found["query"] or ""
        if "host=/" in query or "host=%2F" in query:
            continue
        address = f"{scheme}://{host}" + (f":{found['port']}" if found["port"] else "")
        hop = _hop(found.start(), scheme, address, query)
        if hop:
            yield hop
    spans = [(found.start(), found.end()) for found in urls]
    for found in _DSN.finditer(text):
        if not _inside(found.start(), spans):
            yield _by_mode(found.start(), found["mode"].lower(), f"sslmode={found['mode'].lower()}")


def _inside(offset: int, spans: list[tuple[int, int]]) -> bool:
    index = bisect_right(spans, (offset, 1 << 62)) - 1
    return index >= 0 and spans[index][0] <= offset < spans[index][1]


def _hop(offset: int, scheme: str, address: str, query: str) -> PlainHop | None:
    base = scheme.partition("+")[0]
    mode = _MODE.search(query)
    if base in _SQL:
        if mode:
            return _sql(offset, mode["mode"].lower(), f"{address}?{mode[0]}")
        return PlainHop(
            offset,
            address,
            "expected sslmode=verify-full (or the driver's like), got none, and the default falls back to plaintext",
            Severity.MEDIUM,
        )
    if scheme in _DOCUMENT:
        on = (mode and mode["mode"].lower() == "true") or (scheme.endswith("+srv") and not mode)
        statement = "expected tls=true, got a database address without it"
        return None if on else PlainHop(offset, address, statement, Severity.HIGH)
    if scheme in _PLAIN:
        statement = f"expected {_PLAIN[scheme]} to another host, got {scheme}: everybody on the way can read it"
        return PlainHop(offset, address, statement, Severity.HIGH)
    return None


def _sql(offset: int, mode: str, what: str) -> PlainHop | None:
    weak = {"disabled": "disable", "false": "disable", "0": "disable", "preferred": "prefer", "required": "require"}
    name = weak.get(mode, mode)
    return _by_mode(offset, name, what) if name in ("disable", "allow", "prefer", "require") else None


def _by_mode(offset: int, mode: str, what: str) -> PlainHop:
    said = {
        "disable": ("nothing is encrypted", Severity.HIGH),
        "allow": ("plaintext comes first", Severity.HIGH),
        "prefer": ("whoever is on the way can strip it", Severity.HIGH),
        "require": ("anybody's certificate will do", Severity.LOW),
    }
    reason, severity = said[mode]
    return PlainHop(offset, what, f"expected sslmode=verify-full, got {mode}: {reason}", severity)
