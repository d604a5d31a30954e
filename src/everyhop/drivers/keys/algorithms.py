"""The key algorithms: how each key is made, and how it signs certificates.

Rules: nothing cryptographic is written here, ``cryptography`` does all of it. ECDSA is deterministic (RFC 6979), so
that a repeated signature over the same bytes is the same signature; hashes follow the curve's strength. RSA is PKCS#1
v1.5 with SHA-256 (RFC 4055), Ed25519 is RFC 8410, ML-DSA is FIPS 204 as RFC 9881 puts it into certificates.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from everyhop.core.profile import KeyAlgorithm

PrivateKey = (
    ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | rsa.RSAPrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
)
Signer = Callable[[bytes], bytes]
"""Message in, signature out."""

_MAKERS: dict[KeyAlgorithm, Callable[[], PrivateKey]] = {
    KeyAlgorithm.P256: lambda: ec.generate_private_key(ec.SECP256R1()),
    KeyAlgorithm.P384: lambda: ec.generate_private_key(ec.SECP384R1()),
    KeyAlgorithm.ED25519: ed25519.Ed25519PrivateKey.generate,
    KeyAlgorithm.RSA2048: lambda: rsa.generate_private_key(65537, 2048),
    KeyAlgorithm.RSA3072: lambda: rsa.generate_private_key(65537, 3072),
    KeyAlgorithm.RSA4096: lambda: rsa.generate_private_key(65537, 4096),
    KeyAlgorithm.MLDSA44: mldsa.MLDSA44PrivateKey.generate,
    KeyAlgorithm.MLDSA65: mldsa.MLDSA65PrivateKey.generate,
    KeyAlgorithm.MLDSA87: mldsa.MLDSA87PrivateKey.generate,
}
_ECDSA_SHA256 = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
_ECDSA_SHA384 = ec.ECDSA(hashes.SHA384(), deterministic_signing=True)
_PKCS1 = padding.PKCS1v15()
_SHA256 = hashes.SHA256()


def make(algorithm: KeyAlgorithm) -> PrivateKey:
    """A new private key. RSA takes up to seconds: call it in a thread."""
    return _MAKERS[algorithm]()


def public_bytes(key: PrivateKey) -> bytes:
    """The key's SubjectPublicKeyInfo, DER."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def signer(key: PrivateKey) -> Signer:
    """The key's X.509 signature as a function."""
    match key:
        case ec.EllipticCurvePrivateKey():
            ecdsa = _ECDSA_SHA384 if key.curve.key_size > 256 else _ECDSA_SHA256
            return lambda message: key.sign(message, ecdsa)
        case rsa.RSAPrivateKey():
            return lambda message: key.sign(message, _PKCS1, _SHA256)
        case _:
            return key.sign
