"""A stranger's credential: a certificate that nobody has a reason to trust, to see whether it is refused.

Rules: authority and key are made for one scan, live for an hour, and never leave memory. The certificate is right in
everything but its issuer, so that an acceptance can mean one thing only: issuers are not checked.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from everyhop.ports import ClientCredential, Random

_LIFE = timedelta(hours=1)
_EARLIER = timedelta(minutes=5)
"""Clocks differ."""


def stranger(now: datetime, random: Random) -> ClientCredential:
    """A fresh credential for TLS clients (P-256), signed by an authority that is forgotten at once."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a stranger's authority")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a stranger")])
    certificate = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), random.serial(), now - _EARLIER, now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
        .sign(authority, hashes.SHA256())
    )
    return ClientCredential(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
