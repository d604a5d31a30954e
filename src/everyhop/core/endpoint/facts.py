"""What probes report of an endpoint. Facts only: what was asked, what came back, when.

Rules: nothing here is a judgement. ``None`` means *not found out*, never *no*. A refusal is a fact with the server's
own words as evidence (an alert, an end, a status), because "refused" must be provable. Sizes are bounded by the probes.
Code points are integers as on the wire; ``core.tls`` knows their names.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from everyhop.core.endpoint.target import Target, Wire


class Reply(StrEnum):
    """How an endpoint reacted to one ClientHello."""

    ACCEPTED = "accepted"
    """A ServerHello or HelloRetryRequest that chooses something we offered."""
    REFUSED = "refused"
    """A fatal alert, or an orderly end right after our hello."""
    NOT_TLS = "not tls"
    """Bytes that are no TLS record."""
    RESET = "reset"
    SILENT = "silent"
    """Nothing within the time limit."""
    UNREACHABLE = "unreachable"
    """No connection."""
    GARBLED = "garbled"
    """Began like TLS and broke its rules, or sent more than any handshake has."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one ClientHello, and what it proves."""

    reply: Reply
    version: int | None = None
    """The chosen protocol version (0x0304 is TLS 1.3; supported_versions counts, RFC 8446, 4.2.1)."""
    suite: int | None = None
    group: int | None = None
    alert: int | None = None
    retry: bool = False
    """It was a HelloRetryRequest (RFC 8446, 4.1.4): suite and group are chosen, no key was exchanged."""
    alpn: str = ""
    certificate_requested: bool | None = None
    """TLS 1.2 and older say it in the clear (CertificateRequest); None where it cannot be seen."""
    chain: tuple[bytes, ...] = ()
    """Certificates in the clear (TLS 1.2 and older), DER, leaf first."""
    extended_master_secret: bool | None = None
    secure_renegotiation: bool | None = None
    compression: int | None = None
    key_bits: int | None = None
    """The size of a finite-field Diffie-Hellman prime."""
    signature: int | None = None
    """The signature scheme of ServerKeyExchange (TLS 1.2)."""
    evidence: str = ""
    """One line for people: ``chose TLSv1.0 TLS_RSA_WITH_AES_128_CBC_SHA``, ``alert protocol version``."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question of verify mode: a stable name, and what came back. For questions about what is forbidden, a
    refusal is the good answer and its proof."""

    question: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What an endpoint accepts in one protocol version, by exclusion."""

    version: int
    suites: tuple[int, ...]
    """In the order in which the server chose them."""
    groups: tuple[int, ...]
    refusal: Answer | None
    """The answer that refused everything else; None where the list could not be finished."""
    server_order: bool | None = None
    """True: the server's order decides; False: the client's."""
    unsure_groups: bool = False
    """The certificate's own curve hides further groups (BoringSSL refuses when it is not offered)."""


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What a series of ClientHellos has shown. No key was exchanged and no handshake finished."""

    target: Target
    at: datetime
    mode: str
    """``verify`` or ``enumerate``."""
    asked: tuple[Asked, ...] = ()
    """Verify mode: every question with its answer."""
    versions: tuple[VersionFacts, ...] = ()
    """Enumerate mode: accepted versions, newest first."""
    refused_versions: tuple[tuple[int, Answer], ...] = ()
    """Enumerate mode: versions that were refused, each with its proof."""
    signatures: tuple[int, ...] = ()
    """Signature schemes that the server used (enumerate)."""
    alpn: tuple[str, ...] = ()
    certificate_requested: bool | None = None
    unknown_name: Answer | None = None
    """What a wrong server name gets (enumerate)."""
    no_name: Answer | None = None
    """What a hello without server name gets (enumerate)."""
    hellos: int = 0
    seconds: float = 0.0
    fault: str = ""
    """Why nothing, or not everything, could be found out; empty: complete."""


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What one real handshake has shown: the chain and what came with it."""

    target: Target
    at: datetime
    usable: bool
    refused: str = ""
    version: str = ""
    cipher: str = ""
    group: str = ""
    alpn: str = ""
    chain: tuple[bytes, ...] = ()
    """DER, in the order the server sent them."""
    staple: bytes | None = None
    """A stapled OCSP response (DER, RFC 6066, 8)."""
    timestamps: tuple[bytes, ...] = ()
    """SCTs from the TLS extension (RFC 6962, 3.3); embedded ones are in the leaf."""
    handshake_seconds: float = 0.0
    more_leaves: tuple[bytes, ...] = ()
    """Further leaves that the same port serves to other clients (RSA beside ECDSA)."""


