"""Run a mesh on this machine, and end it.

Rules: as for the whole package: doors meet drivers here and nowhere else; nothing is decided here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from everyhop.app.watching import Showing, watch
from everyhop.app.workspace import Workspace, instance_of
from everyhop.doors.xds.server import XdsServer
from everyhop.drivers.host.machine import SystemClock, SystemRandom, free_address, is_free
from everyhop.drivers.keys.algorithms import make
from everyhop.drivers.planes.envoy import EnvoyPlane
from everyhop.drivers.probes.tls import WireProber
from everyhop.errors import EveryhopError
from everyhop.ports import Event, Reporter, Store
from everyhop.services.apply import apply
from everyhop.services.observe import PROBE_SOURCE
from everyhop.services.operate import Mesh, Outside


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
