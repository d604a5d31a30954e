"""A certificate before its signature: the draft that is linted, authorised, journaled and only then signed.

Rules: the bytes that are linted are the bytes that are authorised, journaled and signed. A draft is built once, with
a throw-away key of the issuer's type; its to-be-signed bytes (RFC 5280, 4.1) never change afterwards. The types form
a chain (``Draft`` -> ``Linted`` -> ``Authorised``): each can only be made from the one before, so that another order
cannot be written down. A certificate request contributes names and a public key; the profile decides the rest.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Self, TypeVar, cast

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes, CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from everyhop.core.identity import SpiffeId
from everyhop.core.profile import KeyAlgorithm, Profile

_DER = serialization.Encoding.DER
_SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
_NAME_KINDS: Mapping[type, str] = {x509.UniformResourceIdentifier: "uri", x509.DNSName: "dns", x509.IPAddress: "ip"}
_CURVES = {"secp256r1": KeyAlgorithm.P256, "secp384r1": KeyAlgorithm.P384}
_RSA_SIZES = {2048: KeyAlgorithm.RSA2048, 3072: KeyAlgorithm.RSA3072, 4096: KeyAlgorithm.RSA4096}
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
_Value = TypeVar("_Value", bound=x509.ExtensionType)
EKU_OIDS = {
    "server_auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client_auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "document_signing": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36"),  # id-kp-documentSigning, RFC 9336
}


@dataclass(frozen=True, slots=True)
class NameScope:
    """What an authority may vouch for: URI hosts (trust domains) and DNS suffixes (RFC 5280, 4.2.1.10)."""

    uri_hosts: tuple[str, ...]
    dns_suffixes: tuple[str, ...]

    def covers_dns(self, name: str) -> bool:
        """True if ``name`` (a wildcard counts as its parent's child) is one of the suffixes or below one."""
        bare = name.removeprefix("*.")
        return any(bare == suffix or bare.endswith("." + suffix) for suffix in self.dns_suffixes)

    def covers(self, other: NameScope) -> bool:
        """True if everything in ``other`` is inside this scope."""
        return set(other.uri_hosts) <= set(self.uri_hosts) and all(map(self.covers_dns, other.dns_suffixes))

    def extension(self) -> x509.NameConstraints:
        """The scope as an extension. Addresses are excluded as a whole: everyhop names no hop by one."""
        permitted: list[x509.GeneralName] = [x509.UniformResourceIdentifier(host) for host in self.uri_hosts]
        permitted += [x509.DNSName(suffix) for suffix in self.dns_suffixes]
        every = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
        return x509.NameConstraints(permitted, excluded_subtrees=[x509.IPAddress(network) for network in every])


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """What somebody asks for. Nothing in it is trusted until the drafted bytes were authorised."""

    request_id: str
    profile: Profile
    public_key: bytes
    """SubjectPublicKeyInfo, DER."""
    lifetime: timedelta
    owner: str
    actor: str
    common_name: str = ""
    identity: SpiffeId | None = None
    dns_names: tuple[str, ...] = ()
    scope: NameScope | None = None
    """Only for authorities."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What stands in a certificate, read once: two dozen rules and the policy look at the same reading."""

    subject: x509.Name
    not_before: datetime
    not_after: datetime
    key_algorithm: KeyAlgorithm | None
    """None for a key that everyhop does not handle."""
    extensions: tuple[x509.Extension[x509.ExtensionType], ...]
    """All of them, in order."""
    names: tuple[str, ...]
    """Every subject alternative name as ``uri:``, ``dns:``, ``ip:`` or ``other:`` and its text, in order."""
    uris: tuple[str, ...]
    dns_names: tuple[str, ...]
    scope: NameScope | None
    """What an authority's name constraints permit, or None if it has none."""
    _by_kind: Mapping[type, x509.Extension[x509.ExtensionType]]

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Self:
        """Read a certificate; raises ``ValueError`` if it cannot be parsed."""
        extensions = tuple(certificate.extensions)
        by_kind: dict[type, x509.Extension[x509.ExtensionType]] = {type(one.value): one for one in extensions}
        alternative = by_kind.get(x509.SubjectAlternativeName)
        names = tuple(cast("x509.SubjectAlternativeName", alternative.value)) if alternative else ()
        constraints = by_kind.get(x509.NameConstraints)
        return cls(
            certificate.subject,
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
            algorithm_of(certificate.public_key()),
            extensions,
            tuple(map(_name_text, names)),
            _values(names, x509.UniformResourceIdentifier),
            _values(names, x509.DNSName),
            _permitted(cast("x509.NameConstraints", constraints.value)) if constraints else None,
            by_kind,
        )

    def extension(self, kind: type[_Value]) -> x509.Extension[_Value] | None:
        """The extension of a kind, or None."""
        return cast("x509.Extension[_Value] | None", self._by_kind.get(kind))

    @property
    def key_identifier(self) -> bytes | None:
        """The subject key identifier, or None."""
        found = self.extension(x509.SubjectKeyIdentifier)
        return found.value.digest if found else None


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs: a certificate and the id of its key. ``certificate`` is None while a root signs itself."""

    authority: str
    key_id: str
    algorithm: KeyAlgorithm
    certificate: x509.Certificate | None = None
    facts: Facts | None = field(init=False, repr=False, compare=False)
    """What stands in ``certificate``."""

    def __post_init__(self) -> None:
        """Read the certificate, once for all that is signed under it."""
        object.__setattr__(self, "facts", Facts.of(self.certificate) if self.certificate else None)

    @property
    def not_after(self) -> datetime | None:
        """The end of the issuer's own life."""
        return self.facts.not_after if self.facts else None


@dataclass(frozen=True, slots=True)
class Draft:
    """The exact certificate to be, signed by a throw-away key so that every parser and linter can read it."""

    request: CertificateRequest
    issuer: Issuer
    copy: x509.Certificate
    facts: Facts = field(init=False, repr=False, compare=False)
    """What stands in ``copy``."""

    def __post_init__(self) -> None:
        """Read the copy: what rules and policy judge is what a parser finds in the bytes."""
        object.__setattr__(self, "facts", Facts.of(self.copy))

    @property
    def tbs(self) -> bytes:
        """The exact to-be-signed bytes."""
        return self.copy.tbs_certificate_bytes


_LINT = object()
_POLICY = object()


@dataclass(frozen=True, slots=True)
class Linted:
    """A draft that no rule refuses. Made by :func:`everyhop.core.rules.lint` only."""

    draft: Draft
    minted: object

    def __post_init__(self) -> None:
        """Refuse to exist unless the linter made it."""
        if self.minted is not _LINT:
            raise TypeError("a Linted draft comes from lint() only")


@dataclass(frozen=True, slots=True)
class Authorised:
    """A linted draft that the policy allows. Made by :func:`everyhop.core.policy.authorise` only."""

    linted: Linted
    decision: str
    minted: object

    def __post_init__(self) -> None:
        """Refuse to exist unless the policy made it."""
        if self.minted is not _POLICY:
            raise TypeError("an Authorised draft comes from authorise() only")

    @property
    def draft(self) -> Draft:
        """The draft itself."""
        return self.linted.draft


def mint_linted(draft: Draft) -> Linted:
    """For the linter alone: the token that a draft passed."""
    return Linted(draft, _LINT)


def mint_authorised(linted: Linted, decision: str) -> Authorised:
    """For the policy alone: the token that a draft is allowed, and why."""
    return Authorised(linted, decision, _POLICY)


def algorithm_of(key: CertificatePublicKeyTypes | CertificateIssuerPrivateKeyTypes) -> KeyAlgorithm | None:
    """The key's type in our words, or None if everyhop does not handle it."""
    if isinstance(key, (ec.EllipticCurvePublicKey, ec.EllipticCurvePrivateKey)):
        return _CURVES.get(key.curve.name)
    if isinstance(key, (rsa.RSAPublicKey, rsa.RSAPrivateKey)):
        return _RSA_SIZES.get(key.key_size)
    kinds: tuple[tuple[type, type, KeyAlgorithm], ...] = (
        (ed25519.Ed25519PublicKey, ed25519.Ed25519PrivateKey, KeyAlgorithm.ED25519),
        (mldsa.MLDSA44PublicKey, mldsa.MLDSA44PrivateKey, KeyAlgorithm.MLDSA44),
        (mldsa.MLDSA65PublicKey, mldsa.MLDSA65PrivateKey, KeyAlgorithm.MLDSA65),
        (mldsa.MLDSA87PublicKey, mldsa.MLDSA87PrivateKey, KeyAlgorithm.MLDSA87),
    )
    return next((name for public, private, name in kinds if isinstance(key, public | private)), None)


def signature_hash(algorithm: KeyAlgorithm) -> hashes.SHA256 | hashes.SHA384 | None:
    """The digest that goes with a signing key: SHA-384 for P-384, none where the scheme has its own."""
    if algorithm is KeyAlgorithm.P384:
        return hashes.SHA384()
    if algorithm is KeyAlgorithm.ED25519 or algorithm.startswith("mldsa"):
        return None
    return hashes.SHA256()


def draft(
    request: CertificateRequest,
    issuer: Issuer,
    *,
    serial: int,
    now: datetime,
    backdate: timedelta,
    throw_away_key: CertificateIssuerPrivateKeyTypes,
) -> Draft:
    """Build the certificate that ``request`` asks ``issuer`` for.

    ``now`` is when its life begins; ``backdate`` moves notBefore into the past for peers whose clocks run late. A life
    that would end after the issuer's is cut to it. ``throw_away_key`` must be of the issuer's key type.
    """
    public_key = serialization.load_der_public_key(request.public_key)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, request.common_name)] if request.common_name else [])
    not_after = now + request.lifetime
    not_before = now - backdate
    if issuer.facts is not None:
        not_after = min(not_after, issuer.facts.not_after)
        not_before = max(not_before, issuer.facts.not_before)
    builder = x509.CertificateBuilder(
        issuer_name=issuer.facts.subject if issuer.facts else subject,
        subject_name=subject,
        public_key=public_key,  # pyright: ignore[reportArgumentType]  # the linter names keys that cannot be certified
        serial_number=serial,
        not_valid_before=not_before.replace(microsecond=0),
        not_valid_after=not_after.replace(microsecond=0),
        extensions=_extensions(request, issuer, public_key),  # pyright: ignore[reportArgumentType]
    )
    return Draft(request, issuer, builder.sign(throw_away_key, signature_hash(issuer.algorithm)))


