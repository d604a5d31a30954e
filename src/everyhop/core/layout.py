"""From the topology to the plan: which proxies, ports, credentials and apps make it true.

Rules: pure, and the same topology with the same remembered addresses always gives the same plan. An address that the
file does not fix is asked for by a key, chosen once outside, and remembered. A hop's key exchange and versions are
stated on both ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from everyhop.core import placeholders
from everyhop.core.certificate import NameScope
from everyhop.core.hop import Address, Hop, Posture, Protocol
from everyhop.core.identity import SpiffeId
from everyhop.core.lifecycle import RenewalPolicy
from everyhop.core.plan import (
    CLIENT,
    EDGE,
    IDENTITY,
    AppPlan,
    Credential,
    EdgeHost,
    EdgeRedirect,
    EdgeTls,
    HopPlan,
    Inbound,
    Listener,
    NodePlan,
    Outbound,
    Plan,
    TlsRules,
    Upstream,
)
from everyhop.core.policy import Grant, IssuancePolicy
from everyhop.core.topology import Edge, Service, TlsLevel, Topology

_APP = "app"
_INBOUND = "inbound"
_HTTPS = "https"


def mesh_key(service: str) -> str:
    """The key under which a service's mTLS address is remembered."""
    return f"mesh/{service}"


def call_key(caller: str, callee: str) -> str:
    """The key under which the address is remembered where a caller's app reaches a callee."""
    return f"call/{caller}/{callee}"


def upstream_name(callee: str) -> str:
    """What a proxy calls its way to a callee."""
    return f"to-{callee}"


def open_addresses(topology: Topology) -> tuple[str, ...]:
    """The keys of all addresses that the file leaves open, in order."""
    keys = [
        mesh_key(name) for name, service in topology.services.items() if service.mesh is None and topology.callers(name)
    ]
    keys += [
        call_key(name, call.service)
        for name, call in topology.calls()
        if call.at is None and topology.posture(Hop(name, call.service)) is Posture.MTLS
    ]
    return tuple(keys)


def fixing(key: str) -> str:
    """How the file fixes the address of a key of :func:`open_addresses`, in words for a hint."""
    _, service, *callee = key.split("/")
    return f"`at:` in {service}'s call of {callee[0]}" if callee else f"`mesh:` of {service}"


def lay_out(topology: Topology, remembered: Mapping[str, Address], *, data: str, file_dir: str) -> Plan:
    """The plan of a topology on this machine.

    ``remembered`` holds an address for every key of :func:`open_addresses`; ``data`` and ``file_dir`` are absolute
    directories for placeholders. Raises ``KeyError`` for an address that is missing.
    """
    return _Layout(topology, remembered, data, file_dir).plan()


