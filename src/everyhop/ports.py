"""What the services need from outside, as protocols.

Rules: a port is narrow and says what it promises, not how; every implementation passes the same contract suite
(``tests/contracts``). Times are aware UTC datetimes; bytes are DER or PEM as stated; nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from everyhop.core.endpoint.facts import (
    CertificateFacts,
    EnforcementFacts,
    HttpFacts,
    PlainFacts,
    RevocationFacts,
    SessionFacts,
    TlsFacts,
)
from everyhop.core.endpoint.target import Target
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.hop import Address
from everyhop.core.observation import Kind, Observation, Stream
from everyhop.core.profile import KeyAlgorithm

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class Clock(Protocol):
    """The wall clock, as an argument."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        ...


class Random(Protocol):
    """Randomness, as an argument."""

    def serial(self) -> int:
        """A positive certificate serial number with at least 64 random bits, at most 20 octets (RFC 5280, 4.1.2.2)."""
        ...

    def fraction(self) -> float:
        """A number in [0, 1), for jitter."""
        ...

    def token(self) -> str:
        """An unguessable identifier, 128 random bits in hexadecimal."""
        ...


# --- store ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Document:
    """One record under compare-and-swap: ``version`` starts at 1 and grows by 1 with every write."""

    kind: str
    key: str
    value: dict[str, Json]
    version: int


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to do a piece of work until ``expires_at``; ``token`` only grows, so that old holders are fenced."""

    name: str
    holder: str
    token: int
    expires_at: datetime


class IssuanceState(StrEnum):
    """Where an issuance stands: intended (journaled, key not touched), issued, or abandoned."""

    INTENDED = "intended"
    ISSUED = "issued"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class Issuance:
    """A line of the issuance journal: what was going to be signed, stored before the key was touched."""

    request_id: str
    """Whoever asks twice with the same id gets the same certificate: issued once, whatever crashes between."""
    serial: int
    issuer: str
    """The authority that signs."""
    profile: str
    profile_digest: str
    subject: str
    """The identity or first name, for people and searches."""
    owner: str
    names: tuple[str, ...]
    """Every SAN as ``uri:...``, ``dns:...`` or ``ip:...``."""
    tbs: bytes
    """The exact to-be-signed bytes (DER)."""
    algorithm: bytes
    """The signature's AlgorithmIdentifier (DER)."""
    decision: str
    """Why policy allowed it."""
    not_before: datetime
    not_after: datetime
    intended_at: datetime
    state: IssuanceState = IssuanceState.INTENDED
    certificate: bytes | None = None
    """DER, once signed."""
    finished_at: datetime | None = None
    reason: str = ""
    """Why it was abandoned."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to what, and what came of it. ``details`` holds no secret."""

    at: datetime
    actor: str
    action: str
    subject: str
    outcome: str
    details: Mapping[str, Json] = field(default_factory=dict[str, Json])
    sequence: int = 0
    """Given by the store: 1, 2, 3 ... without gaps."""


@dataclass(frozen=True, slots=True)
class Seal:
    """A signed head over consecutive observations of one stream (RFC 6962's tree hash over their leaves), chained to
    the head before it."""

    stream: Stream
    number: int
    """1, 2, 3 ... per stream, without gaps."""
    first: int
    last: int
    """Sequence numbers of the observations it covers, inclusive."""
    root: bytes
    """The Merkle tree hash of their leaves (SHA-256)."""
    previous: bytes
    """SHA-256 of the note of the seal before it; empty for the first."""
    at: datetime
    note: bytes
    """The signed text: what is above, and a signature over it."""
    forgotten_at: datetime | None = None
    """When retention removed its observations; the seal itself is kept for ever."""


