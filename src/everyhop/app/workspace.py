"""A data directory: its store, its keys, its lock, its processes.

Rules: light, because every command needs it. Many commands open the store alone and work beside the running mesh.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from everyhop.drivers.host.lock import InstanceLock, holder
from everyhop.drivers.host.machine import SystemClock, SystemRandom
from everyhop.drivers.keys.file import FileKeys
from everyhop.drivers.keys.seal import SealSource
from everyhop.drivers.runners.local import LocalRunner
from everyhop.drivers.store.sqlite import SqliteStore
from everyhop.errors import EveryhopError
from everyhop.ports import Document, Keys, Runner, Store
from everyhop.settings import Settings


@dataclass(frozen=True, slots=True)
class Workspace:
    """One data directory."""

    data: Path
    """Absolute."""
    seal_file: Path | None = None
    """Where the secret that seals the private keys is kept; None: below the user's configuration directory."""
    settings: Settings = field(default_factory=Settings)

    def prepare(self) -> None:
        """Make the directory, for this user only; raises ``store-unavailable`` if that cannot be done."""
        try:
            if self.data.is_dir() and not self.exists and any(one.name != "run" for one in self.data.iterdir()):
                raise EveryhopError(
                    "store-unavailable",
                    f"expected an empty directory or one of everyhop, got {self.data} with other files in it",
                    hint="name a directory of its own with --data",
                )
            for folder in reversed([self.data, *self.data.parents]):
                if not folder.exists():
                    folder.mkdir(mode=0o700)
            self.data.chmod(0o700)
            (self.data / "run").mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise EveryhopError(
                "store-unavailable",
                f"expected a writable data directory, got {error.strerror} for {self.data}",
                hint="name another one with --data",
            ) from error

    @property
    def lock(self) -> InstanceLock:
        """The right to run here."""
        return InstanceLock(self.data / "everyhop.lock")

    def holder(self) -> int | None:
        """The pid of the everyhop that runs here, or None."""
        return holder(self.data / "everyhop.lock")

    @property
    def bundle_file(self) -> Path:
        """The roots, for clients outside the mesh."""
        return self.data / "root.pem"

    @property
    def exists(self) -> bool:
        """True if the directory is one of everyhop's."""
        return (self.data / "everyhop.db").exists() or (self.data / "everyhop.lock").exists()

    @asynccontextmanager
    async def store(self) -> AsyncGenerator[Store]:
        """The store, open."""
        self.prepare()
        opened = await SqliteStore.open(self.data / "everyhop.db")
        try:
            yield opened
        finally:
            await opened.close()

    def seal_path(self, instance: str) -> Path:
        """Where the secret that seals the private keys is kept, unless a passphrase or systemd guards it."""
        return self.seal_file or _config_home() / "everyhop" / "seals" / f"{instance}.key"

    async def keys(self, instance: str) -> Keys:
        """The private keys, unsealed."""
        source = SealSource(self.seal_path(instance), environment=dict(os.environ))
        return await FileKeys.open(self.data / "keys", source)

    def runner(self, instance: str) -> Runner:
        """What runs processes here."""
        return LocalRunner(self.data, instance)


async def instance_of(store: Store) -> str:
    """The unguessable name of this data directory, chosen at its first use."""
    known = await store.get("instance", "id")
    if known is None:
        try:
            known = await store.put("instance", "id", {"id": SystemRandom().token()}, expect=0)
        except EveryhopError:  # another process was first
            known = await store.get("instance", "id")
    return str(_need(known).value["id"])


def _need(document: Document | None) -> Document:
    if document is None:
        raise EveryhopError("store-unavailable", "the data directory has no name and takes none")
    return document


def _config_home() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def now() -> datetime:
    """The present moment, for commands."""
    return SystemClock().now()
