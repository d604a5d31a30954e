"""The shapes a certificate can have.

Rules: a profile is data; its digest is journaled with every certificate, so that an auditor can tell under which
rules it was made. Key usages follow RFC 5280 4.2.1.3 and 4.2.1.12; SVID rules follow SPIFFE X509-SVID sections 3-4.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from types import MappingProxyType


class KeyAlgorithm(StrEnum):
    """The key types everyhop makes and accepts."""

    P256 = "p256"
    P384 = "p384"
    ED25519 = "ed25519"
    RSA2048 = "rsa2048"
    RSA3072 = "rsa3072"
    RSA4096 = "rsa4096"
    MLDSA44 = "mldsa44"
    MLDSA65 = "mldsa65"
    MLDSA87 = "mldsa87"


@dataclass(frozen=True, slots=True)
class Profile:
    """The shape of a certificate: what it may be used for and what it must carry."""

    name: str
    purpose: str
    """One sentence for people."""
    is_ca: bool = False
    path_length: int | None = None
    key_usages: tuple[str, ...] = ("digital_signature",)
    extended_key_usages: tuple[str, ...] = ()
    needs_identity: bool = False
    """Carries exactly one SPIFFE URI."""
    allows_identity: bool = False
    allows_dns: bool = False
    needs_dns: bool = False
    signer: str = "intermediate"
    """``root``, ``intermediate`` or ``self``."""
    key_algorithms: tuple[KeyAlgorithm, ...] = ()
    digest: str = field(init=False, compare=False)
    """SHA-256 of the canonical JSON of all the above, as hexadecimal."""

    def __post_init__(self) -> None:
        """Take the digest once: it goes into every line of the journal."""
        shape = {part.name: getattr(self, part.name) for part in fields(self) if part.init}
        object.__setattr__(self, "digest", hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest())


_CA_KEYS = tuple(KeyAlgorithm)
_LEAF_KEYS = (KeyAlgorithm.P256, KeyAlgorithm.P384, KeyAlgorithm.RSA2048, KeyAlgorithm.RSA3072, KeyAlgorithm.RSA4096)
"""Envoy's BoringSSL serves these; x509.verification refuses Ed25519 leaves and no browser takes them."""

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            Profile(
                "root",
                "the root of a trust domain: signs intermediates and nothing else",
                is_ca=True,
                path_length=1,
                key_usages=("key_cert_sign", "crl_sign"),
                signer="self",
                key_algorithms=_CA_KEYS,
            ),
            Profile(
                "intermediate",
                "the authority that signs leaves",
                is_ca=True,
                path_length=0,
                key_usages=("key_cert_sign", "crl_sign"),
                signer="root",
                key_algorithms=_CA_KEYS,
            ),
            Profile(
                "service",
                "a service's identity on both ends of mTLS: client and server",
                extended_key_usages=("server_auth", "client_auth"),
                needs_identity=True,
                allows_identity=True,
                allows_dns=True,
                key_algorithms=_LEAF_KEYS,
            ),
            Profile(
                "edge",
                "a host at the edge: server only, no identity",
                extended_key_usages=("server_auth",),
                allows_dns=True,
                needs_dns=True,
                key_algorithms=_LEAF_KEYS,
            ),
            Profile(
                "probe",
                "a client that everyhop itself uses to test refusals: client only",
                extended_key_usages=("client_auth",),
                needs_identity=True,
                allows_identity=True,
                key_algorithms=_LEAF_KEYS,
            ),
            Profile(
                "evidence",
                "seals observations and signs evidence packs (RFC 9336): opens no connection",
                extended_key_usages=("document_signing",),
                needs_identity=True,
                allows_identity=True,
                key_algorithms=(KeyAlgorithm.P256,),
            ),
        )
    }
)