class Store(Protocol):
    """Durable state. A call that returned survives kill -9 and power loss; one that raised changed nothing."""

    async def get(self, kind: str, key: str) -> Document | None:
        """The document, or None."""
        ...

    async def all(self, kind: str) -> Sequence[Document]:
        """All documents of a kind, sorted by key."""
        ...

    async def put(
        self, kind: str, key: str, value: Mapping[str, Json], *, expect: int | None = None, fence: Lease | None = None
    ) -> Document:
        """Write a document. ``expect`` is the version it must have now (0: must not exist; None: whatever).

        Raises ``EveryhopError('store-conflict')`` if it has another, ``('store-fenced')`` if ``fence`` is no
        longer the newest lease of its name. Both are checked in the same transaction as the write.
        """
        ...

    async def delete(self, kind: str, key: str, *, expect: int | None = None, fence: Lease | None = None) -> None:
        """Remove a document (nothing happens if there is none and ``expect`` is None); raises as :meth:`put`."""
        ...

    async def acquire(self, name: str, holder: str, ttl: timedelta, now: datetime) -> Lease | None:
        """Take or extend a lease; None while another holder's runs. A new holder gets a higher token; the same
        holder extending keeps its token."""
        ...

    async def release(self, lease: Lease) -> None:
        """Give a lease back early. Releasing one that was lost does nothing."""
        ...

    async def intend(self, issuance: Issuance) -> Issuance:
        """Journal an intent. If ``request_id`` is known and not abandoned, nothing is written and the stored line is
        returned; an abandoned one is replaced. Raises ``('store-conflict')`` if the serial is taken."""
        ...

    async def complete(self, serial: int, certificate: bytes, at: datetime) -> Issuance:
        """Record the signed certificate. Repeating it with the same bytes is harmless; other bytes raise
        ``('store-conflict')``, an unknown serial ``('unknown-name')``."""
        ...

    async def abandon(self, serial: int, reason: str, at: datetime) -> None:
        """Mark an intent that will never be signed. Raises ``('store-conflict')`` if it was already issued."""
        ...

    async def issuance(self, *, request_id: str | None = None, serial: int | None = None) -> Issuance | None:
        """One journal line by request id or by serial (give exactly one)."""
        ...

    async def issuances(self, *, state: IssuanceState | None = None, limit: int = 1000) -> Sequence[Issuance]:
        """Journal lines, newest first."""
        ...

    async def audit(self, entry: AuditEntry) -> AuditEntry:
        """Append to the audit log; returns the entry with its sequence number."""
        ...

    async def audit_log(self, *, limit: int = 1000) -> Sequence[AuditEntry]:
        """Audit entries, newest first."""
        ...

    async def observe(
        self,
        observations: Sequence[Observation],
        *,
        beside: Mapping[tuple[str, str], Mapping[str, Json]] | None = None,
        fence: Lease | None = None,
    ) -> Sequence[Observation]:
        """Append observations, all or none; returns them with their sequence numbers. ``beside`` are documents
        (by kind and key) that are written in the same transaction, whatever their version: what was read of a
        source and how far it was read can so never come apart. Raises ``('store-fenced')`` as :meth:`put`."""
        ...

    async def observations(
        self,
        *,
        stream: Stream = Stream.RECORD,
        kind: Kind | None = None,
        subject: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: int = 0,
        newest_first: bool = False,
        limit: int = 1000,
    ) -> Sequence[Observation]:
        """Observations of a stream in order of sequence; ``since`` and ``until`` bound ``at`` (from, inclusive; to,
        exclusive), ``after`` the sequence. At most ``limit``."""
        ...

    async def leaves(self, stream: Stream, *, first: int, last: int) -> Sequence[bytes]:
        """The leaf hashes that were stored with the observations ``first`` to ``last``, in order: SHA-256 of 0x00 and
        the canonical bytes (RFC 6962, 2.1). Those of forgotten observations are gone."""
        ...

    async def seal(self, seal: Seal, *, fence: Lease | None = None) -> None:
        """Append a seal. Raises ``('store-conflict')`` unless it is the next number and begins where the last one
        ended."""
        ...

    async def seals(
        self, stream: Stream, *, after: int = 0, newest_first: bool = False, limit: int = 1000
    ) -> Sequence[Seal]:
        """Seals of a stream by number."""
        ...

    async def forget(self, stream: Stream, *, through: int, at: datetime, fence: Lease | None = None) -> int:
        """Remove the observations of a stream up to the seal with number ``through``; how many there were. The seals
        stay, marked with ``at``. What is not sealed is never forgotten."""
        ...

    async def revision(self) -> int:
        """A number that changes when anybody, in any process, may have written: cheap enough to poll."""
        ...

    async def close(self) -> None:
        """Finish what is under way and let go."""
        ...


