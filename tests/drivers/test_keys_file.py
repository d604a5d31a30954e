"""Keys in files where they meet the machine: permissions, seals, tampering, crashes."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import stat
import subprocess
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from everyhop.core.profile import KeyAlgorithm
from everyhop.drivers.keys.file import FileKeys
from everyhop.drivers.keys.seal import SealSource
from everyhop.errors import EveryhopError
from everyhop.ports import KeyPurpose

PASSPHRASE = "correct horse battery staple"


def source(folder: Path, **more: Any) -> SealSource:
    return SealSource(folder / "seal.key", **more)


def opened(folder: Path, **more: Any) -> FileKeys:
    return asyncio.run(FileKeys.open(folder / "keys", source(folder, **more)))


def made(folder: Path, key_id: str, purpose: KeyPurpose = KeyPurpose.LEAF, **more: Any) -> bytes:
    return asyncio.run(opened(folder, **more).generate(key_id, KeyAlgorithm.P256, purpose))


def refused(code: str, call: Callable[[], object]) -> EveryhopError:
    with pytest.raises(EveryhopError) as caught:
        call()
    assert caught.value.code.name == code
    return caught.value


def failing(code: str, call: Awaitable[object]) -> EveryhopError:
    async def run() -> None:
        await call

    return refused(code, lambda: asyncio.run(run()))


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# --- at rest --------------------------------------------------------------------------------------------------


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made(tmp_path / "data", "prod/web")
    finally:
        os.umask(before)
    for path in [tmp_path / "data", *(tmp_path / "data").rglob("*")]:
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path
    (tmp_path / "data" / "keys").chmod(0o755)
    opened(tmp_path / "data")
    assert stat.S_IMODE((tmp_path / "data" / "keys").stat().st_mode) == 0o700


def private_parts(pem: bytes) -> list[bytes]:
    """The numbers and encodings by which a private key would be recognised."""
    key = load_pem_private_key(pem, None)
    parts = [key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())]
    match key:
        case ec.EllipticCurvePrivateKey():
            parts.append(key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8))
        case rsa.RSAPrivateKey():
            numbers = key.private_numbers()
            parts += [number.to_bytes((number.bit_length() + 7) // 8) for number in (numbers.p, numbers.q, numbers.d)]
        case ed25519.Ed25519PrivateKey() | mldsa.MLDSA65PrivateKey():
            parts.append(key.private_bytes_raw())
        case _:
            raise AssertionError(type(key))
    return parts


@pytest.mark.parametrize(
    "algorithm",
    [KeyAlgorithm.P256, KeyAlgorithm.P384, KeyAlgorithm.ED25519, KeyAlgorithm.RSA2048, KeyAlgorithm.MLDSA65],
)
def test_nothing_of_a_private_key_is_on_disk(tmp_path: Path, algorithm: KeyAlgorithm) -> None:
    keys = opened(tmp_path)
    asyncio.run(keys.generate("web", algorithm, KeyPurpose.LEAF))
    pem = asyncio.run(keys.reveal("web"))
    needles = [line for line in pem.splitlines() if not line.startswith(b"-----")]
    for part in private_parts(pem):
        needles += [part, part.hex().encode(), part.hex().upper().encode(), base64.b64encode(part)[:-4]]
    assert len(files(tmp_path)) >= 3
    for path in files(tmp_path):
        content = path.read_bytes()
        assert b"PRIVATE" not in content
        assert not [needle for needle in needles if needle in content], path


def test_secrets_stand_in_no_repr_and_no_error(tmp_path: Path) -> None:
    keys = opened(tmp_path, passphrase=PASSPHRASE)
    asyncio.run(keys.generate("web", KeyAlgorithm.P256, KeyPurpose.LEAF))
    wrong = "wrong horse battery staple"
    said = [repr(keys), str(source(tmp_path, passphrase=PASSPHRASE)), repr(keys.__dict__)]
    said.append(repr(source(tmp_path, passphrase=PASSPHRASE).secret(first_run=False)))
    for bad in (wrong, "\ud800" + wrong, wrong[:3]):
        error = refused("seal-unavailable", lambda bad=bad: opened(tmp_path, passphrase=bad))
        said += ["".join(traceback.format_exception(error)), json.dumps(error.as_json())]
    for text in said:
        assert not [word for word in (PASSPHRASE, wrong, "horse") if word in text], text


# --- tampering ------------------------------------------------------------------------------------------------


def test_swapped_renamed_and_edited_files_are_noticed(tmp_path: Path) -> None:
    made(tmp_path, "a", KeyPurpose.ROOT)
    made(tmp_path, "b", KeyPurpose.ROOT)
    a, b = tmp_path / "keys" / "a.key", tmp_path / "keys" / "b.key"
    whole, other = a.read_bytes(), b.read_bytes()
    fields = json.loads(whole)
    edits: list[bytes] = [other, b"", b"{}", b"[]", whole[:-20], json.dumps({**fields, "format": "x"}).encode()]
    edits += [json.dumps({**json.loads(other), "id": "a"}).encode()]
    edits += [json.dumps({**fields, name: value}).encode() for name, value in (
        ("purpose", "leaf"),
        ("purpose", "issuer"),
        ("algorithm", "p384"),
        ("public", json.loads(other)["public"]),
        ("sealed", json.loads(other)["sealed"]),
        ("sealed", ""),
    )]  # fmt: skip
    for edit in edits:
        a.write_bytes(edit)
        keys = opened(tmp_path)
        failing("key-unavailable", keys.public("a"))
        failing("key-refused" if b'"leaf"' in edit else "key-unavailable", keys.sign("a", b"m"))
        with pytest.raises(EveryhopError):
            asyncio.run(keys.reveal("a"))
    a.write_bytes(whole)
    asyncio.run(opened(tmp_path).sign("a", b"m"))


def test_each_flipped_byte_of_the_sealed_key_is_noticed(tmp_path: Path) -> None:
    made(tmp_path, "a")
    path = tmp_path / "keys" / "a.key"
    fields = json.loads(path.read_bytes())
    sealed = base64.b64decode(fields["sealed"])
    keys = opened(tmp_path)

    async def story() -> None:
        for position in range(len(sealed)):
            changed = bytearray(sealed)
            changed[position] ^= 1
            path.write_text(json.dumps({**fields, "sealed": base64.b64encode(changed).decode()}))
            with pytest.raises(EveryhopError, match="changed, swapped or damaged"):
                await keys.reveal("a")

    asyncio.run(story())


def test_two_folders_under_one_secret_share_no_wrapping_key(tmp_path: Path) -> None:
    public = made(tmp_path / "one", "a")
    (tmp_path / "two").mkdir()
    (tmp_path / "one" / "seal.key").rename(tmp_path / "two" / "seal.key")
    made(tmp_path / "two", "b")
    stolen = (tmp_path / "one" / "keys" / "a.key").read_bytes()
    (tmp_path / "two" / "keys" / "a.key").write_bytes(stolen)
    failing("key-unavailable", opened(tmp_path / "two").reveal("a"))
    (tmp_path / "two" / "seal.key").rename(tmp_path / "one" / "seal.key")
    assert asyncio.run(opened(tmp_path / "one").public("a")) == public


# --- the seal -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_seal_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    made(tmp_path, "a")
    (tmp_path / "seal.key").chmod(mode)
    assert f"{mode:04o}" in refused("seal-unsafe", lambda: opened(tmp_path)).message
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(PASSPHRASE)
    passphrase.chmod(mode)
    refused("seal-unsafe", lambda: opened(tmp_path, environment={"EVERYHOP_PASSPHRASE_FILE": str(passphrase)}))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_seal_of_another_user_is_refused(tmp_path: Path) -> None:
    made(tmp_path, "a")
    os.chown(tmp_path / "seal.key", 12345, -1)
    refused("seal-unsafe", lambda: opened(tmp_path))


def test_a_lost_or_foreign_seal_is_told_and_no_new_one_is_made(tmp_path: Path) -> None:
    made(tmp_path, "a")
    seal = tmp_path / "seal.key"
    right = seal.read_bytes()
    seal.unlink()
    assert refused("seal-unavailable", lambda: opened(tmp_path)).hint
    assert not seal.exists()
    for wrong in (b"x" * 32, b"", right[:31], right + b"\n"):
        seal.write_bytes(wrong)
        seal.chmod(0o600)
        assert refused("seal-unavailable", lambda: opened(tmp_path)).hint
    seal.unlink()
    os.mkfifo(seal, 0o600)
    refused("seal-unavailable", lambda: opened(tmp_path))
    seal.unlink()
    seal.write_bytes(right)
    seal.chmod(0o600)
    opened(tmp_path)
    header = tmp_path / "keys" / "seal.json"
    whole = header.read_bytes()
    for damage in (
        b"",
        b"[]",
        b'{"format": 1}',
        whole.replace(b"seal 1", b"seal 2"),
        whole.replace(b'"n": 0', b'"n": 2'),
    ):
        header.write_bytes(damage)
        refused("seal-unavailable", lambda: opened(tmp_path))
    header.unlink()
    assert "missing" in refused("seal-unavailable", lambda: opened(tmp_path)).message
    header.write_bytes(whole)
    opened(tmp_path)


def test_a_passphrase_seals_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    public = made(tmp_path, "a", passphrase=PASSPHRASE)
    assert not (tmp_path / "seal.key").exists()
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(PASSPHRASE + "\n")
    passphrase.chmod(0o600)
    keys = opened(tmp_path, environment={"EVERYHOP_PASSPHRASE_FILE": str(passphrase)})
    assert asyncio.run(keys.public("a")) == public
    assert "is another" in refused("seal-unavailable", lambda: opened(tmp_path, passphrase="not the right one")).message
    refused("seal-unavailable", lambda: opened(tmp_path, passphrase="short"))
    refused("seal-unavailable", lambda: opened(tmp_path))
    refused("seal-unavailable", lambda: opened(tmp_path, environment={"EVERYHOP_PASSPHRASE_FILE": "/nowhere"}))
    (tmp_path / "seal.key").write_bytes(b"x" * 32)
    (tmp_path / "seal.key").chmod(0o600)
    assert "a passphrase" in refused("seal-unavailable", lambda: opened(tmp_path)).message


def test_the_systemd_credential_comes_first(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "everyhop-seal").write_bytes(os.urandom(32))
    (credentials / "everyhop-seal").chmod(0o440)  # as systemd shows it, by its access list
    environment = {"CREDENTIALS_DIRECTORY": str(credentials)}
    public = made(tmp_path, "a", environment=environment, passphrase=PASSPHRASE)
    assert not (tmp_path / "seal.key").exists()
    assert asyncio.run(opened(tmp_path, environment=environment).public("a")) == public
    refused("seal-unavailable", lambda: opened(tmp_path))
    (credentials / "everyhop-seal").unlink()
    refused("seal-unavailable", lambda: opened(tmp_path, environment=environment))


# --- crashes and other processes ------------------------------------------------------------------------------

CHILD = """
import asyncio, os, pathlib, signal, sys
from everyhop.core.profile import KeyAlgorithm
from everyhop.drivers.keys.file import FileKeys
from everyhop.drivers.keys.seal import SealSource
from everyhop.ports import KeyPurpose

