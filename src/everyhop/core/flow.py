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
from everyhop.core.places import Place, Role
from everyhop.core.verdict import Verdict

ITSELF = "everyhop itself"
"""The mark of everyhop's own process. No process that it starts can bear it: their marks have no spaces."""


class FlowClass(StrEnum):
    """How a flow is protected."""

    MTLS = "mtls"
    TLS = "tls"
    """TLS, or the protocol's own encryption (SSH); the evidence says which."""
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
    """A service of the topology, else the process, else its user, else the address it comes from."""
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
    ended_at: datetime | None = None
    """When it had not been seen for a while; it stays listed a little longer."""

    @property
    def ours(self) -> bool:
        """True if a service of the topology is at one of its ends. What else goes on on a host is listed, and left to
        ``everyhop discover``: nobody here answers for it."""
        return bool(self.owner)

    @property
    def counts(self) -> bool:
        """True if it is plaintext of a service of ours that no running exception covers."""
        return self.encryption is FlowClass.PLAINTEXT and self.ours and not self.excused


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


@dataclass(frozen=True, slots=True)
class Meeting:
    """Everything about one connection on which its class depends."""

    caller: str = ""
    """The service that calls; empty: not one of the topology."""
    caller_part: str = ""
    """``app`` or ``proxy``."""
    callee: Place | None = None
    """What is planned where it goes to."""
    here: bool = False
    """Both ends are on this machine: it is on no network."""
    same_user: bool = False
    known: bool = True
    """The calling process, or its service, could be seen. False: it may be any."""
    held: bool = True
    """A process holds the caller's end, or the serving end if the caller is elsewhere. False: the connection is over
    (TIME-WAIT), and nobody can say whose it was."""
    port: Encryption = Encryption.UNKNOWN
    """What the port did when it was asked."""
    sampled_tls: bool | None = None
    """What a sample of this very connection has shown; None: none was taken."""

    @property
    def between_services(self) -> bool:
        """True if both ends belong to the topology, and not to the same service."""
        return bool(self.caller and self.callee) and not self.within_service

    @property
    def within_service(self) -> bool:
        """True for an app and its own proxy, in either direction."""
        return bool(self.caller) and self.callee is not None and self.caller == self.callee.service

    @property
    def within_host(self) -> bool:
        """True if one user holds both ends, on this machine, and they are known not to be two services."""
        return self.here and self.same_user and not self.between_services and (self.known or self.callee is None)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The class of a connection, and what it rests on."""

    encryption: FlowClass
    evidence: str


_ENCRYPTED = {
    Encryption.TLS: Judgement(FlowClass.TLS, "the port takes TLS and nothing else"),
    Encryption.UPGRADE_REQUIRED: Judgement(FlowClass.TLS, "the port insists on the upgrade to TLS"),
    Encryption.OWN: Judgement(FlowClass.TLS, "the port's protocol encrypts by itself"),
}
_UNDECIDED = {
    Encryption.UPGRADE_OFFERED: "the port takes both TLS and plaintext, and no sample was taken",
    Encryption.SILENT: "the port said nothing when it was asked",
    Encryption.CLOSED: "the port was closed when it was asked",
    Encryption.UNKNOWN: "the port was not asked, or its answer told nothing",
}


def classify(meeting: Meeting) -> Judgement:
    """The class of a connection.

    What was proved about the port comes first, then who talks to whom. A port that takes only TLS carries TLS whoever
    comes; a port that takes only plaintext carries plaintext, unless it stays within one service, or within this
    machine and one user. Whatever rests on nothing is unknown.
    """
    if meeting.sampled_tls is True:
        return Judgement(FlowClass.TLS, "a sample of its bytes was TLS records")
    if meeting.port in _ENCRYPTED:
        return _mtls(meeting) or _ENCRYPTED[meeting.port]
    if meeting.here and not meeting.held and meeting.callee is not None and meeting.callee.role is Role.WAY_OUT:
        return Judgement(FlowClass.WITHIN_SERVICE, "it is over; only this machine reaches the proxy, which encrypts")
    if meeting.here and not meeting.held:
        return Judgement(FlowClass.UNKNOWN, "it is over, and nobody can say whose it was")
    if meeting.here and meeting.within_service:
        return Judgement(FlowClass.WITHIN_SERVICE, "an app and its own proxy, on this machine")
    if meeting.sampled_tls is False or meeting.port is Encryption.PLAINTEXT:
        return _plaintext(meeting)
    if meeting.within_host:
        return Judgement(FlowClass.WITHIN_HOST, "one user, on this machine")
    return _mtls(meeting) or Judgement(FlowClass.UNKNOWN, _UNDECIDED.get(meeting.port, "nothing is known of the port"))


def _mtls(meeting: Meeting) -> Judgement | None:
    """A proxy on its way to an mTLS port: it shows its certificate there, or is refused."""
    at_mesh_port = meeting.callee is not None and meeting.callee.role is Role.MESH
    if at_mesh_port and meeting.caller_part == "proxy" and meeting.between_services:
        return Judgement(FlowClass.MTLS, "a proxy of the mesh at an mTLS port")
    return None


def _plaintext(meeting: Meeting) -> Judgement:
    seen = "a sample of its bytes was plaintext" if meeting.sampled_tls is False else "the port answers plaintext"
    if meeting.between_services:
        return Judgement(FlowClass.PLAINTEXT, f"{seen}, and two services meet there past their proxies")
    if meeting.within_host:
        return Judgement(FlowClass.WITHIN_HOST, f"{seen}; one user, on this machine")
    if meeting.here and meeting.same_user:
        return Judgement(FlowClass.UNKNOWN, f"{seen}; which of this user's processes calls could not be seen")
    return Judgement(FlowClass.PLAINTEXT, seen)


_WORST_FIRST = (
    FlowClass.PLAINTEXT,
    FlowClass.UNKNOWN,
    FlowClass.WITHIN_HOST,
    FlowClass.WITHIN_SERVICE,
    FlowClass.TLS,
    FlowClass.MTLS,
)


def worse(one: FlowClass, other: FlowClass) -> FlowClass:
    """The class of a flow whose connections differ: that of the worst."""
    return min(one, other, key=_WORST_FIRST.index)


def verdict_of(encryption: FlowClass) -> Verdict:
    """What a flow's class says about the promise that everything is encrypted."""
    if encryption is FlowClass.PLAINTEXT:
        return Verdict.FAIL
    if encryption is FlowClass.UNKNOWN:
        return Verdict.UNKNOWN
    return Verdict.NOT_APPLICABLE if encryption is FlowClass.WITHIN_HOST else Verdict.PASS


def listener_verdict(listener: ListenerSeen, address_is_loopback: bool) -> Verdict:
    """What a port's answer says: plaintext that only this machine can reach is no promise broken by itself."""
    if listener.encryption in _ENCRYPTED:
        return Verdict.PASS
    if listener.encryption in (Encryption.PLAINTEXT, Encryption.UPGRADE_OFFERED):
        return Verdict.NOT_APPLICABLE if address_is_loopback else Verdict.FAIL
    return Verdict.UNKNOWN
