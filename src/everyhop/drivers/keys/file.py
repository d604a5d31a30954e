"""Private keys in files, sealed at rest.

Rules: a key file is written whole or not at all and never overwritten; what it says about the key is bound to the
sealed bytes, so that files cannot be swapped, renamed or edited; a root's key is opened for one signature and
dropped, an issuer's stays in memory, a leaf's leaves only by ``reveal``. One everyhop at a time uses the folder for
signing; several may generate.

A key ``a/b`` lives in ``a+b.key``: JSON with ``format`` (``everyhop key 1``), ``id``, ``purpose``, ``algorithm``,
``public`` (SubjectPublicKeyInfo) and ``sealed``, both base64. ``sealed`` is a 12-byte nonce and the AES-256-GCM
ciphertext of the PKCS#8 DER, with the JSON list of the first five as associated data (``seal`` has the key).
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, cast

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from everyhop.core.profile import KeyAlgorithm
from everyhop.drivers.keys import algorithms
from everyhop.drivers.keys.algorithms import PrivateKey, Signer
from everyhop.drivers.keys.folder import Folder
from everyhop.drivers.keys.seal import Seal, SealSource, open_seal
from everyhop.errors import EveryhopError
from everyhop.ports import KeyPurpose

_FORMAT = "everyhop key 1"
_SUFFIX = ".key"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/-]{0,199}")
"""No control characters, no spaces, no leading dot; "+" is free to stand for "/" in file names."""


@dataclass(frozen=True, slots=True)
class _KeyFile:
    """A key as its file holds it."""

    id: str
    purpose: KeyPurpose
    algorithm: KeyAlgorithm
    public: bytes
    sealed: bytes = field(default=b"", repr=False)

    def associated(self) -> bytes:
        """What is bound to the sealed bytes."""
        return json.dumps([_FORMAT, self.id, self.purpose, self.algorithm, _base64(self.public)]).encode()

    def to_bytes(self) -> bytes:
        """The file's content."""
        fields = {
            "format": _FORMAT,
            "id": self.id,
            "purpose": self.purpose,
            "algorithm": self.algorithm,
            "public": _base64(self.public),
            "sealed": _base64(self.sealed),
        }
        return json.dumps(fields, indent=1).encode() + b"\n"

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read a file's content; raises ``ValueError``, ``KeyError`` or ``TypeError`` if it is damaged."""
        fields = json.loads(content)
        if fields["format"] != _FORMAT:
            raise ValueError(f"expected {_FORMAT!r}")
        return cls(
            str(fields["id"]),
            KeyPurpose(fields["purpose"]),
            KeyAlgorithm(fields["algorithm"]),
            base64.b64decode(fields["public"], validate=True),
            base64.b64decode(fields["sealed"], validate=True),
        )