# --- keys -----------------------------------------------------------------------------------------------------


class KeyPurpose(StrEnum):
    """What a key is for. It is fixed when the key is made."""

    ROOT = "root"
    """Signs intermediates; opened for each signature and locked again."""
    ISSUER = "issuer"
    """Signs leaves; never revealed."""
    LEAF = "leaf"
    """Held by a service's proxy on this machine; may be revealed to that proxy only."""


class Keys(Protocol):
    """Private keys, where they were made. No method returns a root's or an issuer's private key."""

    async def generate(self, key_id: str, algorithm: KeyAlgorithm, purpose: KeyPurpose) -> bytes:
        """Make a key durably; returns its public key (SubjectPublicKeyInfo, DER). If ``key_id`` exists with the same
        algorithm and purpose its public key is returned (a crash between making and using loses nothing); with
        others, raises ``('key-refused')``."""
        ...

    async def public(self, key_id: str) -> bytes:
        """SubjectPublicKeyInfo (DER); raises ``('key-unavailable')``."""
        ...

    async def sign(self, key_id: str, message: bytes) -> bytes:
        """Sign with the algorithm's X.509 signature: ECDSA with SHA-256 (P-256) or SHA-384 (P-384), deterministic by
        RFC 6979; Ed25519; RSA PKCS#1 v1.5 with SHA-256; ML-DSA. Raises ``('key-refused')`` for leaf keys."""
        ...

    async def reveal(self, key_id: str) -> bytes:
        """A leaf's private key as PKCS#8 PEM, for the proxy that serves it. Raises ``('key-refused')`` for others."""
        ...

    async def destroy(self, key_id: str) -> None:
        """Forget a key for ever; destroying an unknown one does nothing."""
        ...

    async def ids(self) -> Sequence[str]:
        """All key ids, sorted."""
        ...


# --- probes ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClientCredential:
    """What a probe shows of itself: PEM chain (leaf first) and PKCS#8 PEM key, in memory only."""

    chain: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Handshake:
    """What an endpoint answered to one TLS handshake. Facts only; the judgement is elsewhere.

    ``refused`` is the server's or the verifier's reason if the connection did not become usable: an alert, a
    reset, an end of stream. In TLS 1.3 a server refuses a client certificate *after* the handshake looked done, so
    the probe writes and reads before it says ``usable``. Facts seen before the refusal are kept.
    """

    address: Address
    at: datetime
    usable: bool
    refused: str = ""
    version: str = ""
    """``TLSv1.3`` or ``TLSv1.2``."""
    cipher: str = ""
    group: str = ""
    """The key exchange, e.g. ``X25519MLKEM768``."""
    alpn: str = ""
    chain: tuple[bytes, ...] = ()
    """Certificates the server sent (DER), leaf first."""
    resumed: bool = False
    handshake_seconds: float = 0.0

    @property
    def serial(self) -> int | None:
        """The serial of the leaf that was served, or None if none was seen or it is not a certificate one can read."""
        from cryptography import x509

        try:
            return x509.load_der_x509_certificate(self.chain[0]).serial_number if self.chain else None
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class PlainAnswer:
    """What an endpoint answered to bytes that were not TLS."""

    address: Address
    at: datetime
    connected: bool
    answer: bytes = b""
    """At most the first 512 bytes that came back."""
    closed: bool = False
    """True if the endpoint ended the connection; False if it stayed silent until the time limit."""


class Prober(Protocol):
    """Looks at endpoints from outside. One connection a call, bounded in time and memory; reports, never judges."""

    async def handshake(
        self,
        address: Address,
        *,
        server_name: str = "",
        credential: ClientCredential | None = None,
        alpn: Sequence[str] = (),
        timeout: float = 5.0,
    ) -> Handshake:
        """One TLS handshake without verification of the server (the chain is returned for that). Never raises for
        what the network or a hostile server does: the reason stands in ``refused``."""
        ...

    async def plaintext(self, address: Address, payload: bytes, *, timeout: float = 5.0) -> PlainAnswer:
        """Send bytes that are not TLS and report what comes back."""
        ...


