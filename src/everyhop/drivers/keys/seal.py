"""The secret that seals private keys at rest, and where it is found.

Rules: sources are asked in a fixed order and the first that is there is used: the systemd credential
``everyhop-seal``, a passphrase, a key file. The key file is made on the first run, and only then: a missing one
beside sealed keys is an error, never a reason for a new one. Files that others can read are refused. Secrets stand
in no error and no repr; Python cannot wipe memory, so they live until the garbage collector takes them.

``seal.json`` beside the keys holds no secret: ``format``; ``id``, 32 random bytes of this folder, the salt of either
derivation, so that two folders never share a wrapping key; ``derivation`` (``hkdf-sha256`` for 32 secret bytes, RFC
5869; ``scrypt`` for a passphrase, RFC 7914, with ``n``, r=8, p=1); ``check``, an AES-256-GCM tag over the rest, by
which a wrong secret is told from a damaged key.
"""

from __future__ import annotations

import base64
import json
import os
import stat
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from everyhop.drivers.keys.folder import Folder
from everyhop.errors import EveryhopError

CREDENTIAL = "everyhop-seal"
"""The name of the systemd credential (``LoadCredentialEncrypted=everyhop-seal:...``)."""
PASSPHRASE_VARIABLE = "EVERYHOP_PASSPHRASE_FILE"  # noqa: S105  # the name of a variable, not a passphrase
SCRYPT_N = 2**17
"""With r=8 one guess costs 128 MiB and about half a second: OWASP's recommendation for scrypt."""
SHORTEST_PASSPHRASE = 8
"""Characters; NIST SP 800-63B, 5.1.1.2."""

_HEADER = "seal.json"
_FORMAT = "everyhop seal 1"
_SECRET_BYTES = 32
_NONCE_BYTES = 12
_LARGEST_FILE = 4096

Derivation = Literal["hkdf-sha256", "scrypt"]


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret, where it came from (for messages) and how a wrapping key is derived from it."""

    origin: str
    derivation: Derivation
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SealSource:
    """Where the secret is looked for. ``passphrase`` comes before the one that ``environment`` points to."""

    key_file: Path
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    passphrase: str | None = field(default=None, repr=False)

    def secret(self, *, first_run: bool) -> Secret:
        """The secret of the first source that is there; on the first run the key file is made if none is.

        Raises ``EveryhopError('seal-unavailable')`` if there is none or it has the wrong form, ``('seal-unsafe')``
        if others could read it.
        """
        if folder := self.environment.get("CREDENTIALS_DIRECTORY"):
            credential = Path(folder) / CREDENTIAL
            if credential.exists():
                # systemd guards this file, by an access list that shows as group-readable: its mode says nothing.
                return _key("the systemd credential", _read(credential, guarded=True))
        if self.passphrase is not None:
            return _passphrase("the passphrase", self.passphrase.encode(errors="surrogatepass"))
        if named := self.environment.get(PASSPHRASE_VARIABLE):
            content = _read(Path(named), guarded=False)
            return _passphrase(f"the passphrase in {named}", content.removesuffix(b"\n").removesuffix(b"\r"))
        if first_run and not self.key_file.exists():
            try:
                Folder(self.key_file.parent).create(self.key_file.name, os.urandom(_SECRET_BYTES))
            except OSError as error:
                raise _unavailable(f"expected to make the key file {self.key_file}, got: {error.strerror}") from error
        return _key(f"the key file {self.key_file}", _read(self.key_file, guarded=False))


class Seal:
    """Seals and opens small secrets by AES-256-GCM under the folder's wrapping key."""

    def __init__(self, wrapping_key: bytes) -> None:
        """``wrapping_key`` is 32 bytes that serve nothing else."""
        self._cipher = AESGCM(wrapping_key)

    def close(self, plain: bytes, associated: bytes) -> bytes:
        """Nonce and ciphertext. ``associated`` is not hidden, but must be the same when opening."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes | None:
        """The plain bytes, or None if anything was changed or the seal is another."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], associated)
        except (InvalidTag, ValueError):
            return None


def open_seal(folder: Folder, source: SealSource) -> Seal:
    """The seal of a folder of keys; its header is made on the first run. Blocks, up to a second with a passphrase.

    Raises ``EveryhopError('seal-unavailable')`` for a missing or wrong secret, ``('seal-unsafe')`` for an exposed one.
    """
    keys = [name for name in folder.names() if name != _HEADER]  # before the header is read: it is older than any key
    header = folder.read(_HEADER)
    if header is None and keys:
        raise _unavailable(f"expected {_HEADER} beside the keys in {folder.path}, it is missing")
    secret = source.secret(first_run=header is None)
    if header is None:
        # Another process may be first: what stands in the folder afterwards is what counts.
        header = folder.create(_HEADER, _new_header(secret))
    return _unlock(header, secret, folder.path)


