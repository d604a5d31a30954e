"""A served chain, read once: every rule looks at the same reading.

Rules: what comes from a server is hostile until read. A certificate that cannot be read is a fault with a sentence,
never an exception; the number and the size of what is read are bounded. Reading is not judging: a name, a date or a
key is taken as it stands. Source: RFC 5280, 4.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, mldsa, rsa
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import AuthorityInformationAccessOID

from everyhop.core.endpoint.signatures import UNREADABLE

if TYPE_CHECKING:
    from everyhop.core.endpoint.facts import CertificateFacts

MOST_CERTIFICATES = 16
"""Of a chain, more are not read: path building may be quadratic, and no real chain has half of these."""

LARGEST_CERTIFICATE = 64 << 10
"""Bytes. A post-quantum certificate has some ten thousand."""

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key as guidelines speak of it."""

    kind: str
    """``rsa``, ``ecdsa``, ``ed25519``, ``ed448``, ``dsa``, ``ml-dsa`` or ``other``."""
    bits: int = 0
    """Size of the modulus or of the curve; 0 where the kind says it all."""
    name: str = ""
    """``rsa-2048``, ``ecdsa-p256``, ``ed25519``, ``ml-dsa-65``..."""


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """One certificate of a chain, as it was read."""

    der: bytes = field(repr=False)
    x509: x509.Certificate = field(repr=False)
    subject: str
    issuer: str
    """RFC 4514 text, for people; comparisons use the names themselves."""
    serial: int
    not_before: datetime
    not_after: datetime
    key: PublicKey
    signature: str
    """The digest of its signature: ``sha256``, ``sha1``, ``md5``; empty where the scheme has its own (Ed25519)."""
    dns_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    has_alternative_names: bool = False
    authority: bool = False
    """Basic constraints say that it may sign certificates."""
    responders: tuple[str, ...] = ()
    """OCSP responders by URL."""
    distribution_points: tuple[str, ...] = ()
    """CRLs by URL."""
    must_staple: bool = False
    """TLS feature status_request (RFC 7633)."""
    timestamps: int = 0
    """How many SCTs are embedded."""

    @property
    def lifetime(self) -> timedelta:
        """From its first to its last second, which counts too (RFC 5280, 4.1.2.5)."""
        return self.not_after - self.not_before + timedelta(seconds=1)

    @property
    def title(self) -> str:
        """How people call it: the subject, else its first name, else its serial number."""
        return self.subject or next(iter((*self.dns_names, *self.uris, *self.addresses)), f"serial {self.serial:x}")

    @property
    def self_issued(self) -> bool:
        """Subject and issuer are the same name (RFC 5280, 6.1)."""
        return self.x509.subject == self.x509.issuer

    @classmethod
    def read(cls, der: bytes) -> Certificate:
        """Read DER. Raises ``ValueError`` with a sentence if it is not a certificate that can be read whole."""
        if len(der) > LARGEST_CERTIFICATE:
            raise ValueError(f"expected a certificate of at most {LARGEST_CERTIFICATE} bytes, got {len(der)}")
        try:
            with tolerating("error"):
                certificate = x509.load_der_x509_certificate(der)
            with tolerating("ignore"):
                return _read(der, certificate)
        except UNREADABLE as error:
            raise ValueError(f"expected a certificate, got {len(der)} bytes that are none: {_reason(error)}") from None


@dataclass(frozen=True, slots=True)
class Served:
    """What a server sent in one handshake."""

    chain: tuple[Certificate, ...] = ()
    """In the order it was sent, as far as it could be read."""
    fault: str = ""
    """Why not all of it could be read."""
    more_leaves: tuple[Certificate, ...] = ()
    staple: bytes | None = None

    @property
    def leaf(self) -> Certificate | None:
        """The server's own certificate: the first (RFC 8446, 4.4.2)."""
        return self.chain[0] if self.chain else None

    @classmethod
    def of(cls, facts: CertificateFacts) -> Served:
        """Read the facts of a handshake; never raises."""
        chain, fault = _read_all(facts.chain)
        more, _ = _read_all(facts.more_leaves)
        return cls(chain, fault, more, facts.staple)


