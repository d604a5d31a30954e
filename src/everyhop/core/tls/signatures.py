"""Signature schemes (IANA TLS SignatureScheme; in TLS 1.2 the same two bytes are a hash and a signature algorithm).

Rules: names as registered; the pairs that only TLS 1.2 has (RFC 5246, 7.4.1.4.1) are named in the same manner.
"""

from __future__ import annotations

NAMES = {
    0x0403: "ecdsa_secp256r1_sha256",
    0x0804: "rsa_pss_rsae_sha256",
    0x0401: "rsa_pkcs1_sha256",
    0x0503: "ecdsa_secp384r1_sha384",
    0x0805: "rsa_pss_rsae_sha384",
    0x0501: "rsa_pkcs1_sha384",
    0x0603: "ecdsa_secp521r1_sha512",
    0x0806: "rsa_pss_rsae_sha512",
    0x0601: "rsa_pkcs1_sha512",
    0x0807: "ed25519",
    0x0808: "ed448",
    0x0809: "rsa_pss_pss_sha256",
    0x080A: "rsa_pss_pss_sha384",
    0x080B: "rsa_pss_pss_sha512",
    0x0904: "mldsa44",
    0x0905: "mldsa65",
    0x0906: "mldsa87",
    0x081A: "ecdsa_brainpoolP256r1tls13_sha256",
    0x081B: "ecdsa_brainpoolP384r1tls13_sha384",
    0x081C: "ecdsa_brainpoolP512r1tls13_sha512",
    0x0708: "sm2sig_sm3",
    0x0709: "gostr34102012_256a",
    0x070A: "gostr34102012_256b",
    0x070B: "gostr34102012_256c",
    0x070C: "gostr34102012_256d",
    0x070D: "gostr34102012_512a",
    0x070E: "gostr34102012_512b",
    0x070F: "gostr34102012_512c",
    0x0840: "gostr34102012_256",
    0x0841: "gostr34102012_512",
    0x0402: "dsa_sha256",
    0x0502: "dsa_sha384",
    0x0602: "dsa_sha512",
    0x0303: "ecdsa_sha224",
    0x0301: "rsa_pkcs1_sha224",
    0x0302: "dsa_sha224",
    0x0203: "ecdsa_sha1",
    0x0201: "rsa_pkcs1_sha1",
    0x0202: "dsa_sha1",
    0x0101: "rsa_pkcs1_md5",
}
"""Schemes a server may sign its key exchange with, best known first: in this order they are offered."""

SIGNATURES = tuple(NAMES)

_WEAK_HASHES = frozenset((0x01, 0x02))


def signature_name(code: int) -> str:
    """``rsa_pss_rsae_sha256`` for 0x0804; an unknown scheme as its number."""
    return NAMES.get(code, f"0x{code:04X}")


def is_weak_signature(code: int) -> bool:
    """True for MD5 and SHA-1, which RFC 9155 forbids in the handshakes of TLS 1.2, and RFC 8446 in those of 1.3."""
    return code >> 8 in _WEAK_HASHES