def _extensions(
    request: CertificateRequest, issuer: Issuer, public_key: CertificatePublicKeyTypes
) -> list[x509.Extension[x509.ExtensionType]]:
    profile = request.profile
    key_id = x509.SubjectKeyIdentifier.from_public_key(public_key)
    issuer_key_id = issuer.facts.key_identifier if issuer.facts else key_id.digest
    if issuer_key_id is None:
        raise ValueError(f"{issuer.authority} has no subject key identifier")
    found = [
        _basic_constraints(profile.is_ca, profile.path_length),
        _key_usage(profile.key_usages),
        _extension(key_id, critical=False),
        _extension(x509.AuthorityKeyIdentifier(issuer_key_id, None, None), critical=False),
    ]
    if profile.extended_key_usages:
        found.append(_extended_key_usage(profile.extended_key_usages))
    names = _names(request)
    if names:
        # RFC 5280, 4.2.1.6: critical if and only if the subject is empty
        found.append(_extension(x509.SubjectAlternativeName(names), critical=not request.common_name))
    if request.scope is not None:
        found.append(_extension(request.scope.extension(), critical=True))
    return found


def _extension(value: x509.ExtensionType, *, critical: bool) -> x509.Extension[x509.ExtensionType]:
    return x509.Extension(value.oid, critical, value)


