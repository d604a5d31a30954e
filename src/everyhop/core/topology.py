"""The topology: what should be, as its one file says it.

Rules: every field says what it means and why it has its default; these sentences are the reference and what editors
show. A model that came from :func:`everyhop.core.validation.read` is consistent; one built in code is not checked
across its parts. Mappings keep their names in order, so that everything computed from them is repeatable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, model_validator

from everyhop.core import literals as lit
from everyhop.core.fault import listed
from everyhop.core.hop import Address, Hop, Posture, Protocol
from everyhop.core.identity import SpiffeId, TrustDomain
from everyhop.core.profile import PROFILES, KeyAlgorithm
from everyhop.core.section import InNameOrder, Label, Part, Reference
from everyhop.core.sending import Telemetry
from everyhop.core.showing import Board
from everyhop.core.telling import Notify, Objectives

EDGE = "edge"
"""The edge's name among callers and callees, and in its identity."""
CLIENT = "client"
"""Whoever calls the edge from outside."""


ServiceName = Annotated[str, lit.SERVICE_NAME]
DnsName = Annotated[str, lit.DNS_NAME]
Variable = Annotated[str, lit.VARIABLE]
Value = Annotated[str, lit.text(lines=True)]
HostName = Annotated[str, lit.HOST]


class Criticality(StrEnum):
    """How much depends on a service; it orders findings and alerts."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class TlsLevel(StrEnum):
    """What the edge speaks to clients."""

    MODERN = "modern"
    """TLS 1.3 only."""
    INTERMEDIATE = "intermediate"
    """TLS 1.3, and TLS 1.2 with ephemeral keys and authenticated encryption."""


class KeyExchange(StrEnum):
    """Key exchange groups that both Envoy and its peers know. Envoy accepts other names and then meets nobody."""

    X25519MLKEM768 = "X25519MLKEM768"
    X25519 = "X25519"
    P256 = "P-256"
    P384 = "P-384"


class Owner(Part):
    """Who answers for a service."""

    contact: Annotated[str, lit.text()] = Field(examples=["storefront@shop.example"])
    """Where to reach the owner: an e-mail address, a URL, or any text that people understand."""
    escalation: Annotated[str, lit.text()] | None = Field(default=None, examples=["https://oncall.example/storefront"])
    """Whom to reach when the owner does not answer. Default: nobody else."""
    page: tuple[Reference, ...] = Field(default=(), examples=[["oncall"]])
    """Receivers of what must wake this owner. Default: those of `notify.page`."""
    ticket: tuple[Reference, ...] = Field(default=(), examples=[["mail"]])
    """Receivers of what can wait for tomorrow. Default: those of `notify.ticket`."""


def _short_call(value: object) -> object:
    return {"service": value} if isinstance(value, str) else value


class Call(Part):
    """A service that is called, and optionally where its caller finds it."""

    service: Reference = Field(examples=["api"])
    """The service that is called."""
    at: Annotated[Address, lit.ADDRESS] | None = Field(default=None, examples=["127.0.0.1:7001"])
    """Where the caller's app reaches the callee: a loopback address that the caller's proxy listens on. Default: one
    with a port of `policy.mesh_ports` is chosen and remembered, because most apps take it from a placeholder."""


class Health(Part):
    """How to see that an app is up: exactly one of `http` and `tcp`."""

    http: Annotated[str, lit.HTTP_PATH] | None = Field(default=None, examples=["/healthz"])
    """A path that is asked with GET; the app is up when it answers with a status from 200 to 399."""
    tcp: StrictBool | None = Field(default=None, examples=[True])
    """True: the app is up when it accepts a connection."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.http is None) != (self.tcp is True):
            given = "both" if self.http else "neither"
            raise lit.misfit("either http: and a path, or tcp: true", "keep one of the two", got=given)
        return self


def _names_a_program(command: tuple[str, ...]) -> tuple[str, ...]:
    if not command[0].strip():
        raise lit.misfit("a program as the first item", "for example python, or a path", got="an empty text")
    return command


def _no_variables() -> Mapping[str, str]:
    return MappingProxyType({})


