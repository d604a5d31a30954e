"""Looks from outside: handshakes, endpoints, captures, visits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

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

    async def session(
        self, target: Target, *, credential: ClientCredential | None = None, timeout: float = 5.0
    ) -> SessionFacts:
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