class _Layout:
    def __init__(self, topology: Topology, remembered: Mapping[str, Address], data: str, file_dir: str) -> None:
        self.topology = topology
        self.remembered = remembered
        self.data = data
        self.file_dir = file_dir
        policy = topology.policy
        self.mesh_tls = TlsRules("TLSv1.3", "TLSv1.3", tuple(str(group) for group in policy.key_exchange))

    def plan(self) -> Plan:
        nodes = [self.service_node(name, service) for name, service in self.topology.services.items()]
        if self.topology.edge is not None:
            nodes.append(self.edge_node(self.topology.edge))
        return Plan(
            nodes=tuple(node for node in nodes if node.listeners),
            apps=tuple(self.app(name) for name in self.start_order()),
            hops=tuple(self.hop(hop) for hop in in_travel_order(self.topology.hops())),
        )

    # --- nodes ----------------------------------------------------------------------------------------------------

    def service_node(self, name: str, service: Service) -> NodePlan:
        callers = tuple(self.topology.identity(caller) for caller in self.topology.callers(name))
        listeners: list[Listener] = []
        upstreams: list[Upstream] = []
        if callers:
            upstreams.append(Upstream(_APP, self.listen(name), service.protocol))
            listeners.append(
                Inbound(
                    _INBOUND,
                    self.mesh(name),
                    service.protocol,
                    self.mesh_tls,
                    callers,
                    _APP,
                    self.topology.connection_age(name),
                )
            )
        for call in service.calls:
            if self.topology.posture(Hop(name, call.service)) is Posture.MTLS:
                upstream = self.upstream(call.service)
                upstreams.append(upstream)
                listeners.append(
                    Outbound(f"out-{call.service}", self.call(name, call.service), upstream.protocol, upstream.name)
                )
        credential = Credential(IDENTITY, "service", service.owner, self.topology.identity(name), service.dns)
        return NodePlan(
            name, self.topology.identity(name), service.owner, (credential,), tuple(listeners), tuple(upstreams)
        )

    def edge_node(self, edge: Edge) -> NodePlan:
        hosts: list[EdgeHost] = []
        credentials: list[Credential] = []
        upstreams: dict[str, Upstream] = {}
        for name, host in edge.hosts.items():
            upstream = self.edge_upstream(host.service) if host.to else self.passthrough(host.service)
            upstreams[upstream.name] = upstream
            credential = f"host:{name}" if host.to else ""
            hosts.append(EdgeHost(name, upstream.name, credential))
            if credential:
                owner = self.topology.services[host.service].owner
                credentials.append(Credential(credential, "edge", owner, dns_names=(name,)))
        owner = edge_owner(self.topology)
        if any(upstream.tls for upstream in upstreams.values()):
            credentials.insert(0, Credential(IDENTITY, "service", owner, self.topology.identity(EDGE)))
        minimum = "TLSv1.3" if edge.tls is TlsLevel.MODERN else "TLSv1.2"
        listeners: list[Listener] = [
            EdgeTls(
                _HTTPS,
                edge.https,
                TlsRules(minimum, "TLSv1.3", self.mesh_tls.groups),
                tuple(hosts),
                edge.hsts.header if edge.hsts else "",
            )
        ]
        if edge.http is not None:
            listeners.append(EdgeRedirect("http", edge.http, edge.https.port, tuple(edge.hosts)))
        return NodePlan(
            EDGE,
            self.topology.identity(EDGE),
            owner,
            tuple(credentials),
            tuple(listeners),
            tuple(upstreams.values()),
        )

    def upstream(self, callee: str) -> Upstream:
        age = self.topology.connection_age(callee)
        protocol = self.topology.services[callee].protocol
        return Upstream(
            name=upstream_name(callee),
            address=self.mesh(callee),
            protocol=protocol,
            tls=self.mesh_tls,
            callee=self.topology.identity(callee),
            server_name=f"{callee}.{self.topology.environment}.{self.topology.trust_domain}",
            heartbeat=self.topology.policy.heartbeat,
            max_connection_age=age if protocol.is_http else None,
        )

    def edge_upstream(self, callee: str) -> Upstream:
        """Where the edge sends what it has decrypted: to the callee's mTLS port, or to the app itself if exempt."""
        if self.topology.posture(Hop(EDGE, callee)) is Posture.EXEMPT:
            return Upstream(f"bare-{callee}", self.listen(callee), self.topology.services[callee].protocol)
        return self.upstream(callee)

    def passthrough(self, callee: str) -> Upstream:
        return Upstream(f"past-{callee}", self.listen(callee), Protocol.TCP)

    # --- apps -----------------------------------------------------------------------------------------------------

    def start_order(self) -> list[str]:
        """Callees before callers; in a circle of calls, by name."""
        order: list[str] = []
        seen: set[str] = set()

        def visit(name: str) -> None:
            if name not in seen:
                seen.add(name)
                for call in self.topology.services[name].calls:
                    visit(call.service)
                order.append(name)

        for name in self.topology.services:
            visit(name)
        return [name for name in order if self.topology.services[name].run is not None]

    def app(self, name: str) -> AppPlan:
        service = self.topology.services[name]
        run = service.run
        if run is None:
            raise KeyError(name)
        calls = {call.service: self.reach(name, call.service) for call in service.calls}
        values = placeholders.values(data=self.data, file_dir=self.file_dir, listen=self.listen(name), calls=calls)
        return AppPlan(
            name=name,
            command=tuple(placeholders.fill(part, values) for part in run.command),
            environment=tuple((key, placeholders.fill(value, values)) for key, value in run.environment.items()),
            directory=run.directory if run.directory.startswith("/") else f"{self.file_dir}/{run.directory}",
            listen=self.listen(name),
            health_path=run.health.http or "",
            start_timeout=run.start_timeout,
        )

    # --- hops -----------------------------------------------------------------------------------------------------

    def hop(self, hop: Hop) -> HopPlan:
        posture = self.topology.posture(hop)
        exception = self.topology.exception_for(hop)
        edge = self.topology.edge
        if hop.caller == CLIENT and edge is not None:
            return HopPlan(
                hop, posture, edge_owner(self.topology), "critical", edge.https, EDGE, _HTTPS, next(iter(edge.hosts))
            )
        service = self.topology.services[hop.callee]
        if posture is not Posture.MTLS:
            address = self.listen(hop.callee)
            return HopPlan(
                hop,
                posture,
                service.owner,
                service.criticality,
                address,
                "",
                "",
                reason=exception.reason if exception else "",
            )
        return HopPlan(
            hop,
            posture,
            service.owner,
            service.criticality,
            self.mesh(hop.callee),
            hop.callee,
            _INBOUND,
            f"{hop.callee}.{self.topology.environment}.{self.topology.trust_domain}",
            self.topology.identity(hop.caller),
            self.topology.identity(hop.callee),
        )

    # --- addresses ------------------------------------------------------------------------------------------------

    def listen(self, name: str) -> Address:
        return placeholders.place(self.topology.services[name].listen, self.data)

    def mesh(self, name: str) -> Address:
        fixed = self.topology.services[name].mesh
        return placeholders.place(fixed, self.data) if fixed else self.remembered[mesh_key(name)]

    def call(self, caller: str, callee: str) -> Address:
        fixed = next(call.at for call in self.topology.services[caller].calls if call.service == callee)
        return placeholders.place(fixed, self.data) if fixed else self.remembered[call_key(caller, callee)]

    def reach(self, caller: str, callee: str) -> Address:
        """Where a caller's app finds a callee: its own proxy, or the callee itself on an exempt hop."""
        exempt = self.topology.posture(Hop(caller, callee)) is Posture.EXEMPT
        return self.listen(callee) if exempt else self.call(caller, callee)