class EndpointProber(Protocol):
    """Looks at any endpoint from outside, one question at a time. Bounded in time and memory, polite (few connections
    at once and per second to one host, back-off on resets), and never raises for what the network or a hostile
    server does: the reason stands in the facts. Every method makes its own connections and shares none."""

    async def plain(self, target: Target, *, timeout: float = 5.0) -> PlainFacts:
        """What the port speaks, and whether it insists on encryption."""
        ...

    async def verify(self, target: Target, guideline: Guideline, *, timeout: float = 5.0) -> TlsFacts:
        """About seven ClientHellos: is everything refused that the guideline does not permit?"""
        ...

    async def enumerate(self, target: Target, *, timeout: float = 5.0) -> TlsFacts:
        """Every version, suite, group and signature scheme that the endpoint accepts."""
        ...

    async def certificate(
        self, target: Target, *, credential: ClientCredential | None = None, timeout: float = 5.0
    ) -> CertificateFacts:
        """One real handshake, for the chain and its staple."""
        ...

    async def revocation(
        self, target: Target, chain: Sequence[bytes], staple: bytes | None, *, timeout: float = 5.0
    ) -> RevocationFacts:
        """What the responders named in the chain say of it."""
        ...

    async def enforcement(
        self, target: Target, credentials: Mapping[str, ClientCredential], *, timeout: float = 5.0
    ) -> EnforcementFacts:
        """Try to get in without a certificate and with each of these (keys: values of ``Entrance``)."""
        ...

    async def session(self, target: Target, *, timeout: float = 5.0) -> SessionFacts:
        """Resumption, early data, renegotiation, compression, fallback."""
        ...

    async def http(self, target: Target, *, plain_port: int | None = None, timeout: float = 5.0) -> HttpFacts:
        """One GET over TLS, and one to the plaintext port beside it if ``plain_port`` is given."""
        ...


class PortTraffic(Protocol):
    """What was captured of one port."""

    @property
    def bytes_seen(self) -> int:
        """TCP payload bytes, both ways."""
        ...

    @property
    def is_tls(self) -> bool:
        """True if bytes were seen and all of them were in TLS records."""
        ...


class Wiretap(Protocol):
    """What went over some ports of this machine, byte for byte."""

    @property
    def complete(self) -> bool:
        """True if nothing was lost: only then absence is evidence."""
        ...

    def port(self, port: int) -> PortTraffic:
        """What was seen of a port."""
        ...

    def contains(self, marker: bytes) -> bool:
        """True if these bytes went over any of the ports in the clear."""
        ...


Listen = Callable[[Collection[int]], AbstractAsyncContextManager[Wiretap]]
"""Listens to these ports while the context lasts; entering raises ``('probe-failed')`` where that is not permitted."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What a client got that trusts the published roots and nothing else."""

    status: int = 0
    """The HTTP status; 0: there was no answer."""
    version: str = ""
    fault: str = ""


class Visitor(Protocol):
    """A client from outside: an ordinary HTTPS request, verified as browsers do."""

    async def get(
        self, address: Address, host: str, path: str, *, roots: str, headers: Mapping[str, str], timeout: float = 10.0
    ) -> Visit:
        """GET a path of a host that is served at ``address``, trusting ``roots`` (PEM) alone. Never raises for what
        the network or the server does: the reason stands in ``fault``."""
        ...


# --- runner ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A process to run: a change of any field means another process."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    directory: str = ""
    """Working directory; empty: the data directory."""

    def digest(self) -> str:
        """A short stable hash of the whole specification: tells a running process of an older one apart."""
        import hashlib
        import json

        text = json.dumps([self.name, self.command, dict(sorted(self.environment.items())), self.directory])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class RunningProcess:
    """A live process that everyhop started, now or in an earlier life."""

    name: str
    pid: int
    digest: str
    adopted: bool = False


