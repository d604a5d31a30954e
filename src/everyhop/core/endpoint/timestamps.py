"""Signed certificate timestamps: did a public log promise to show this certificate? (RFC 6962, 3.2.)

Rules: what a log signed is put together as the RFC writes it down, from the certificate without its timestamps and
the hash of its issuer's key; the library verifies the signature. A log that is not in the list can neither be
believed nor refuted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import certificate_transparency as ct

from everyhop.core.endpoint.signatures import UNREADABLE, signed_by
from everyhop.core.verdict import Verdict

_PRECERTIFICATE_ENTRY = 1
_SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Log:
    """A Certificate Transparency log: its name and its public key."""

    name: str
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey = field(repr=False)

    @property
    def log_id(self) -> bytes:
        """The hash of its key (RFC 6962, 3.2)."""
        return _sha256(self.key.public_bytes(serialization.Encoding.DER, _SPKI))


@dataclass(frozen=True, slots=True)
class Timestamp:
    """One embedded timestamp and whether its log really gave it."""

    log: str
    """The log's name, or the beginning of its id."""
    at: datetime
    verdict: Verdict


def check(certificate: x509.Certificate, issuer: x509.Certificate, logs: Sequence[Log]) -> tuple[Timestamp, ...]:
    """Check every embedded timestamp. Raises ``ValueError`` if the certificate cannot be taken apart."""
    known = {log.log_id: log for log in logs}
    found = certificate.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value
    try:
        precertificate = certificate.tbs_precertificate_bytes
        key_hash = _sha256(issuer.public_key().public_bytes(serialization.Encoding.DER, _SPKI))
    except UNREADABLE as error:
        raise ValueError(f"expected a certificate that can be taken apart, got {error}") from None
    return tuple(_check(each, precertificate, key_hash, known.get(each.log_id)) for each in found)


def _check(
    timestamp: ct.SignedCertificateTimestamp, precertificate: bytes, key_hash: bytes, log: Log | None
) -> Timestamp:
    if log is None:
        return Timestamp(timestamp.log_id.hex()[:16], _utc(timestamp), Verdict.UNKNOWN)
    good = signed_by(
        log.key,
        timestamp.signature,
        _signed(timestamp, precertificate, key_hash),
        timestamp.signature_hash_algorithm,
    )
    return Timestamp(log.name, _utc(timestamp), Verdict.PASS if good else Verdict.FAIL)


def _signed(timestamp: ct.SignedCertificateTimestamp, precertificate: bytes, key_hash: bytes) -> bytes:
    """The bytes under the signature: version 1, certificate_timestamp, and the precertificate's entry."""
    milliseconds = round((_utc(timestamp) - _EPOCH).total_seconds() * 1000)
    return b"".join(
        (
            bytes((0, 0)),
            milliseconds.to_bytes(8, "big"),
            _PRECERTIFICATE_ENTRY.to_bytes(2, "big"),
            key_hash,
            len(precertificate).to_bytes(3, "big"),
            precertificate,
            len(timestamp.extension_bytes).to_bytes(2, "big"),
            timestamp.extension_bytes,
        )
    )


def _utc(timestamp: ct.SignedCertificateTimestamp) -> datetime:
    """The library's time is UTC without saying so."""
    return timestamp.timestamp.replace(tzinfo=UTC)


def _sha256(data: bytes) -> bytes:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(data)
    return digest.finalize()