class FileKeys:
    """``ports.Keys`` in a folder. Open it with :meth:`open`."""

    def __init__(self, folder: Folder, seal: Seal) -> None:
        """For :meth:`open`."""
        self._folder = folder
        self._seal = seal
        self._issuers: dict[str, Signer] = {}
        self._changing = asyncio.Lock()

    @classmethod
    async def open(cls, directory: Path, source: SealSource) -> Self:
        """Open the keys in ``directory``, made (0700) if it is not there; leftovers of a crash are removed.

        Raises ``EveryhopError('seal-unavailable')`` for a missing or wrong secret, ``('seal-unsafe')`` for one that
        others can read, ``('key-unavailable')`` if the folder cannot be used.
        """

        def opened() -> tuple[Folder, Seal]:
            with _disk(f"use the folder {directory}"):
                folder = Folder(directory)
                folder.close_to_others()
                folder.clean()
                return folder, open_seal(folder, source)

        return cls(*await asyncio.to_thread(opened))

    async def generate(self, key_id: str, algorithm: KeyAlgorithm, purpose: KeyPurpose) -> bytes:
        """Make a key durably, or find it made; see ``ports.Keys.generate``."""
        return await asyncio.to_thread(self._generate, _checked(key_id), algorithm, purpose)

    async def public(self, key_id: str) -> bytes:
        """SubjectPublicKeyInfo (DER), checked against tampering."""

        def checked() -> bytes:
            stored = self._stored(key_id)
            self._opened(stored)
            return stored.public

        _checked(key_id)
        return await asyncio.to_thread(checked)

    async def sign(self, key_id: str, message: bytes) -> bytes:
        """Sign; see ``ports.Keys.sign``. With a cached issuer's key it happens at once, on the event loop."""
        issuer = self._issuers.get(key_id)
        if issuer is not None:
            return issuer(message)
        _checked(key_id)
        async with self._changing:  # a key must not come back into memory while it is being destroyed
            stored = await asyncio.to_thread(self._stored, key_id)
            if stored.purpose is KeyPurpose.LEAF:
                raise EveryhopError("key-refused", f"expected an authority's key to sign with, {key_id!r} is a leaf's")
            if stored.purpose is KeyPurpose.ROOT:
                return await asyncio.to_thread(lambda: algorithms.signer(self._opened(stored))(message))
            issuer = algorithms.signer(await asyncio.to_thread(self._opened, stored))
            self._issuers[key_id] = issuer
        return issuer(message)

    async def reveal(self, key_id: str) -> bytes:
        """A leaf's private key as PKCS#8 PEM; see ``ports.Keys.reveal``."""

        def revealed() -> bytes:
            stored = self._stored(key_id)
            if stored.purpose is not KeyPurpose.LEAF:
                raise EveryhopError(
                    "key-refused", f"expected a leaf's key to reveal, {key_id!r} is of a {stored.purpose}"
                )
            return self._opened(stored).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

        _checked(key_id)
        return await asyncio.to_thread(revealed)

    async def destroy(self, key_id: str) -> None:
        """Remove the file. What the disk still holds of it is sealed; see ``ports.Keys.destroy``."""

        def removed() -> None:
            with _disk(f"remove the key {key_id!r}"):
                self._folder.remove(_file_name(key_id))

        _checked(key_id)
        async with self._changing:
            await asyncio.to_thread(removed)
            self._issuers.pop(key_id, None)

    async def ids(self) -> Sequence[str]:
        """All key ids, sorted."""

        def listed() -> list[str]:
            with _disk(f"list the keys in {self._folder.path}"):
                names = self._folder.names()
            return sorted(name.removesuffix(_SUFFIX).replace("+", "/") for name in names if name.endswith(_SUFFIX))

        return await asyncio.to_thread(listed)

    def _generate(self, key_id: str, algorithm: KeyAlgorithm, purpose: KeyPurpose) -> bytes:
        with _disk(f"write the key {key_id!r}"):
            content = self._folder.read(_file_name(key_id))
            if content is None:
                # Made outside of the folder's lock, since RSA takes its time; who loses the race throws his away.
                content = self._folder.create(_file_name(key_id), self._made(key_id, algorithm, purpose))
        stored = _parsed(key_id, content)
        if (stored.algorithm, stored.purpose) != (algorithm, purpose):
            raise EveryhopError(
                "key-refused",
                f"expected key {key_id!r} to be a new {algorithm} key of a {purpose}, "
                f"it exists as {stored.algorithm} key of a {stored.purpose}",
                hint="a key's algorithm and purpose never change: use another id",
            )
        self._opened(stored)
        return stored.public

    def _made(self, key_id: str, algorithm: KeyAlgorithm, purpose: KeyPurpose) -> bytes:
        key = algorithms.make(algorithm)
        unsealed = _KeyFile(key_id, purpose, algorithm, algorithms.public_bytes(key))
        plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        sealed = self._seal.close(plain, unsealed.associated())
        return _KeyFile(key_id, purpose, algorithm, unsealed.public, sealed).to_bytes()

    def _stored(self, key_id: str) -> _KeyFile:
        """What the file says. It is not to be believed before :meth:`_opened` has checked it."""
        with _disk(f"read the key {key_id!r}"):
            content = self._folder.read(_file_name(key_id))
        if content is None:
            raise EveryhopError("key-unavailable", f"expected a key {key_id!r}, there is none")
        return _parsed(key_id, content)

    def _opened(self, stored: _KeyFile) -> PrivateKey:
        plain = self._seal.open(stored.sealed, stored.associated())
        if plain is None:
            raise _damaged(stored.id)
        # Just authenticated, so the slow check of RSA's numbers is not needed.
        return cast("PrivateKey", load_der_private_key(plain, None, unsafe_skip_rsa_key_validation=True))


def _parsed(key_id: str, content: bytes) -> _KeyFile:
    try:
        stored = _KeyFile.from_bytes(content)
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(key_id) from error
    if stored.id != key_id:
        raise _damaged(key_id)
    return stored


def _damaged(key_id: str) -> EveryhopError:
    return EveryhopError(
        "key-unavailable",
        f"expected the file of key {key_id!r} as everyhop wrote it, got a changed, swapped or damaged one",
        hint="bring the file back from a backup, or make a new key under a new id",
    )


def _checked(key_id: str) -> str:
    if not _ID.fullmatch(key_id):
        raise EveryhopError(
            "key-refused",
            "expected a key id of 1 to 200 letters, digits and ._:@/- that starts with a letter or digit, "
            f"got {key_id[:40]!r}",
        )
    return key_id


def _file_name(key_id: str) -> str:
    return key_id.replace("/", "+") + _SUFFIX


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


@contextmanager
def _disk(purpose: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise EveryhopError(
            "key-unavailable",
            f"expected to {purpose}, got: {error.strerror}",
            hint="look at the disk's free space and at the owner and mode of the folder",
        ) from error