def _new_header(secret: Secret) -> bytes:
    identity = os.urandom(32)
    cost = SCRYPT_N if secret.derivation == "scrypt" else 0
    tag = _derive(secret, identity, cost).close(b"", _associated(identity, secret.derivation, cost))
    header = {
        "format": _FORMAT,
        "id": identity.hex(),
        "derivation": secret.derivation,
        "n": cost,
        "check": base64.b64encode(tag).decode(),
    }
    return json.dumps(header, indent=1).encode() + b"\n"


def _unlock(header: bytes, secret: Secret, where: Path) -> Seal:
    try:
        fields = json.loads(header)
        identity, derivation, cost = bytes.fromhex(fields["id"]), str(fields["derivation"]), int(fields["n"])
        tag = base64.b64decode(fields["check"], validate=True)
        known = fields["format"] == _FORMAT and cost in (0, SCRYPT_N)
    except (ValueError, KeyError, TypeError) as error:
        raise _unavailable(f"expected a readable {_HEADER} in {where}, got a damaged one") from error
    if not known:
        raise _unavailable(f"expected {_HEADER} in {where} to be of format {_FORMAT!r}, got another")
    if derivation != secret.derivation:
        made_with = "a passphrase" if derivation == "scrypt" else "a key file or credential"
        raise _unavailable(f"expected {made_with} as for the keys in {where}, got {secret.origin}")
    seal = _derive(secret, identity, cost)
    if seal.open(tag, _associated(identity, derivation, cost)) is None:
        raise _unavailable(f"expected the secret that sealed the keys in {where}, {secret.origin} is another")
    return seal


def _derive(secret: Secret, identity: bytes, cost: int) -> Seal:
    if secret.derivation == "scrypt":
        return Seal(Scrypt(salt=identity, length=32, n=cost, r=8, p=1).derive(secret.value))
    return Seal(HKDF(hashes.SHA256(), 32, salt=identity, info=b"everyhop wrapping key 1").derive(secret.value))


def _associated(identity: bytes, derivation: str, cost: int) -> bytes:
    return json.dumps([_FORMAT, identity.hex(), derivation, cost]).encode()


def _key(origin: str, content: bytes) -> Secret:
    if len(content) != _SECRET_BYTES:
        raise _unavailable(
            f"expected {_SECRET_BYTES} random bytes in {origin}, got {len(content)}",
            hint=f"make one with: head -c {_SECRET_BYTES} /dev/urandom",
        )
    return Secret(origin, "hkdf-sha256", content)


def _passphrase(origin: str, content: bytes) -> Secret:
    try:
        # The same letters typed on another keyboard must give the same bytes.
        text = unicodedata.normalize("NFC", content.decode())
    except UnicodeDecodeError:
        # The error itself would quote the passphrase.
        raise _unavailable(f"expected {origin} to be text in UTF-8, got other bytes") from None
    if len(text) < SHORTEST_PASSPHRASE:
        raise _unavailable(
            f"expected {origin} to have at least {SHORTEST_PASSPHRASE} characters, got {len(text)}",
            hint="several random words make a good passphrase",
        )
    return Secret(origin, "scrypt", text.encode())


def _read(path: Path, *, guarded: bool) -> bytes:
    """A secret's file. Unless somebody else guards it, it must be ours and closed to group and others."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # never wait for a pipe's writer
    except OSError as error:
        raise _unavailable(f"expected to read the seal secret from {path}, got: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)  # of what was opened: no time between look and use
        if not stat.S_ISREG(status.st_mode):
            raise _unavailable(f"expected {path} to be a regular file")
        if not guarded and (status.st_mode & 0o077 or status.st_uid != os.geteuid()):
            raise EveryhopError(
                "seal-unsafe",
                f"expected {path} to be readable by user {os.geteuid()} only, "
                f"got mode {stat.S_IMODE(status.st_mode):04o} and owner {status.st_uid}",
                hint=f"chmod 600 {path}, and make the user that runs everyhop its owner; if others may have read it, "
                "treat the keys as known to them",
            )
        return file.read(_LARGEST_FILE)


def _unavailable(message: str, *, hint: str = "") -> EveryhopError:
    return EveryhopError(
        "seal-unavailable",
        message,
        hint=hint
        or "give the secret that was used when the keys were made, or bring it back from a backup;"
        " without it, another --data begins anew",
    )
