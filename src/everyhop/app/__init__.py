"""Where doors meet drivers: the only place that knows both.

Rules: explicit tables from name to factory; nothing is decided here. A *workspace* is one data directory: its store,
its keys, its lock. Many commands open the store alone and work beside the running mesh.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from everyhop.core.endpoint.facts import Entrance
from everyhop.core.endpoint.fleet import Entry
from everyhop.core.layout import issuance_policy
from everyhop.core.profile import KeyAlgorithm
from everyhop.core.report.endpoint import EndpointReport
from everyhop.doors.xds.server import XdsServer
from everyhop.drivers.host.lock import InstanceLock, holder
from everyhop.drivers.host.machine import SystemClock, SystemRandom, free_address, is_free
from everyhop.drivers.keys.algorithms import make, public_bytes
from everyhop.drivers.keys.file import FileKeys
from everyhop.drivers.keys.seal import SealSource
from everyhop.drivers.planes.envoy import EnvoyPlane
from everyhop.drivers.probes.capture import Capture
from everyhop.drivers.probes.endpoint import EndpointLooks
from everyhop.drivers.probes.roots import stores
from everyhop.drivers.probes.stranger import stranger
from everyhop.drivers.probes.tls import WireProber
from everyhop.drivers.probes.visit import HttpsVisitor
from everyhop.drivers.runners.local import LocalRunner
from everyhop.drivers.store.sqlite import SqliteStore
from everyhop.errors import EveryhopError
from everyhop.ports import Document, Event, Keys, Reporter, Runner, Store
from everyhop.services.apply import apply, planned
from everyhop.services.check import Check, Checker
from everyhop.services.observe import PROBE_SOURCE
from everyhop.services.operate import Mesh, Outside
from everyhop.services.scan import Order, Scanner
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


@dataclass(slots=True)
class Running:
    """A mesh that runs in this process, for those who work beside it."""

    mesh: Mesh
    store: Store
    stop: asyncio.Event


async def run(
    workspace: Workspace,
    text: str,
    *,
    file: str,
    file_dir: str,
    report: Reporter,
    beside: Callable[[Running], asyncio.Future[None] | None] | None = None,
) -> None:
    """Apply a topology and make it true until SIGINT, SIGTERM or SIGHUP; then end what was started.

    ``beside`` is called once the mesh begins, with a handle to it. Raises ``already-running``, ``topology-invalid``
    and whatever else keeps it from beginning; a data directory that is in use is not touched.
    """
    from everyhop.app.watching import Showing, watch  # a web server and all probes: only `up` waits for them

    workspace.prepare()
    with workspace.lock:
        async with workspace.store() as store:
            clock = SystemClock()
            instance = await instance_of(store)
            keys = await workspace.keys(instance)
            await apply(store, text, file=file, file_dir=file_dir, actor="cli", now=clock.now())
            xds_socket = workspace.data / "run" / "xds.sock"
            plane = EnvoyPlane(workspace.data, xds_socket)
            outside = Outside(
                store=store,
                keys=keys,
                clock=clock,
                random=SystemRandom(),
                sleep=asyncio.sleep,
                runner=workspace.runner(instance),
                plane=plane,
                prober=WireProber(clock, source=PROBE_SOURCE),
                throw_away_key=make,
                free_address=free_address,
                is_free=is_free,
                publish_bundle=lambda roots: publish(workspace.bundle_file, roots),
                report=_undisturbed(report),
                data=str(workspace.data),
                instance=instance,
            )
            mesh = Mesh(outside, workspace.settings)
            watching = watch(mesh, outside, workspace.settings, Path(file_dir))
            dashboard = Showing(mesh, outside, watching.meter)
            door = XdsServer(mesh.deployment, may_serve=mesh.may_serve, log_path=plane.log_path)
            stop = asyncio.Event()
            _stop_on_signals(stop)
            await door.start(xds_socket)
            companion = beside(Running(mesh, store, stop)) if beside else None
            try:
                await mesh.run(stop, [*watching.watches, dashboard.watch])
            finally:
                if companion is not None:
                    companion.cancel()  # it is done, or it waits for what will not come any more
                    await asyncio.gather(companion, return_exceptions=True)
                await dashboard.stop()
                await door.stop()


def _undisturbed(report: Reporter) -> Reporter:
    """A reporter that cannot hurt: a full disk or a closed terminal is no reason to stop renewing certificates."""

    def quietly(event: Event) -> None:
        with contextlib.suppress(Exception, SystemExit):
            report(event)

    return quietly


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)


async def end(workspace: Workspace, *, patience: float) -> tuple[int | None, Sequence[str]]:
    """End the everyhop that runs on this data directory, and whatever an earlier life left running.

    Returns the pid that was told to end, or None, and the names of left-over processes that were ended.
    """
    pid = workspace.holder()
    if pid is not None:
        _tell_to_end(workspace, pid)
        for _ in range(int(patience * 20)):
            if workspace.holder() is None:
                break
            await asyncio.sleep(0.05)
        else:
            raise EveryhopError(
                "process-failed", f"expected process {pid} to end within {patience:.0f} s, it did not", hint="try again"
            )
    with workspace.lock:
        async with workspace.store() as store:
            runner = workspace.runner(await instance_of(store))
            left = await runner.running()
            for process in left:
                await runner.stop(process, grace=workspace.settings.stop_grace_seconds)
    return pid, [process.name for process in left]


def _tell_to_end(workspace: Workspace, pid: int) -> None:
    """SIGTERM by pidfd, if the process that has this pid is the one that holds the lock."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if workspace.holder() == pid:
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