class Run(Part):
    """How everyhop runs a service's app. Without it, something else does."""

    command: Annotated[tuple[Value, ...], Field(min_length=1), AfterValidator(_names_a_program)] = Field(
        examples=[["python", "-m", "shop.web", "--listen", "{listen}"]]
    )
    """The program and its arguments, one text each; no shell reads them. Placeholders: {data}, {file_dir}, {listen},
    {calls.NAME}, and of an address .host, .port or .path; {{ and }} are literal braces."""
    environment: Annotated[Mapping[Variable, Value], InNameOrder] = Field(
        default_factory=_no_variables, repr=False, examples=[{"API_URL": "http://{calls.api}"}]
    )
    """Environment variables, with the same placeholders. Default: none of its own."""
    directory: Annotated[str, lit.text("a directory")] = Field(default=".", examples=["."])
    """Where the command starts, relative to the topology file. Default: next to it, so that a checkout can move."""
    health: Health = Field(default=Health(tcp=True), examples=[{"http": "/healthz"}])
    """How to see that the app is up. Default: it accepts a connection, which every app can do."""
    start_timeout: Annotated[timedelta, lit.duration("1s", "1h")] = Field(
        default=timedelta(seconds=60), examples=["60s"]
    )
    """How long the app may take until it is up. Default: 60s, enough for a database on a slow disk."""


class Service(Part):
    """Something with an owner and an identity, that listens and calls."""

    owner: Reference = Field(examples=["storefront"])
    """Who answers for this service: a name from `owners`."""
    criticality: Criticality = Field(default=Criticality.MEDIUM, examples=["high"])
    """How much depends on it. Default: medium, so that high is said on purpose."""
    listen: Annotated[Address, lit.ADDRESS] = Field(examples=["127.0.0.1:8081", "unix:{data}/web.sock"])
    """Where the app itself listens, in plaintext: a loopback address or a Unix socket that only its proxy reaches."""
    protocol: Protocol = Field(default=Protocol.HTTP, examples=["http"])
    """What the app speaks. Default: http; tcp carries any bytes, whoever speaks first."""
    calls: tuple[
        Annotated[Call, BeforeValidator(_short_call, json_schema_input_type=Annotated[str, lit.text()] | Call)], ...
    ] = Field(default=(), examples=[["api"], [{"service": "api", "at": "127.0.0.1:7001"}]])
    """The services it may call: a name, or a name and the address where its app finds it. Default: none; a call that
    does not stand here is refused."""
    mesh: Annotated[Address, lit.ADDRESS] | None = Field(default=None, examples=["127.0.0.1:9441"])
    """Where the service's proxy accepts mTLS. Default: a free loopback port of `policy.mesh_ports` is chosen and
    remembered."""
    dns: tuple[DnsName, ...] = Field(default=(), examples=[["web.shop.internal"]])
    """More DNS names in its certificate, each inside `policy.names`. Default: none; peers look at the identity."""
    max_connection_age: Annotated[timedelta, lit.duration("1s", "30d")] | None = Field(default=None, examples=["1h"])
    """How long a connection to it may live. Default: that of `policy`."""
    run: Run | None = Field(default=None)
    """How everyhop runs the app. Default: something else runs it."""


class Host(Part):
    """What a host at the edge leads to: exactly one of `to` and `passthrough`."""

    to: Reference | None = Field(default=None, examples=["web"])
    """The service that answers: TLS ends at the edge and mTLS begins."""
    passthrough: Reference | None = Field(default=None, examples=["legacy"])
    """The service that answers with a certificate of its own: the edge sees the name and carries the bytes."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.to is None) == (self.passthrough is None):
            given = "neither" if self.to is None else "both"
            raise lit.misfit("either to: or passthrough:, and a service", "keep one of the two", got=given)
        return self

    @property
    def service(self) -> str:
        """The service it leads to."""
        return self.to or self.passthrough or ""


class Hsts(Part):
    """Strict-Transport-Security (RFC 6797): browsers use https for these hosts, whatever a link says."""

    max_age: Annotated[timedelta, lit.duration("1s", "3650d")] = Field(default=timedelta(days=365), examples=["365d"])
    """How long browsers remember. Default: 365d, what the preload lists ask for."""
    include_subdomains: StrictBool = Field(default=False, examples=[True])
    """For all names below, too. Default: false, because this file cannot know them all."""
    preload: StrictBool = Field(default=False, examples=[False])
    """Ask browser vendors to build it in (hstspreload.org). Default: false, because it is hard to take back."""

    @model_validator(mode="after")
    def _ready_for_preload(self) -> Self:
        if self.preload and not (self.include_subdomains and self.max_age >= timedelta(days=365)):
            expected = "include_subdomains: true and a max_age of at least 365d with preload: true"
            given = f"{'true' if self.include_subdomains else 'false'} and {lit.format_duration(self.max_age)}"
            raise lit.misfit(expected, "hstspreload.org takes no less; or leave preload out", got=given)
        return self

    @property
    def header(self) -> str:
        """The header's value (RFC 6797, 6.1)."""
        value = f"max-age={int(self.max_age.total_seconds())}"
        return value + "; includeSubDomains" * self.include_subdomains + "; preload" * self.preload