def in_travel_order(hops: Sequence[Hop]) -> list[Hop]:
    """The hops as a request meets them: from the client inwards; what no request reaches comes last."""
    depth = {CLIENT: 0}
    for _ in hops:
        for hop in hops:
            if hop.caller in depth:
                depth.setdefault(hop.callee, depth[hop.caller] + 1)
    return sorted(hops, key=lambda hop: (depth.get(hop.caller, len(hops)), hop.caller, hop.callee))


def edge_owner(topology: Topology) -> str:
    """Who answers for the edge: the owner of its first host's service."""
    if topology.edge is None:
        return ""
    return topology.services[next(iter(topology.edge.hosts.values())).service].owner


def issuance_policy(topology: Topology) -> IssuancePolicy:
    """What the topology allows to be signed."""
    policy = topology.policy
    identities: dict[SpiffeId, Grant] = {
        topology.identity(name): Grant(service.owner, frozenset(service.dns))
        for name, service in topology.services.items()
    }
    hosts: dict[str, str] = {}
    if topology.edge is not None:
        identities[topology.identity(EDGE)] = Grant(edge_owner(topology))
        hosts = {name: topology.services[host.service].owner for name, host in topology.edge.hosts.items() if host.to}
    return IssuancePolicy(
        trust_domain=topology.trust_domain,
        environment=topology.environment,
        scope=NameScope((topology.trust_domain.name,), topology.names),
        identities={str(identity): grant for identity, grant in identities.items()},
        hosts=hosts,
        max_lifetimes={
            "root": policy.root_lifetime,
            "intermediate": policy.intermediate_lifetime,
            "service": policy.leaf_lifetime,
            "edge": policy.leaf_lifetime,
            "probe": min(policy.leaf_lifetime, timedelta(minutes=10)),
            "evidence": policy.intermediate_lifetime,
        },
        leaf_key=policy.leaf_key,
        authority_key=policy.authority_key,
        backdate=policy.backdate,
    )


def renewal_policy(topology: Topology) -> RenewalPolicy:
    """When the topology's certificates are renewed."""
    policy = topology.policy
    return RenewalPolicy(policy.leaf_lifetime, policy.renew_at, policy.jitter)
