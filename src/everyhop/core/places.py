"""What the topology and its plan put at which address: apps, mTLS ports, ways out, the edge.

Rules: pure. A place is known by its exact address; an app that listens on every address is found by its port, because
it stands at the planned place, too. Unix sockets have no place here: no other machine and no socket table sees them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from everyhop.core.endpoint.target import PORTS, Wire
from everyhop.core.hop import Address, Protocol
from everyhop.core.plan import EdgeRedirect, EdgeTls, Inbound, Listener, Outbound, Plan
from everyhop.core.topology import Topology

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  # recognised, not bound
"""The hosts of sockets that listen on every address."""

_WIRES = {
    Protocol.HTTP: Wire.HTTP,
    Protocol.HTTP2: Wire.HTTP,
    Protocol.GRPC: Wire.HTTP,
    Protocol.POSTGRES: Wire.POSTGRESQL,
}


class Role(StrEnum):
    """What a planned address is for."""

    APP = "app"
    """The app itself, in plaintext, for its own proxy."""
    MESH = "mtls port"
    """Where the proxy in front of an app takes mTLS."""
    WAY_OUT = "way out"
    """Where an app reaches a callee through its own proxy, in plaintext on loopback."""
    EDGE = "edge"
    REDIRECT = "redirect"
    """Answers http with a redirect to https, and nothing else."""


@dataclass(frozen=True, slots=True)
class Place:
    """What stands at an address."""

    address: Address
    service: str
    """A service of the topology, or ``edge``."""
    role: Role
    owner: str
    wire: Wire | None = None
    """What is spoken there, where the topology says so or the port is registered for it."""
    server_name: str = ""
    """A name that the edge answers to: without one it answers nobody."""


class Places:
    """Every planned TCP address of this machine."""

    def __init__(self, places: Iterable[Place]) -> None:
        """Of two places at one address the first counts."""
        self._at: dict[Address, Place] = {}
        for place in places:
            self._at.setdefault(place.address, place)
        self._by_port: dict[int, Place] = {}
        for place in self._at.values():
            self._by_port.setdefault(place.address.port, place)

    def at(self, listener: Address) -> Place | None:
        """What is planned where something listens, or None."""
        exact = self._at.get(listener)
        if exact is None and listener.host in EVERYWHERE:
            return self._by_port.get(listener.port)
        return exact


def places_of(topology: Topology, plan: Plan) -> Places:
    """The places of a topology and its plan."""
    owners = {node.name: node.owner for node in plan.nodes}
    apps = [
        Place(service.listen, name, Role.APP, service.owner, _wire(service.protocol, service.listen))
        for name, service in topology.services.items()
        if not service.listen.path
    ]
    listeners = [
        Place(
            listener.address, node.name, _role(listener), owners[node.name], _listener_wire(listener), _name(listener)
        )
        for node in plan.nodes
        for listener in node.listeners
        if listener.address.port
    ]
    return Places([*apps, *listeners])


def marks_of(plan: Plan, topology: Topology) -> Mapping[str, tuple[str, str]]:
    """Which service a process's mark stands for, and as which of its parts: ``app`` or ``proxy``."""
    apps = {name: (name, "app") for name in topology.services}
    return apps | {f"envoy-{node.name}": (node.name, "proxy") for node in plan.nodes}


def _role(listener: Listener) -> Role:
    if isinstance(listener, Inbound):
        return Role.MESH
    if isinstance(listener, EdgeTls):
        return Role.EDGE
    return Role.REDIRECT if isinstance(listener, EdgeRedirect) else Role.WAY_OUT


def _listener_wire(listener: Listener) -> Wire | None:
    if isinstance(listener, Outbound):
        return _WIRES.get(listener.protocol)
    return Wire.TLS if isinstance(listener, Inbound) else Wire.HTTP


def _name(listener: Listener) -> str:
    """The first host that is not passed through, else the first; a wildcard stands for any name."""
    if not isinstance(listener, EdgeTls):
        return ""
    return min(listener.hosts, key=lambda host: not host.credential).host.replace("*", "any", 1)


def _wire(protocol: Protocol, address: Address) -> Wire | None:
    registered = PORTS.get(address.port)
    return _WIRES.get(protocol) or (registered.wire if registered else None)
