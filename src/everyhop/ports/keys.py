"""Private keys, where they were made."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from everyhop.core.profile import KeyAlgorithm


class KeyPurpose(StrEnum):
    """What a key is for. It is fixed when the key is made."""

    ROOT = "root"
    """Signs intermediates; opened for each signature and locked again."""
    ISSUER = "issuer"
    """Signs leaves; never revealed."""
    LEAF = "leaf"
    """Held by a service's proxy on this machine; may be revealed to that proxy only."""
    EVIDENCE = "evidence"
    """Signs seals and evidence packs; never revealed."""


class Keys(Protocol):
    """Private keys, where they were made. Only a leaf's private key is ever returned."""

    async def generate(self, key_id: str, algorithm: KeyAlgorithm, purpose: KeyPurpose) -> bytes:
        """Make a key durably; returns its public key (SubjectPublicKeyInfo, DER). If ``key_id`` exists with the same
        algorithm and purpose its public key is returned (a crash between making and using loses nothing); with
        others, raises ``('key-refused')``."""
        ...

    async def public(self, key_id: str) -> bytes:
        """SubjectPublicKeyInfo (DER); raises ``('key-unavailable')``."""
        ...

    async def sign(self, key_id: str, message: bytes) -> bytes:
        """Sign with the algorithm's X.509 signature: ECDSA with SHA-256 (P-256) or SHA-384 (P-384), deterministic by
        RFC 6979; Ed25519; RSA PKCS#1 v1.5 with SHA-256; ML-DSA. Raises ``('key-refused')`` for leaf keys."""
        ...

    async def reveal(self, key_id: str) -> bytes:
        """A leaf's private key as PKCS#8 PEM, for the proxy that serves it. Raises ``('key-refused')`` for others."""
        ...

    async def destroy(self, key_id: str) -> None:
        """Forget a key for ever; destroying an unknown one does nothing."""
        ...

    async def ids(self) -> Sequence[str]:
        """All key ids, sorted."""
        ...