def _off_is_none(value: object) -> object:
    if value != "off" and type(value) in (bool, int, float, str, list):
        raise lit.misfit("off, or a mapping", "its keys are max_age, include_subdomains and preload")
    return None if value == "off" else value


def _board_or_off(value: object) -> object:
    if value != "off" and type(value) in (bool, int, float, str, list):
        raise lit.misfit("off, or a mapping", "its keys are listen, owners, services and local")
    return None if value == "off" else value


BoardOrOff = Annotated[Board | None, BeforeValidator(_board_or_off, json_schema_input_type=Literal["off"] | Board)]


class Edge(Part):
    """Where clients come in."""

    https: Annotated[Address, lit.TCP_ADDRESS] = Field(examples=["127.0.0.1:8443"])
    """Where the edge accepts TLS."""
    http: Annotated[Address, lit.TCP_ADDRESS] | None = Field(default=None, examples=["127.0.0.1:8080"])
    """Where plain http is answered with a redirect (308) to https. Default: nowhere."""
    tls: TlsLevel = Field(default=TlsLevel.MODERN, examples=["modern"])
    """modern: TLS 1.3 only. intermediate: also TLS 1.2 with ECDHE and AEAD. Default: modern; every browser since 2019
    speaks it."""
    hsts: Annotated[Hsts | None, BeforeValidator(_off_is_none, json_schema_input_type=Literal["off"] | Hsts)] = Field(
        default=Hsts(), examples=[{"max_age": "365d", "include_subdomains": True}, "off"]
    )
    """Strict-Transport-Security, or `off`. Default: on, because a redirect alone can be intercepted."""
    hosts: Annotated[Mapping[HostName, Host], InNameOrder] = Field(examples=[{"shop.localhost": {"to": "web"}}])
    """Host names (`*.` and a name stands for one label) and where each leads."""


def _served(algorithm: KeyAlgorithm) -> KeyAlgorithm:
    served = PROFILES["service"].key_algorithms
    if algorithm not in served:
        raise lit.misfit(listed(served), "Envoy and browsers serve no other key; authorities may have others")
    return algorithm


