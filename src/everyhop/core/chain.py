"""Authorities, who signs now, and whom everybody trusts.

Rules: one small record says who signs and what is in the bundle, and changes by compare-and-swap, so that the switch
to a new authority is one durable write. A root leaves the bundle only when nothing under it is served any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from everyhop.core.certificate import Issuer
from everyhop.core.profile import KeyAlgorithm


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority of this trust domain. The certificate is PEM; the key stays with the keys driver."""

    name: str
    """``root-1``, ``intermediate-2``..."""
    kind: str
    key_id: str
    algorithm: KeyAlgorithm
    certificate: str
    parent: str
    """The authority that signed it; a root's own name."""
    issued_at: datetime
    """Later than ``not_before`` by the backdate."""
    not_before: datetime
    not_after: datetime

    @property
    def x509(self) -> x509.Certificate:
        """The certificate, parsed."""
        return _parsed(self.certificate)

    def issuer(self) -> Issuer:
        """The authority as a signer of drafts."""
        return Issuer(self.name, self.key_id, self.algorithm, self.x509)


@dataclass(frozen=True, slots=True)
class Trust:
    """Who signs leaves now, and which roots everybody trusts now, newest first."""

    signer: str
    bundle: tuple[str, ...]
    retired: tuple[str, ...] = ()
    """Authorities that are out of use; their certificates stay known for the record."""


@lru_cache(maxsize=64)
def _parsed(certificate: str) -> x509.Certificate:
    """A certificate never changes, and there are few authorities: they are asked for at every tick."""
    return x509.load_pem_x509_certificate(certificate.encode())


def pem(der: bytes) -> str:
    """A DER certificate as PEM text."""
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()


def serial_text(serial: int) -> str:
    """A serial number as everyhop writes it: lower-case hexadecimal."""
    return f"{serial:x}"