@contextmanager
def tolerating(action: Literal["error", "ignore"]) -> Generator[None]:
    """What the library only warns of, since it will refuse it one day (a serial number of zero, an old curve), becomes
    an error or is taken as it is. Strangers' certificates write no warnings into anybody's terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter(action, CryptographyDeprecationWarning)
        yield


def _read_all(chain: Sequence[bytes]) -> tuple[tuple[Certificate, ...], str]:
    """The certificates before the first one that cannot be read, and what is wrong with that one."""
    found: list[Certificate] = []
    for number, der in enumerate(chain, 1):
        if number > MOST_CERTIFICATES:
            return tuple(found), f"expected at most {MOST_CERTIFICATES} certificates, got {len(chain)}"
        try:
            found.append(Certificate.read(der))
        except ValueError as error:
            return tuple(found), f"certificate {number}: {error}"
    return tuple(found), ""


def _read(der: bytes, certificate: x509.Certificate) -> Certificate:
    extensions = certificate.extensions
    names = _extension(extensions, x509.SubjectAlternativeName)
    constraints = _extension(extensions, x509.BasicConstraints)
    features = _extension(extensions, x509.TLSFeature)
    timestamps = _extension(extensions, x509.PrecertificateSignedCertificateTimestamps)
    digest = _digest(certificate)
    return Certificate(
        der=der,
        x509=certificate,
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        serial=certificate.serial_number,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        key=_key(certificate),
        signature=digest,
        dns_names=tuple(names.get_values_for_type(x509.DNSName)) if names else (),
        addresses=tuple(str(each) for each in names.get_values_for_type(x509.IPAddress)) if names else (),
        uris=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)) if names else (),
        has_alternative_names=names is not None,
        authority=constraints is not None and constraints.ca,
        responders=tuple(_responders(extensions)),
        distribution_points=tuple(_distribution_points(extensions)),
        must_staple=features is not None and x509.TLSFeatureType.status_request in list(features),
        timestamps=len(list(timestamps)) if timestamps else 0,
    )


def _extension(extensions: x509.Extensions, kind: type[_Extension]) -> _Extension | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _responders(extensions: x509.Extensions) -> Iterable[str]:
    for access in _extension(extensions, x509.AuthorityInformationAccess) or ():
        location = access.access_location
        asks = access.access_method == AuthorityInformationAccessOID.OCSP
        if asks and isinstance(location, x509.UniformResourceIdentifier):
            yield location.value


def _distribution_points(extensions: x509.Extensions) -> Iterable[str]:
    for point in _extension(extensions, x509.CRLDistributionPoints) or ():
        for name in point.full_name or ():
            if isinstance(name, x509.UniformResourceIdentifier):
                yield name.value


def _digest(certificate: x509.Certificate) -> str:
    """The digest's name; of an algorithm that is not known here, its OID."""
    try:
        digest = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return certificate.signature_algorithm_oid.dotted_string
    return digest.name if digest else ""


def _key(certificate: x509.Certificate) -> PublicKey:
    try:
        key = certificate.public_key()
    except UnsupportedAlgorithm:
        return PublicKey("other", name=certificate.public_key_algorithm_oid.dotted_string)
    if isinstance(key, rsa.RSAPublicKey):
        return PublicKey("rsa", key.key_size, f"rsa-{key.key_size}")
    if isinstance(key, ec.EllipticCurvePublicKey):
        curve = key.curve.name
        nist = curve.startswith("secp") and curve.endswith("r1")
        return PublicKey("ecdsa", key.key_size, f"ecdsa-p{key.key_size}" if nist else f"ecdsa-{curve}")
    if isinstance(key, dsa.DSAPublicKey):
        return PublicKey("dsa", key.key_size, f"dsa-{key.key_size}")
    for kind, name in _FIXED:
        if isinstance(key, kind):
            return PublicKey("ml-dsa" if name.startswith("ml-dsa") else name, name=name)
    return PublicKey("other", name=certificate.public_key_algorithm_oid.dotted_string)


_FIXED: tuple[tuple[type, str], ...] = (
    (ed25519.Ed25519PublicKey, "ed25519"),
    (ed448.Ed448PublicKey, "ed448"),
    (mldsa.MLDSA44PublicKey, "ml-dsa-44"),
    (mldsa.MLDSA65PublicKey, "ml-dsa-65"),
    (mldsa.MLDSA87PublicKey, "ml-dsa-87"),
)


def _reason(error: Exception) -> str:
    """The parser's words, shortened and in one line."""
    return " ".join(str(error).split())[:120] or type(error).__name__