folder = pathlib.Path(sys.argv[1])

async def main():
    keys = await FileKeys.open(folder / "keys", SealSource(folder / "seal.key"))
    if sys.argv[2] == "die":  # at the worst moment: written, not yet named
        pathlib.Path.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    print((await keys.generate("k", KeyAlgorithm.P256, KeyPurpose.ISSUER)).hex())

asyncio.run(main())
"""


def child(folder: Path, how: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CHILD, str(folder), how]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE)


def test_a_kill_between_writing_and_renaming_leaves_nothing_behind(tmp_path: Path) -> None:
    opened(tmp_path)
    before = set(files(tmp_path))
    with child(tmp_path, "die") as process:
        process.communicate(timeout=60)
    assert process.returncode == -9
    left = set(files(tmp_path)) - before
    assert len(left) == 1
    keys = opened(tmp_path)
    assert not left & set(files(tmp_path))
    assert asyncio.run(keys.ids()) == []
    with child(tmp_path, "die") as process:
        process.communicate(timeout=60)
    # Also without opening anew, the next writer is not in the way of the dead one.
    public = asyncio.run(keys.generate("k", KeyAlgorithm.P256, KeyPurpose.ISSUER))
    assert asyncio.run(opened(tmp_path).public("k")) == public


def test_processes_that_start_together_make_one_seal_and_one_key(tmp_path: Path) -> None:
    children = [child(tmp_path, "live") for _ in range(4)]
    said: set[str] = set()
    for process in children:
        with process:
            said.add(process.communicate(timeout=60)[0])
            assert process.returncode == 0
    assert len(said) == 1
    assert asyncio.run(opened(tmp_path).public("k")).hex() == said.pop().strip()
