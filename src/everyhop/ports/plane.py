"""The data plane: proxies, and what they saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from everyhop.core.hop import End
from everyhop.ports.runner import ProcessSpec


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection as an Envoy saw it, from its access log. Facts only.

    The serving end logs every connection; the calling end those that failed, and a sample of the others.
    """

    at: datetime
    node: str
    listener: str
    """The serving end: the listener. The calling end: the upstream."""
    peer_address: str = ""
    version: str = ""
    cipher: str = ""
    group: str = ""
    peer_identity: str = ""
    """The URI SAN the peer presented, also when it was refused."""
    peer_serial: int | None = None
    """The serial of what the peer presented; only the serving end tells it."""
    failure: str = ""
    """Envoy's transport failure reason; empty: the handshake was accepted."""
    server_name: str = ""
    end: End = End.SERVER
    local_address: str = ""
    """Our own address on this connection: the two ends of one connection are joined by it."""
    flags: str = ""
    """The calling end: Envoy's response flags (``UF``, ``UC``)."""
    handshake_us: int | None = None
    reached: bool = False
    """The serving end: the connection got as far as something behind the proxy."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a log, and how far."""

    connections: tuple[Connection, ...]
    mark: str


@dataclass(frozen=True, slots=True)
class EndCounters:
    """What an Envoy has counted at one listener or upstream since it started."""

    name: str
    end: End
    connections: int = 0
    handshakes: int = 0
    """Finished ones, resumed ones included. A TLS 1.3 client has finished before the server refuses it."""
    resumed: int = 0
    errors: int = 0
    """Connections that failed in TLS for a reason other than the peer's certificate."""
    unverified: int = 0
    """Connections that failed because of the peer's certificate, or for the lack of one."""
    not_tls: int = 0
    """Connections that no filter chain takes: plaintext on a TLS port."""
    versions: Mapping[str, int] = field(default_factory=dict[str, int])
    ciphers: Mapping[str, int] = field(default_factory=dict[str, int])
    groups: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Counters:
    """All counters of one proxy; ``uptime`` (seconds) tells whether it started anew."""

    uptime: int
    ends: tuple[EndCounters, ...]


class Plane(Protocol):
    """The data plane on this host: how to run a node's proxy and hear what it saw."""

    def spec(self, node: str) -> ProcessSpec:
        """The process that is this node's proxy; writes its bootstrap file first."""
        ...

    async def live(self, node: str) -> bool:
        """True when the proxy serves with a complete configuration."""
        ...

    async def connections(self, node: str, since: str) -> Reading:
        """Connections that ended or failed after the mark ``since`` (empty: all that is there), oldest first."""
        ...

    async def stored(self, node: str, mark: str) -> None:
        """What lies before this mark is durable elsewhere and will never be asked for again: it may be dropped."""
        ...

    async def counters(self, node: str) -> Counters | None:
        """What the proxy has counted; None if it does not answer."""
        ...
