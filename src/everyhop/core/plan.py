"""The plan: what must run and listen so that the topology is true. Neutral: it knows no Envoy and no file format.

Rules: a plan is a pure function of the topology and of the ports that were remembered. One node is one proxy beside
one service (and one at the edge). Every mTLS listener names the exact identities that may call; every upstream names
the exact identity it expects. What the topology does not name does not exist: no wildcard, no default route.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from everyhop.core.hop import Address, Hop, Posture, Protocol
from everyhop.core.identity import SpiffeId

EDGE = "edge"
CLIENT = "client"
IDENTITY = "identity"
"""The name of a node's own credential."""
TRUST_BUNDLE = "trust"
"""The name of the roots a node trusts."""


PROXY_SOURCE = "127.69.72.2"
"""Where a proxy's connections to its own app come from: a loopback address that nobody else uses, so that the socket
table still tells whose they were when they are over."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate that a node serves or shows, and keeps alive."""

    name: str
    """``identity`` or ``host:<name>``."""
    profile: str
    owner: str
    identity: SpiffeId | None = None
    dns_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TlsRules:
    """Versions and key exchanges that a side of a hop accepts, best first."""

    minimum: str
    maximum: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a proxy sends to: an endpoint's mTLS port, or its own app in the clear on loopback."""

    name: str
    address: Address
    protocol: Protocol
    tls: TlsRules | None = None
    callee: SpiffeId | None = None
    """The exact identity that must answer."""
    server_name: str = ""
    heartbeat: timedelta | None = None
    """How often an idle hop proves itself by a fresh handshake."""
    max_connection_age: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Inbound:
    """An mTLS port in front of an app."""

    name: str
    address: Address
    protocol: Protocol
    tls: TlsRules
    callers: tuple[SpiffeId, ...]
    """Exactly these may call."""
    upstream: str
    max_connection_age: timedelta


@dataclass(frozen=True, slots=True)
class Outbound:
    """A loopback port where an app reaches a callee through its own proxy."""

    name: str
    address: Address
    protocol: Protocol
    upstream: str


@dataclass(frozen=True, slots=True)
class EdgeHost:
    """One host at the edge: terminated with a credential, or passed through by SNI."""

    host: str
    upstream: str
    credential: str = ""
    """Empty: passthrough."""


@dataclass(frozen=True, slots=True)
class EdgeTls:
    """The TLS port at the edge."""

    name: str
    address: Address
    tls: TlsRules
    hosts: tuple[EdgeHost, ...]
    hsts: str = ""
    """The Strict-Transport-Security value; empty: none."""


@dataclass(frozen=True, slots=True)
class EdgeRedirect:
    """The plaintext port at the edge: answers 308 to https, and nothing else."""

    name: str
    address: Address
    https_port: int
    hosts: tuple[str, ...]


Listener = Inbound | Outbound | EdgeTls | EdgeRedirect


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One proxy: what it listens on, where it sends to, which credentials it holds."""

    name: str
    identity: SpiffeId
    owner: str
    credentials: tuple[Credential, ...]
    listeners: tuple[Listener, ...]
    upstreams: tuple[Upstream, ...]

    @property
    def trusts(self) -> bool:
        """True if it checks anybody's certificate, and so needs to know the roots."""
        inbound = any(isinstance(one, Inbound) for one in self.listeners)
        return inbound or any(one.tls is not None for one in self.upstreams)


@dataclass(frozen=True, slots=True)
class AppPlan:
    """An app that everyhop runs."""

    name: str
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    directory: str
    listen: Address
    health_path: str
    """An HTTP path, or empty: a TCP connection is enough."""
    start_timeout: timedelta


@dataclass(frozen=True, slots=True)
class HopPlan:
    """One hop: the posture it should have and where it can be observed."""

    hop: Hop
    posture: Posture
    owner: str
    """The callee's owner: who can repair it."""
    criticality: str
    address: Address
    node: str
    """The node that serves it; empty for a hop without a proxy."""
    listener: str
    server_name: str = ""
    caller: SpiffeId | None = None
    callee: SpiffeId | None = None
    reason: str = ""
    """Why it is exempt."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that must be true on this machine."""

    nodes: tuple[NodePlan, ...]
    apps: tuple[AppPlan, ...]
    """In start order: callees before callers."""
    hops: tuple[HopPlan, ...]

    def node(self, name: str) -> NodePlan:
        """A node by name; raises ``KeyError``."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)
