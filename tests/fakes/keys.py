"""Keys in memory: real keys and signatures, no files and no seal.

Rules: what lasts is the dictionary, which a second ``MemoryKeys`` can share, as after a restart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from everyhop.core.profile import KeyAlgorithm
from everyhop.drivers.keys import algorithms
from everyhop.drivers.keys.algorithms import PrivateKey
from everyhop.errors import EveryhopError
from everyhop.ports import KeyPurpose


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A key and what it is for."""

    algorithm: KeyAlgorithm
    purpose: KeyPurpose
    private: PrivateKey = field(repr=False)


class MemoryKeys:
    """``ports.Keys`` in a dictionary."""

    def __init__(self, held: dict[str, HeldKey] | None = None) -> None:
        self.held: dict[str, HeldKey] = {} if held is None else held

    async def generate(self, key_id: str, algorithm: KeyAlgorithm, purpose: KeyPurpose) -> bytes:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:@/-]{0,199}", key_id):
            raise EveryhopError("key-refused", f"expected a plain key id, got {key_id[:40]!r}")
        if key_id not in self.held:
            self.held[key_id] = HeldKey(algorithm, purpose, algorithms.make(algorithm))
        held = self.held[key_id]
        if (held.algorithm, held.purpose) != (algorithm, purpose):
            raise EveryhopError("key-refused", f"expected {key_id!r} to be new, it is another {held.purpose}'s key")
        return algorithms.public_bytes(held.private)

    async def public(self, key_id: str) -> bytes:
        return algorithms.public_bytes(self._held(key_id).private)

    async def sign(self, key_id: str, message: bytes) -> bytes:
        held = self._held(key_id)
        if held.purpose is KeyPurpose.LEAF:
            raise EveryhopError("key-refused", f"expected an authority's key to sign with, {key_id!r} is a leaf's")
        return algorithms.signer(held.private)(message)

    async def reveal(self, key_id: str) -> bytes:
        held = self._held(key_id)
        if held.purpose is not KeyPurpose.LEAF:
            raise EveryhopError("key-refused", f"expected a leaf's key to reveal, {key_id!r} is of a {held.purpose}")
        return held.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    async def destroy(self, key_id: str) -> None:
        self.held.pop(key_id, None)

    async def ids(self) -> Sequence[str]:
        return sorted(self.held)

    def _held(self, key_id: str) -> HeldKey:
        if key_id not in self.held:
            raise EveryhopError("key-unavailable", f"expected a key {key_id[:40]!r}, there is none")
        return self.held[key_id]