class Runner(Protocol):
    """Runs processes so that they outlive a crash of everyhop, and ends only what it started."""

    async def running(self) -> Sequence[RunningProcess]:
        """Every live process that this data directory's everyhop started, also in an earlier life."""
        ...

    async def start(self, spec: ProcessSpec) -> RunningProcess:
        """Start a process in a session of its own, its output appended to its log file. Raises
        ``('process-failed')`` if it cannot be executed."""
        ...

    async def wait(self, process: RunningProcess) -> int | None:
        """Wait until it has ended; its exit status, or None if that cannot be known (adopted)."""
        ...

    async def stop(self, process: RunningProcess, *, grace: float = 10.0) -> None:
        """End it and its children: SIGTERM, after ``grace`` seconds SIGKILL. Returns when it is gone."""
        ...

    async def log(self, name: str, *, lines: int = 100) -> Sequence[str]:
        """The newest lines of a process's log."""
        ...

    async def trim_logs(self) -> Sequence[str]:
        """Keep every log below its bound, losing only the oldest lines; the names of those that were cut."""
        ...


# --- sockets ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Socket:
    """One TCP socket of this machine's network namespace, as the kernel lists it."""

    local: Address
    remote: Address | None
    """None: it listens."""
    state: str
    """``listen``, ``established``, ``time-wait``, ...: the kernel's names in lower case."""
    uid: int
    user: str = ""
    """The user's name, if there is one."""
    inode: int = 0
    pid: int | None = None
    """The process, where the kernel lets us see it."""
    process: str = ""
    """Its name."""
    mark: str = ""
    """The name under which everyhop started it (``web``, ``envoy-web``), if it did."""


class Sockets(Protocol):
    """The socket table of this machine. Needs no privilege; what is not visible without one is left empty."""

    async def snapshot(self) -> Sequence[Socket]:
        """Listening and connected TCP sockets now. Raises ``('probe-failed')`` if the kernel does not tell."""
        ...


# --- notifications ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Notice:
    """What is told to people about one alert: it began, or it ended."""

    fingerprint: str
    """The same for the same trouble: receivers join by it."""
    alert: str
    firing: bool
    severity: str
    owner: str
    contact: str
    summary: str
    labels: Mapping[str, str]
    runbook: str
    began_at: datetime
    ended_at: datetime | None = None


class Notifier(Protocol):
    """Delivers notices to one place. Delivering the same notice twice must be harmless for the receiver to bear."""

    name: str

    async def notify(self, notices: Sequence[Notice]) -> None:
        """Deliver; raises ``('notify-failed')`` if the receiver did not take it, and may then be asked again."""
        ...


# --- plane ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection as the serving Envoy saw it, from its listener's access log. Facts only."""

    at: datetime
    node: str
    listener: str
    peer_address: str = ""
    version: str = ""
    cipher: str = ""
    group: str = ""
    peer_identity: str = ""
    """The URI SAN the peer presented, also when it was refused."""
    peer_serial: int | None = None
    failure: str = ""
    """Envoy's DOWNSTREAM_TRANSPORT_FAILURE_REASON; empty: the handshake was accepted."""
    server_name: str = ""


class Plane(Protocol):
    """The data plane on this host: how to run a node's proxy and hear what it saw."""

    def spec(self, node: str) -> ProcessSpec:
        """The process that is this node's proxy; writes its bootstrap file first."""
        ...

    async def live(self, node: str) -> bool:
        """True when the proxy serves with a complete configuration."""
        ...

    async def connections(self, node: str) -> Sequence[Connection]:
        """Connections ended or refused since the last call, oldest first. None is lost or told twice in one life."""
        ...


@dataclass(frozen=True, slots=True)
class Event:
    """Something a person or a log would like to know: a stable name, and fields without secrets."""

    name: str
    at: datetime
    fields: Mapping[str, Json] = field(default_factory=dict[str, Json])


Reporter = Callable[[Event], None]
"""Where events go: the console, the log file, a test's list."""

Sleep = Callable[[float], Coroutine[Any, Any, None]]
"""``asyncio.sleep``, as an argument: a test's sleep moves its clock instead."""