class Policy(Part):
    """How certificates and connections live. Everything has a default that suits production."""

    security_level: Literal["strict"] = Field(default="strict", examples=["strict"])
    """strict: mTLS on every hop between services. It is the only level of this release."""
    leaf_lifetime: Annotated[timedelta, lit.duration("2s", "90d")] = Field(
        default=timedelta(hours=24), examples=["24h"]
    )
    """How long a service's certificate lives. Default: 24h, so that a lost key is worth little and an outage of the
    authority of half a day harms nobody. Lifetimes of seconds are for tests."""
    renew_at: Annotated[float, lit.share(0.1, 0.9, open_ends=True)] = Field(default=0.5, examples=[0.5])
    """The share of the lifetime after which a certificate is renewed. Default: 0.5, which leaves 12 hours of 24."""
    jitter: Annotated[float, lit.share(0, 0.3)] = Field(default=0.1, examples=[0.1])
    """By which share a renewal comes earlier or later. Default: 0.1, so that a fleet does not renew at once."""
    intermediate_lifetime: Annotated[timedelta, lit.duration("12s", "3650d")] = Field(
        default=timedelta(days=90), examples=["90d"]
    )
    """How long the issuing authority lives. Default: 90d, so that its rotation is a habit."""
    root_lifetime: Annotated[timedelta, lit.duration("13s", "9125d")] = Field(
        default=timedelta(days=3650), examples=["3650d"]
    )
    """How long the root lives. Default: 3650d; it signs intermediates only, and is rotated long before."""
    backdate: Annotated[timedelta, lit.duration("0s", "1h")] = Field(default=timedelta(minutes=5), examples=["5m"])
    """How far in the past a certificate begins, for peers whose clocks run late. Default: 5m."""
    leaf_key: Annotated[KeyAlgorithm, AfterValidator(_served)] = Field(default=KeyAlgorithm.P256, examples=["p256"])
    """The key type of services and of the edge. Default: p256, fast and understood by every peer."""
    authority_key: KeyAlgorithm = Field(default=KeyAlgorithm.P256, examples=["p384"])
    """The key type of root and intermediate. Default: p256, which every peer verifies."""
    max_connection_age: Annotated[timedelta, lit.duration("1s", "30d")] | None = Field(default=None, examples=["1h"])
    """How long a connection between services may live: an open one outlives its certificate. Default: half of
    `leaf_lifetime`, at most 1h; for tcp and postgres, whose connections can only be cut, `leaf_lifetime`."""
    key_exchange: Annotated[tuple[KeyExchange, ...], Field(min_length=1)] = Field(
        default=(KeyExchange.X25519MLKEM768, KeyExchange.X25519, KeyExchange.P256),
        examples=[["X25519MLKEM768", "X25519", "P-256"]],
    )
    """Key exchanges, the preferred one first. Default: hybrid post-quantum first, then what older peers speak."""
    heartbeat: Annotated[timedelta, lit.duration("100ms", "1h")] = Field(default=timedelta(seconds=5), examples=["5s"])
    """How often a hop without traffic proves itself. Default: 5s."""
    rotation_overlap: Annotated[timedelta, lit.duration("0s", "365d")] = Field(
        default=timedelta(hours=1), examples=["1h"]
    )
    """How long old and new root are both trusted before the new one signs. Default: 1h, longer than any connection."""
    names: Annotated[tuple[DnsName, ...], Field(min_length=1)] | None = Field(
        default=None, examples=[["shop.internal", "shop.localhost"]]
    )
    """DNS names that the authority may ever vouch for, each with all below it. Default: the trust domain and the
    hosts of the edge."""
    mesh_ports: Annotated[range, lit.PORTS] = Field(default=range(15400, 16400), examples=["15400-16399"])
    """The loopback ports, first and last, from which everyhop chooses addresses that this file leaves open. An address
    that was chosen before stays. Default: 15400-16399, below those that Linux gives to outgoing connections (32768 and
    up), so that a remembered port is still free at the next start. Give each mesh of a machine a band of its own."""

    @property
    def connection_age(self) -> timedelta:
        """How long a connection between services may live unless the service says otherwise."""
        return self.max_connection_age or min(self.leaf_lifetime / 2, timedelta(hours=1))


class Exemption(Part):
    """A hop that need not be encrypted, with a reason, somebody who answers for it, and an end."""

    hop: Annotated[Hop, lit.HOP] = Field(examples=["web -> metrics"])
    """The hop, as caller -> callee. The caller then connects to the callee's listen address directly."""
    posture: Literal[Posture.EXEMPT] = Field(examples=["exempt"])
    """exempt: plaintext is allowed. It is the only exception of this release."""
    reason: Annotated[str, lit.text()] = Field(examples=["the metrics agent speaks no TLS before version 4"])
    """Why."""
    owner: Reference = Field(examples=["storefront"])
    """Who answers for it: a name from `owners`."""
    until: Annotated[date, lit.DATE] = Field(examples=["2027-03-01"])
    """The last day it holds. After it the file is refused, so that no exception is forgotten."""


