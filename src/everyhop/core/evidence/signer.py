"""Who may sign evidence: a P-256 key whose certificate leads to a root of the trust domain.

Rules: a signature counts only if its certificate was alive at the moment that the signed text names, may sign
documents (RFC 9336, 3.1) and nothing but that, carries the identity ``everyhop-evidence`` of exactly the trust domain
and environment in question, and leads to its root: leaf, intermediate, root, and no other shape. Signatures are
verified by ``cryptography``; its path builder is not used because it takes no Ed25519 or ML-DSA authorities, and here
no path has to be found (RFC 5280, 6.1 on a chain of fixed shape).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from everyhop.core.certificate import EKU_OIDS, Facts, public_key_bytes
from everyhop.core.evidence.note import key_id_of

SERVICE = "everyhop-evidence"
"""The last part of the identity that signs evidence; no service can be called so."""
_SHAPE = "leaf, intermediate, root"
_DOCUMENTS = [EKU_OIDS["document_signing"]]
_ECDSA = ec.ECDSA(hashes.SHA256())


@dataclass(frozen=True, slots=True)
class EvidenceSigner:
    """A certificate that signs evidence, with those above it, the root last."""

    chain: tuple[x509.Certificate, ...]
    key_id: bytes = field(init=False)
    """As it stands in the notes that this key signed."""

    def __post_init__(self) -> None:
        """Take the key id; raises ``ValueError`` for a chain of another shape."""
        if len(self.chain) != 3:
            raise ValueError(f"expected a chain of three ({_SHAPE}), got {len(self.chain)}")
        object.__setattr__(self, "key_id", key_id_of(public_key_bytes(self.chain[0])))

    @classmethod
    def read(cls, pem: str) -> Self:
        """Read a chain (PEM, leaf first, root last); raises ``ValueError`` if it cannot be read."""
        return cls(tuple(x509.load_pem_x509_certificates(pem.encode())))

    @property
    def root(self) -> x509.Certificate:
        """The last certificate of the chain."""
        return self.chain[-1]

    def lives(self, at: datetime) -> bool:
        """True if the certificate was alive at this moment."""
        return _lives(self.chain[0], at)

    def fault(self, trust_domain: str, environment: str, at: datetime) -> str:
        """Why this chain could not sign evidence of a trust domain at a moment, or an empty string."""
        return self.unfit(trust_domain, environment) or self.dead(at)

    def unfit(self, trust_domain: str, environment: str) -> str:
        """Why this chain could never sign evidence of a trust domain, or an empty string."""
        try:
            return _leaf_fault(self.chain[0], trust_domain, environment) or _path_fault(self.chain)
        except (ValueError, TypeError, x509.DuplicateExtension) as error:
            return f"its certificate chain cannot be read: {error}"

    def dead(self, at: datetime) -> str:
        """Which certificate of the chain was not alive at a moment, or an empty string."""
        for name, one in zip(_SHAPE.split(", "), self.chain, strict=True):
            if not _lives(one, at):
                begin, end = one.not_valid_before_utc, one.not_valid_after_utc
                return f"its {name} certificate lived from {begin} to {end}, and not at {at}"
        return ""

    def signed(self, message: bytes, signature: bytes) -> bool:
        """True if the signature over exactly these bytes is this key's."""
        try:
            key = self.chain[0].public_key()
            if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
                return False
            key.verify(signature, message, _ECDSA)
        except (InvalidSignature, ValueError):
            return False
        return True

    def pem(self) -> str:
        """The chain as PEM, leaf first, root last."""
        return "".join(one.public_bytes(Encoding.PEM).decode() for one in self.chain)


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate, hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def _leaf_fault(leaf: x509.Certificate, trust_domain: str, environment: str) -> str:
    facts = Facts.of(leaf)
    expected = f"uri:spiffe://{trust_domain}/{environment}/{SERVICE}"
    if facts.names != (expected,):
        return f"expected a certificate for {expected}, got one for {', '.join(facts.names) or 'nobody'}"
    purposes = facts.extension(x509.ExtendedKeyUsage)
    if purposes is None or list(purposes.value) != _DOCUMENTS:
        return "its certificate is not one for signing documents alone (RFC 9336)"
    usage = facts.extension(x509.KeyUsage)
    if usage is None or not usage.value.digital_signature:
        return "its certificate does not allow signatures"
    limits = facts.extension(x509.BasicConstraints)
    return "its certificate is an authority's" if limits is not None and limits.value.ca else ""


def _path_fault(chain: tuple[x509.Certificate, ...]) -> str:
    for depth, (child, issuer) in enumerate(pairwise((*chain, chain[-1]))):
        facts = Facts.of(issuer)
        limits, usage = facts.extension(x509.BasicConstraints), facts.extension(x509.KeyUsage)
        below = min(depth, 1)  # how many authorities stand between this issuer and the leaf
        if limits is None or not limits.value.ca or _too_deep(limits.value, below):
            return "a certificate above it is not an authority's, or may have no other one below it"
        if usage is None or not usage.value.key_cert_sign:
            return "a certificate above it may not sign certificates"
        try:
            child.verify_directly_issued_by(issuer)
        except (InvalidSignature, ValueError, TypeError):
            return "its certificate chain is broken: a signature in it does not verify"
        if facts.scope is not None and not _inside(chain[0], facts.scope.uri_hosts):
            return "its identity lies outside of what the authorities above it may vouch for"
    return ""


def _too_deep(limits: x509.BasicConstraints, below: int) -> bool:
    return limits.path_length is not None and limits.path_length < below


def _inside(leaf: x509.Certificate, hosts: tuple[str, ...]) -> bool:
    return all(uri.partition("://")[2].partition("/")[0] in hosts for uri in Facts.of(leaf).uris)


def _lives(certificate: x509.Certificate, at: datetime) -> bool:
    return certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc
