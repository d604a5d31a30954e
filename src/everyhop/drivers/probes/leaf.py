"""The curve of a served certificate's key, which decides below TLS 1.3 to whom the certificate can be served."""

from __future__ import annotations

from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from everyhop.core.tls.groups import group_code


@lru_cache(maxsize=4096)
def leaf_group(der: bytes) -> int | None:
    """The group of a certificate's elliptic curve; None if it has another key or cannot be read."""
    try:
        key = x509.load_der_x509_certificate(der).public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
    return group_code(key.curve.name) if isinstance(key, ec.EllipticCurvePublicKey) else None