# What follows from a profile is made once.


@lru_cache(maxsize=16)
def _basic_constraints(is_ca: bool, path_length: int | None) -> x509.Extension[x509.ExtensionType]:
    return _extension(x509.BasicConstraints(is_ca, path_length), critical=True)


@lru_cache(maxsize=16)
def _key_usage(usages: tuple[str, ...]) -> x509.Extension[x509.ExtensionType]:
    return _extension(x509.KeyUsage(**{usage: usage in usages for usage in _USAGES}), critical=True)


@lru_cache(maxsize=16)
def _extended_key_usage(usages: tuple[str, ...]) -> x509.Extension[x509.ExtensionType]:
    return _extension(x509.ExtendedKeyUsage([EKU_OIDS[usage] for usage in usages]), critical=False)


def _names(request: CertificateRequest) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    if request.identity is not None:
        names.append(x509.UniformResourceIdentifier(str(request.identity)))
    names += [x509.DNSName(name) for name in request.dns_names]
    return names


@asn1.sequence
class _SignedCertificate:
    """Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue } (RFC 5280, 4.1)."""

    tbs: asn1.TLV
    algorithm: asn1.TLV
    signature: asn1.BitString


def signature_algorithm(certificate: x509.Certificate) -> bytes:
    """The certificate's AlgorithmIdentifier (DER), to be journaled beside the to-be-signed bytes."""
    return asn1.encode_der(asn1.decode_der(_SignedCertificate, certificate.public_bytes(_DER)).algorithm)


def assemble(tbs: bytes, algorithm: bytes, signature: bytes) -> bytes:
    """Put a certificate together from the journaled bytes and a signature over exactly them; returns DER."""
    return asn1.encode_der(
        _SignedCertificate(
            tbs=asn1.decode_der(asn1.TLV, tbs),
            algorithm=asn1.decode_der(asn1.TLV, algorithm),
            signature=asn1.BitString(signature, 0),
        )
    )


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Every subject alternative name as ``uri:``, ``dns:`` or ``ip:`` and its text, in order."""
    return Facts.of(certificate).names


def _name_text(name: x509.GeneralName) -> str:
    kind = _NAME_KINDS.get(type(name))
    return f"{kind}:{name.value}" if kind else f"other:{type(name).__name__}"


def _values(names: Iterable[x509.GeneralName], kind: type[x509.GeneralName]) -> tuple[str, ...]:
    return tuple(str(one.value) for one in names if type(one) is kind)


def _permitted(constraints: x509.NameConstraints) -> NameScope:
    permitted = constraints.permitted_subtrees or []
    return NameScope(_values(permitted, x509.UniformResourceIdentifier), _values(permitted, x509.DNSName))


def scope_of(certificate: x509.Certificate) -> NameScope | None:
    """What an authority's name constraints permit, or None if it has none."""
    return Facts.of(certificate).scope


def public_key_bytes(certificate: x509.Certificate) -> bytes:
    """The certificate's SubjectPublicKeyInfo (DER)."""
    return certificate.public_key().public_bytes(_DER, _SPKI)