def publish(path: Path, content: str) -> None:
    """Write a file that everybody may read, whole or not at all."""
    partial = path.with_suffix(".new")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o644)  # whatever the umask: it is public
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


async def checks(workspace: Workspace, running: Running | None = None) -> AsyncIterator[Check]:
    """Prove every hop of the applied topology on the wire; see :class:`everyhop.services.check.Checker`."""
    from everyhop.services.establish import Authorities
    from everyhop.services.issue import Gate

    async with workspace.store() as opened:
        store = running.store if running else opened
        clock, random = SystemClock(), SystemRandom()
        keys = await workspace.keys(await instance_of(store))
        gate = Gate(store, keys, clock, random, make)
        found = await planned(store, str(workspace.data))
        if found is None:
            raise EveryhopError(
                "not-running", f"nothing was applied in {workspace.data} yet", hint="`everyhop up FILE`"
            )
        topology, plan = found
        checker = Checker(
            WireProber(clock, source=PROBE_SOURCE),
            gate,
            Authorities(store, keys, gate),
            random,
            lambda: _key_in_memory(topology.policy.leaf_key),
            lambda ports: Capture(ports=ports),
            HttpsVisitor(),
            asyncio.sleep,
        )
        async for check in checker.check(plan, issuance_policy(topology)):
            yield check


def _key_in_memory(algorithm: KeyAlgorithm) -> tuple[bytes, bytes]:
    key = make(algorithm)
    return public_bytes(key), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def now() -> datetime:
    """The present moment, for commands."""
    return SystemClock().now()


# --- endpoints that everyhop may know nothing of ------------------------------------------------------------------


async def endpoint_reports(
    entries: Sequence[Entry], order: Order, *, roots: bytes | None = None
) -> AsyncGenerator[EndpointReport]:
    """Look at endpoints from outside and judge them; reports come as they are ready. Needs no data directory.

    ``roots`` (PEM) are trusted beside those of this machine. With ``order.enforcement`` a stranger's certificate is
    tried, too, beside the credentials of the order.
    """
    clock, random = SystemClock(), SystemRandom()
    trusted = stores(own=roots)
    if order.enforcement:
        unknown = {Entrance.FOREIGN_AUTHORITY.value: stranger(clock.now(), random)}
        order = replace(order, credentials={**unknown, **order.credentials})
    scanner = Scanner(EndpointLooks(clock, roots=trusted, source=PROBE_SOURCE), clock, trusted)
    async with contextlib.aclosing(scanner.fleet(entries, order)) as reports:
        async for report in reports:
            yield report
