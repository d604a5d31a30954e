"""What the services need from outside, as protocols.

Rules: a port is narrow and says what it promises, not how; every implementation passes the same contract suite
(``tests/contracts``). Times are aware UTC datetimes; bytes are DER or PEM as stated; nothing here does anything.
"""

from everyhop.ports.events import Event, Reporter, Sleep
from everyhop.ports.host import Clock, Json, Random
from everyhop.ports.keys import KeyPurpose, Keys
from everyhop.ports.notify import Notice, Notifier
from everyhop.ports.plane import Connection, Counters, EndCounters, Plane, Reading
from everyhop.ports.probes import (
    ClientCredential,
    EndpointProber,
    Handshake,
    Listen,
    PlainAnswer,
    PortTraffic,
    Prober,
    Visit,
    Visitor,
    Wiretap,
)
from everyhop.ports.runner import ProcessSpec, Runner, RunningProcess
from everyhop.ports.sockets import Socket, Sockets
from everyhop.ports.store import AuditEntry, Document, Issuance, IssuanceState, Lease, Seal, Store
from everyhop.ports.telemetry import Telemetry

__all__ = [
    "AuditEntry",
    "ClientCredential",
    "Clock",
    "Connection",
    "Counters",
    "Document",
    "EndCounters",
    "EndpointProber",
    "Event",
    "Handshake",
    "Issuance",
    "IssuanceState",
    "Json",
    "KeyPurpose",
    "Keys",
    "Lease",
    "Listen",
    "Notice",
    "Notifier",
    "PlainAnswer",
    "Plane",
    "PortTraffic",
    "Prober",
    "ProcessSpec",
    "Random",
    "Reading",
    "Reporter",
    "Runner",
    "RunningProcess",
    "Seal",
    "Sleep",
    "Socket",
    "Sockets",
    "Store",
    "Telemetry",
    "Visit",
    "Visitor",
    "Wiretap",
]
