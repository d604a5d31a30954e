"""Is this signature by this key? One door to every scheme that certificates, CRLs, OCSP and CT use.

Rules: nothing is computed here; the library verifies. Old digests are verified too: that a certificate is signed with
SHA-1 is one finding, and that its issuer did not sign it is another.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

UNREADABLE = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
    Warning,
)
"""Everything that the library raises for bytes that are not what they should be; see also ``served.tolerating``."""

_WHOLE = (
    ed25519.Ed25519PublicKey,
    ed448.Ed448PublicKey,
    mldsa.MLDSA44PublicKey,
    mldsa.MLDSA65PublicKey,
    mldsa.MLDSA87PublicKey,
)
"""Schemes with a digest of their own."""


def signed_by(
    key: PublicKeyTypes,
    signature: bytes,
    data: bytes,
    digest: hashes.HashAlgorithm | None,
    parameters: padding.PSS | padding.PKCS1v15 | ec.ECDSA | None = None,
) -> bool:
    """True if ``key`` signed ``data``. ``parameters`` of an RSA signature default to PKCS #1 v1.5."""
    try:
        if isinstance(key, rsa.RSAPublicKey):
            filling = parameters if isinstance(parameters, padding.PSS) else padding.PKCS1v15()
            key.verify(signature, data, filling, digest or hashes.SHA256())
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(digest or hashes.SHA256()))
        elif isinstance(key, dsa.DSAPublicKey):
            key.verify(signature, data, digest or hashes.SHA256())
        elif isinstance(key, _WHOLE):
            key.verify(signature, data)
        else:
            return False
    except (InvalidSignature, *UNREADABLE):
        return False
    return True


def issued(child: x509.Certificate, parent: x509.Certificate) -> bool:
    """True if ``parent`` bears the name of ``child``'s issuer and its key signed ``child``."""
    if child.issuer != parent.subject:
        return False
    try:
        return signed_by(
            parent.public_key(),
            child.signature,
            child.tbs_certificate_bytes,
            child.signature_hash_algorithm,
            child.signature_algorithm_parameters,
        )
    except UNREADABLE:
        return False