@dataclass(frozen=True, slots=True)
class RevocationFacts:
    """What CRL and OCSP responders said of a served chain; only asked where the certificate names them."""

    target: Target
    at: datetime
    status: str = ""
    """``good``, ``revoked``, ``unknown`` or empty: nothing could be learned."""
    source: str = ""
    """``staple``, ``ocsp``, ``crl``; empty: the certificate names none (short-lived by design)."""
    this_update: datetime | None = None
    next_update: datetime | None = None
    fault: str = ""


class Entrance(StrEnum):
    """With what a probe tried to get in."""

    NO_CERTIFICATE = "no certificate"
    FOREIGN_AUTHORITY = "a foreign authority's certificate"
    EXPIRED = "an expired certificate"
    WRONG_IDENTITY = "a wrong identity"
    REVOKED = "a revoked certificate"
    GIVEN = "the given certificate"


@dataclass(frozen=True, slots=True)
class Entry:
    """One attempt to get in: connect, handshake, write, read. ``accepted`` is None where it could not be told."""

    entrance: Entrance
    accepted: bool | None
    stage: str = ""
    """``handshake``, ``after handshake``, ``http 403``... : where the refusal came."""
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class EnforcementFacts:
    """Whether an endpoint really insists on a client certificate that it knows."""

    target: Target
    at: datetime
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """Resumption, early data, renegotiation, compression and fallback. None: not found out."""

    target: Target
    at: datetime
    resumes_by_id: bool | None = None
    resumes_by_ticket: bool | None = None
    resumes_by_psk: bool | None = None
    ticket_lifetime_seconds: int | None = None
    accepts_early_data: bool | None = None
    secure_renegotiation: bool | None = None
    client_renegotiation: bool | None = None
    compression: bool | None = None
    fallback_scsv: bool | None = None
    """True: a hello with TLS_FALLBACK_SCSV at a lower version is refused (RFC 7507)."""
    evidence: tuple[tuple[str, str], ...] = ()
    """(field, the server's own answer)."""


class Encryption(StrEnum):
    """What a port does with somebody who comes without TLS."""

    TLS = "tls"
    """TLS from the first byte; plaintext gets nothing."""
    UPGRADE_REQUIRED = "upgrade required"
    """STARTTLS and its like, and plaintext is refused."""
    UPGRADE_OFFERED = "upgrade offered"
    """STARTTLS is there, and plaintext is served all the same: counts as plaintext."""
    PLAINTEXT = "plaintext"
    OWN = "own encryption"
    """Encrypted by the protocol itself (SSH)."""
    SILENT = "silent"
    """Connected, and nothing we know made it speak."""
    CLOSED = "closed"
    """Nobody listens."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PlainFacts:
    """What a port speaks and whether it insists on encryption."""

    target: Target
    at: datetime
    encryption: Encryption
    wire: Wire | None = None
    evidence: str = ""
    """The server's own words, shortened and printable."""
    connections: int = 0


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie as it was set (its value is not kept)."""

    name: str
    secure: bool
    http_only: bool
    same_site: str = ""


@dataclass(frozen=True, slots=True)
class HttpFacts:
    """What an HTTPS endpoint, and its plaintext sister, answered to one GET."""

    target: Target
    at: datetime
    status: int = 0
    strict_transport_security: str | None = None
    """The header's value (RFC 6797, 6.1); None: absent."""
    cookies: tuple[Cookie, ...] = ()
    insecure_references: tuple[str, ...] = ()
    """Active or passive content fetched by http:// from the page (mixed content)."""
    plain_port: int | None = None
    plain_status: int | None = None
    plain_location: str = ""
    """Where the plaintext port sends its visitors."""
    plain_leads_to_tls: bool | None = None
    """Its ``/`` and a path that nobody can know both lead to the same place over https (``core.endpoint.redirect``)."""
    plain_fault: str = ""
    """Why the plaintext port gave no answer."""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class EndpointFacts:
    """Everything that was found out about one endpoint in one look; None: not asked."""

    target: Target
    at: datetime
    plain: PlainFacts | None = None
    tls: TlsFacts | None = None
    certificate: CertificateFacts | None = None
    revocation: RevocationFacts | None = None
    enforcement: EnforcementFacts | None = None
    session: SessionFacts | None = None
    http: HttpFacts | None = None
    fault: str = ""
    """Why the look could not be finished, for a reason that is ours and not the endpoint's; empty: it was."""