class Topology(Part):
    """What should be: one trust domain and environment, its owners, services, edge and policy."""

    everyhop: Annotated[int, lit.VERSION] = Field(examples=[1])
    """The version of this language."""
    trust_domain: Annotated[TrustDomain, lit.TRUST_DOMAIN] = Field(examples=["shop.internal"])
    """The name under which all identities stand: one root, one environment, keys shared with no other."""
    environment: Label = Field(examples=["demo"])
    """Which environment this is; it stands in every identity."""
    owners: Annotated[Mapping[Label, Owner], InNameOrder] = Field(
        examples=[{"storefront": {"contact": "storefront@shop.example"}}]
    )
    """Who answers for services and exceptions, by name."""
    services: Annotated[Mapping[ServiceName, Service], InNameOrder] = Field(
        examples=[{"web": {"owner": "storefront", "listen": "127.0.0.1:8081"}}]
    )
    """The services, by name. A name is a DNS label and stands in the identity."""
    edge: Edge | None = Field(default=None)
    """Where clients come in. Default: nowhere; the services call each other only."""
    policy: Policy = Field(default_factory=Policy)
    """How certificates and connections live. Default: suits production."""
    exceptions: tuple[Exemption, ...] = Field(default=())
    """Hops that need not be encrypted, for now. Default: none."""
    objectives: Objectives = Field(default_factory=Objectives)
    """Service level objectives. Default: everyhop's own, by criticality."""
    notify: Notify = Field(default_factory=Notify)
    """Who hears of alerts, and how. Default: nobody; they are shown only."""
    telemetry: Telemetry = Field(default_factory=Telemetry)
    """Where metrics and traces are sent. Default: nowhere."""
    dashboard: Annotated[
        Board | None, BeforeValidator(_board_or_off, json_schema_input_type=Literal["off"] | Board)
    ] = Field(default=Board(), examples=[{"listen": "127.0.0.1:9443"}, "off"])
    """The dashboard and the metrics, or `off`. Default: on loopback, for this machine."""

    def hops(self) -> tuple[Hop, ...]:
        """Every hop, each once, in order: client to edge, edge to services, services to services."""
        edge = [Hop(CLIENT, EDGE), *sorted(self._edge_hops())] if self.edge else []
        return (*edge, *(Hop(name, call.service) for name, call in self.calls()))

    def calls(self) -> Iterator[tuple[str, Call]]:
        """Every call of a service by its caller's name, callers in name order, callees as they are written."""
        return ((name, call) for name, service in self.services.items() for call in service.calls)

    def callers(self, name: str) -> tuple[str, ...]:
        """Who may call a service over mTLS, in name order: services, and the edge if it re-encrypts to it."""
        return tuple(
            sorted(hop.caller for hop in self.hops() if hop.callee == name and self.posture(hop) is Posture.MTLS)
        )

    def posture(self, hop: Hop) -> Posture:
        """How a hop of this topology should be protected."""
        if hop.caller == CLIENT:
            # An edge that only passes through has no certificate: what it carries is not its own to judge.
            ends = self.edge is not None and any(host.to for host in self.edge.hosts.values())
            return Posture.TLS if ends else Posture.PASSTHROUGH
        if hop.caller == EDGE and self.edge and any(h.passthrough == hop.callee for h in self.edge.hosts.values()):
            return Posture.PASSTHROUGH
        return Posture.EXEMPT if self.exception_for(hop) else Posture.MTLS

    def exception_for(self, hop: Hop) -> Exemption | None:
        """The exception that exempts a hop, or None."""
        return next((exception for exception in self.exceptions if exception.hop == hop), None)

    def identity(self, name: str) -> SpiffeId:
        """The identity of a service, or of the edge by the name ``edge``; raises ``ValueError`` for no name at all."""
        return self.trust_domain.identity(self.environment, name)

    def connection_age(self, name: str) -> timedelta:
        """How long a connection to a service (or the edge) may live."""
        service = self.services.get(name)
        if service is None or service.protocol.is_http:
            return (service and service.max_connection_age) or self.policy.connection_age
        return service.max_connection_age or self.policy.max_connection_age or self.policy.leaf_lifetime

    @property
    def names(self) -> tuple[str, ...]:
        """The DNS names, each with all below it, that the authority may vouch for: its name constraints."""
        if self.policy.names is not None:
            return self.policy.names
        ours = [name.removeprefix("*.") for name, host in self.edge.hosts.items() if host.to] if self.edge else []
        return tuple(dict.fromkeys((self.trust_domain.name, *ours)))

    def _edge_hops(self) -> set[Hop]:
        return {Hop(EDGE, host.service) for host in self.edge.hosts.values()} if self.edge else set()
