"""Flows on a host: who talks to whom beside and inside the mesh, from the socket table, without reading a byte.

Rules: a flow is what the kernel lists, joined to users, processes, services and owners; its encryption follows from
the verdict on the port it goes to, and what cannot be told stays unknown. A service's own proxy talking to its app on
loopback never leaves the service; two services talking past their proxies do, even on loopback.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from everyhop.core.endpoint.facts import Encryption
from everyhop.core.endpoint.target import Wire


class FlowClass(StrEnum):
    """How a flow is protected."""

    MTLS = "mtls"
    TLS = "tls"
    PLAINTEXT = "plaintext"
    WITHIN_SERVICE = "within a service"
    """An app and its own proxy, on loopback."""
    WITHIN_HOST = "within the host"
    """Loopback, one user, and not between two services of the topology: listed, not counted."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Flow:
    """Connections from one caller to one listening port, alike in all that matters."""

    key: str
    """Stable: caller, server address."""
    caller: str
    """A service of the topology, else the process, else the address it comes from."""
    callee: str
    """A service of the topology, else empty."""
    server: str
    """The listening address."""
    encryption: FlowClass
    first_at: datetime
    last_at: datetime
    connections: int
    """How many different connections were seen."""
    owner: str = ""
    """The callee's owner, else the caller's."""
    evidence: str = ""
    """What the class rests on."""
    caller_process: str = ""
    caller_user: str = ""
    excused: str = ""
    """The reason of the exception that covers it."""
    excused_until: date | None = None


@dataclass(frozen=True, slots=True)
class ListenerSeen:
    """A listening socket of this host, and what it said when it was asked."""

    address: str
    service: str
    """Empty: not in the topology."""
    part: str
    """``app``, ``proxy``, ``everyhop`` or empty."""
    user: str
    process: str
    encryption: Encryption
    wire: Wire | None
    seen_at: datetime
    asked_at: datetime | None
    evidence: str = ""
    owner: str = ""
