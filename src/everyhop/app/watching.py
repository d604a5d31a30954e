"""Put together what watches a mesh, and the dashboard that shows it.

Rules: as for the whole package: doors meet drivers here and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from everyhop import __version__
from everyhop.app.runbooks import runbook
from everyhop.app.sending import telemetry
from everyhop.core.layout import issuance_policy
from everyhop.core.showing import Board, dashboard_url
from everyhop.core.telling import Receiver
from everyhop.doors.status.routes import routes
from everyhop.doors.web.access import Access, Readers
from everyhop.doors.web.app import About, Dashboard
from everyhop.doors.web.server import ServedCredential, WebServer
from everyhop.drivers.host.callers import is_ours
from everyhop.drivers.host.sockets import KernelSockets
from everyhop.drivers.notify.secret import read_secret
from everyhop.drivers.notify.smtp import MailNotifier
from everyhop.drivers.notify.webhook import WebhookNotifier
from everyhop.drivers.probes.endpoint import EndpointLooks
from everyhop.drivers.probes.sampler import sample
from everyhop.drivers.runners.processes import mark_of
from everyhop.errors import EveryhopError
from everyhop.ports import Clock, Event, Notifier
from everyhop.services.apply import DASHBOARD, remembered
from everyhop.services.measure import Meter
from everyhop.services.observe import PROBE_SOURCE
from everyhop.services.operate import Mesh, Outside, Scene, Watch
from everyhop.services.present import Presenter
from everyhop.services.scan import Scanner
from everyhop.services.watch import Senses, Watching
from everyhop.settings import Settings


def watch(mesh: Mesh, outside: Outside, settings: Settings, base: Path) -> Watching:
    """Everything that watches a mesh on this machine; ``base`` is the folder of its topology file."""
    clock = outside.clock
    sockets = KernelSockets(lambda pid: _name_of(pid, outside.instance))
    looks = EndpointLooks(clock, source=PROBE_SOURCE)

    def scanner(roots: Sequence[x509.Certificate]) -> Scanner:
        stores = {"own": roots}
        return Scanner(EndpointLooks(clock, roots=stores, source=PROBE_SOURCE), clock, stores)

    senses = Senses(
        sockets,
        looks,
        scanner,
        lambda name, one: _notifier(name, one, clock, base),
        lambda otlp, about: telemetry(otlp, about, base),
        sockets.catch,
        sample,
    )
    return Watching(mesh, outside, senses, settings)


def _name_of(pid: int, instance: str) -> str:
    """The name under which this everyhop started a process; empty if it did not."""
    mark = mark_of(pid)
    return mark.name if mark is not None and mark.instance == instance else ""


def _notifier(name: str, receiver: Receiver, clock: Clock, base: Path) -> Notifier:
    """A receiver of the topology as something that can be told; its files are found beside the topology."""

    def secret(place: str) -> str:
        return read_secret(place, base=base, environment=os.environ)

    def path(text: str | None) -> Path | None:
        return base / text if text else None

    if receiver.smtp is not None:
        mail, user, password = receiver.smtp, receiver.smtp.user, receiver.smtp.password
        login = (lambda: (user, secret(password))) if user and password else None
        return MailNotifier(
            name,
            mail.server,
            clock,
            sender=mail.sender,
            to=mail.to,
            security=mail.security,
            login=login,
            roots=path(mail.authorities),
        )
    if receiver.webhook is None:
        raise EveryhopError("internal", f"expected the receiver {name} to be a webhook or a mail server")
    hook, place = receiver.webhook, receiver.webhook.secret
    return WebhookNotifier(
        name, hook.url, clock, secret=(lambda: secret(place)) if place else None, roots=path(hook.authorities)
    )


class Showing:
    """The dashboard and the metrics of a running mesh."""

    def __init__(self, mesh: Mesh, outside: Outside, meter: Meter) -> None:
        """Nothing listens before the :attr:`watch` runs."""
        self._out = outside
        self._meter = meter
        self._presenter = Presenter(outside.store, outside.keys, mesh.gate, mesh.authorities, outside.clock)
        self._mesh = mesh
        self._server: WebServer | None = None
        self._board: Board | None = None
        self._said: tuple[object, ...] = ()
        """What the topology says that the running dashboard was made from."""
        self._scene: Scene | None = None
        self.url = ""
        """Where it can be read; empty: nowhere."""

    @property
    def watch(self) -> Watch:
        """Keeps the dashboard as the topology asks."""
        return Watch("dashboard", 1.0, self._step)

    async def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            await self._server.stop()
        self._server, self.url = None, ""

    async def _step(self, scene: Scene) -> None:
        before, self._scene = self._scene, scene
        if before is not None and before.topology == scene.topology:
            return
        said = (scene.topology.dashboard, issuance_policy(scene.topology).dashboard, scene.topology.environment)
        if self._server is None or self._said != said:
            await self.stop()
            self._said, self._board = said, scene.topology.dashboard
            if self._board is not None:
                try:
                    await self._start(self._board, scene)
                except EveryhopError:
                    self._scene = None  # once more with the next step
                    raise

    async def _start(self, board: Board, scene: Scene) -> None:
        topology, out = scene.topology, self._out
        address = board.listen or (await remembered(out.store))[DASHBOARD]
        readers = Readers(
            identities=frozenset(str(topology.identity(name)) for name in board.services),
            owners=frozenset(board.owners),
            local=board.local == "open",
        )
        names = issuance_policy(topology).dashboard
        access = Access(out.store, out.clock, out.random, readers, is_ours)
        about = About(__version__, names, runbooks="/")
        dashboard = Dashboard(
            out.store, out.data, out.clock, access, about, more=routes(self._meter, out.clock), runbook=runbook
        )
        server = WebServer(dashboard.asgi, out.clock, out.report)
        await server.start(address, self._credential, ask_for_certificates=readers.by_certificate)
        self._server = server
        self.url = dashboard_url(address, names)
        out.report(Event("dashboard.ready", out.clock.now(), {"url": self.url}))

    async def _credential(self) -> ServedCredential:
        scene = self._scene
        if scene is None:
            raise EveryhopError("internal", "expected a topology before a certificate was asked for")
        policy = issuance_policy(scene.topology)
        chain, key = await self._presenter.credential(policy, scene.lease)
        bundle = await self._mesh.authorities.bundle((await self._mesh.authorities.trust()).value)
        return ServedCredential(chain, key, bundle.encode())
