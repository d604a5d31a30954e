"""What every ``ports.Keys`` promises, run on each implementation.

A new driver joins by one line in ``WORLDS``: a world opens key stores that share one durable state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)
from tests.fakes.keys import HeldKey, MemoryKeys

from everyhop.core.profile import KeyAlgorithm
from everyhop.drivers.keys.file import FileKeys
from everyhop.drivers.keys.seal import SealSource
from everyhop.errors import EveryhopError
from everyhop.ports import KeyPurpose, Keys


class World(Protocol):
    """A durable state, and key stores on it."""

    async def open(self) -> Keys: ...


class MemoryWorld:
    def __init__(self, folder: Path) -> None:
        self.held: dict[str, HeldKey] = {}

    async def open(self) -> Keys:
        return MemoryKeys(self.held)


class FileWorld:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def open(self) -> Keys:
        return await FileKeys.open(self.folder / "keys", SealSource(self.folder / "seal.key"))


WORLDS: dict[str, Callable[[Path], World]] = {"memory": MemoryWorld, "file": FileWorld}

Story = Callable[[World], Awaitable[None]]
Play = Callable[[Story], None]


@pytest.fixture(params=WORLDS)
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    """Runs a story on one implementation."""

    async def run(story: Story) -> None:
        await story(WORLDS[request.param](tmp_path))

    return lambda story: asyncio.run(run(story))


async def refused(code: str, call: Awaitable[Any]) -> None:
    with pytest.raises(EveryhopError) as caught:
        await call
    assert caught.value.code.name == code


def verify(algorithm: KeyAlgorithm, public: bytes, signature: bytes, message: bytes) -> None:
    """Raises unless the signature is the algorithm's X.509 signature."""
    key: Any = load_der_public_key(public)
    if isinstance(key, ec.EllipticCurvePublicKey):
        digest = hashes.SHA384() if algorithm is KeyAlgorithm.P384 else hashes.SHA256()
        key.verify(signature, message, ec.ECDSA(digest))
    elif isinstance(key, rsa.RSAPublicKey):
        assert key.key_size == int(algorithm.value.removeprefix("rsa"))
        key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    else:
        assert algorithm.value in type(key).__name__.lower()
        key.verify(signature, message)


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_every_algorithm_signs_for_every_purpose_but_leaves(play: Play, algorithm: KeyAlgorithm) -> None:
    async def story(world: World) -> None:
        keys = await world.open()
        for purpose in (KeyPurpose.ROOT, KeyPurpose.ISSUER, KeyPurpose.EVIDENCE):
            public = await keys.generate(f"prod/{purpose}", algorithm, purpose)
            assert await keys.public(f"prod/{purpose}") == public
            for message in (b"", b"first", b"second" * 1000):
                verify(algorithm, public, await keys.sign(f"prod/{purpose}", message), message)

    play(story)


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.P256, KeyAlgorithm.P384, KeyAlgorithm.RSA2048])
def test_signatures_are_deterministic(play: Play, algorithm: KeyAlgorithm) -> None:
    async def story(world: World) -> None:
        keys = await world.open()
        await keys.generate("i", algorithm, KeyPurpose.ISSUER)
        assert await keys.sign("i", b"message") == await keys.sign("i", b"message")

    play(story)


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.P256, KeyAlgorithm.RSA2048, KeyAlgorithm.MLDSA44])
def test_a_leaf_is_revealed_as_pem_and_never_signs(play: Play, algorithm: KeyAlgorithm) -> None:
    async def story(world: World) -> None:
        keys = await world.open()
        public = await keys.generate("web", algorithm, KeyPurpose.LEAF)
        pem = await keys.reveal("web")
        assert pem.startswith(b"-----BEGIN PRIVATE KEY-----")
        revealed = load_pem_private_key(pem, None).public_key()
        assert revealed.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == public
        await refused("key-refused", keys.sign("web", b"message"))

    play(story)


def test_only_leaves_are_revealed(play: Play) -> None:
    async def story(world: World) -> None:
        keys = await world.open()
        for purpose in (KeyPurpose.ROOT, KeyPurpose.ISSUER, KeyPurpose.EVIDENCE):
            await keys.generate(purpose, KeyAlgorithm.P256, purpose)
            await refused("key-refused", keys.reveal(purpose))
            await keys.sign(purpose, b"")
            await refused("key-refused", keys.reveal(purpose))

    play(story)


def test_generating_again_finds_the_key_or_refuses(play: Play) -> None:
    async def story(world: World) -> None:
        keys = await world.open()
        public = await keys.generate("k", KeyAlgorithm.P256, KeyPurpose.ISSUER)
        assert await keys.generate("k", KeyAlgorithm.P256, KeyPurpose.ISSUER) == public
        await refused("key-refused", keys.generate("k", KeyAlgorithm.P384, KeyPurpose.ISSUER))
        await refused("key-refused", keys.generate("k", KeyAlgorithm.P256, KeyPurpose.LEAF))
        assert await keys.public("k") == public

    play(story)


def test_generating_one_id_at_once_makes_one_key(play: Play) -> None:
    async def story(world: World) -> None:
        both = [await world.open(), await world.open()]
        made = await asyncio.gather(
            *(both[number % 2].generate("k", KeyAlgorithm.P256, KeyPurpose.ISSUER) for number in range(20))
        )
        assert len(set(made)) == 1
        message = b"message"
        for keys in both:
            verify(KeyAlgorithm.P256, made[0], await keys.sign("k", message), message)

    play(story)


def test_unknown_and_destroyed_keys_are_unavailable(play: Play) -> None:
    async def story(world: World) -> None:
        keys = await world.open()
        await refused("key-unavailable", keys.public("k"))
        await refused("key-unavailable", keys.sign("k", b""))
        await refused("key-unavailable", keys.reveal("k"))
        await keys.destroy("k")
        first = await keys.generate("k", KeyAlgorithm.P256, KeyPurpose.ISSUER)
        await keys.sign("k", b"")
        await keys.destroy("k")
        await refused("key-unavailable", keys.public("k"))
        await refused("key-unavailable", keys.sign("k", b""))
        assert await keys.generate("k", KeyAlgorithm.P256, KeyPurpose.ISSUER) != first

    play(story)


def test_ids_come_sorted_and_a_restart_keeps_everything(play: Play) -> None:
    async def story(world: World) -> None:
        keys = await world.open()
        assert await keys.ids() == []
        names = ["prod/web", "prod/api", "prod-1", "Root:prod", "a.b@c_d", "prod/web/1", "x" * 200]
        made = {name: await keys.generate(name, KeyAlgorithm.ED25519, KeyPurpose.ISSUER) for name in names}
        again = await world.open()
        assert await again.ids() == sorted(names)
        assert {name: await again.public(name) for name in names} == made
        verify(KeyAlgorithm.ED25519, made["prod/web"], await again.sign("prod/web", b"m"), b"m")

    play(story)


@pytest.mark.parametrize(
    "wrong", ["", ".", "..", "../x", "/etc/x", "a b", "a\n", "a\x00", "a+b", "é", "a\\b", "x" * 201]
)
def test_strange_ids_are_refused(play: Play, wrong: str) -> None:
    async def story(world: World) -> None:
        keys = await world.open()
        await refused("key-refused", keys.generate(wrong, KeyAlgorithm.ED25519, KeyPurpose.ISSUER))
        assert await keys.ids() == []

    play(story)
