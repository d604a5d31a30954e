"""50 leaf rotations, one of the intermediate, one of the root, under constant load: not one request may fail.

Rules: the real `everyhop up`, a mesh of edge, web and api on real Envoys, clients in processes of their own. Every
request of a fresh client is a TLS 1.3 handshake that trusts what the published bundle says at that moment, and passes
all hops. Connections inside the mesh are closed after two seconds, so that the inner hops shake hands all the time,
too. Times come from everyhop's own log and from what the clients were served. ``--shop`` takes the whole shop with
PostgreSQL instead of the two small apps.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from cryptography import x509

from benchmarks import _mesh
from benchmarks._mesh import ROOT, Logged, Mesh
from benchmarks._report import Report, arguments, median, percentile
from everyhop.app import now
from everyhop.core.chain import Trust
from everyhop.core.hop import Address
from everyhop.core.lifecycle import CredentialState
from everyhop.core.plan import EdgeTls, Inbound, Plan
from everyhop.drivers.host.machine import SystemClock
from everyhop.drivers.probes.tls import WireProber
from everyhop.ports import Store
from everyhop.services.apply import planned
from everyhop.services.observe import PROBE_SOURCE
from everyhop.services.records import AUTHORITIES, SLOTS, TRUST, TRUST_KEY
from everyhop.services.rotate import request_renewal

POLICY = """
  heartbeat: 500ms        # what only calls is seen by its callee: this often
  max_connection_age: 2s
  rotation_overlap: 2s
"""
SMALL = """
everyhop: 1
trust_domain: bench.internal
environment: bench
owners: {{bench: {{contact: bench@bench.example}}}}
services:
  web:
    owner: bench
    listen: 127.0.0.1:{web}
    calls: [api]
    run:
      command: [python, "{echo}"]
      environment: {{ECHO_LISTEN: "{{listen}}", ECHO_NEXT: "{{calls.api}}"}}
      health: {{http: /healthz}}
  api:
    owner: bench
    listen: 127.0.0.1:{api}
    run:
      command: [python, "{echo}"]
      environment: {{ECHO_LISTEN: "{{listen}}"}}
edge:
  https: 127.0.0.1:{edge}
  hosts: {{bench.localhost: {{to: web}}}}
policy:
  leaf_lifetime: 1h
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """A topology and how to ask it."""

    topology: str
    port: int
    host: str
    path: str
    slot: str
    """The slot whose certificate the clients see."""


def small_scene() -> Scene:
    """Edge, web, api: each app a few lines of asyncio."""
    web, api, edge = _mesh.free_ports(3)
    text = SMALL.format(web=web, api=api, edge=edge, echo=_mesh.ECHO) + POLICY.lstrip("\n")
    return Scene(text, edge, "bench.localhost", "/", "edge/host:bench.localhost")


def shop_scene() -> Scene:
    """The shop of the examples, on its own ports."""
    shop = ROOT / "examples" / "shop"
    text = (shop / "everyhop.yaml").read_text(encoding="utf-8").replace("{file_dir}", str(shop))
    return Scene(text.rstrip() + POLICY, 8443, "shop.localhost", "/", "edge/host:shop.localhost")


# --- load ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a client."""

    at: float
    seconds: float
    serial: str
    kind: str
    fault: str


@contextmanager
def load(mesh: Mesh, scene: Scene, home: Path, fresh: int, rate: float) -> Generator[Callable[[], list[Request]]]:
    """Clients at work: ``fresh`` of fresh connections and one of a kept one; gives what reads their records."""
    files: list[Path] = []
    started: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(fresh + 1):
            file = home / f"client-{number}.tsv"
            files.append(file)
            kind = "fresh" if number < fresh else "kept"
            words = [kind, str(scene.port), scene.host, scene.path, str(mesh.bundle), str(rate)]
            with file.open("wb") as output:
                command = [sys.executable, "-m", "benchmarks._clients", *words]
                started.append(subprocess.Popen(command, stdout=output, stdin=subprocess.DEVNULL, cwd=ROOT))
        yield lambda: sorted((one for file in files for one in read(file)), key=lambda one: one.at)
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait(30)


def read(file: Path) -> list[Request]:
    """A client's records, without a line that is still being written."""
    found: list[Request] = []
    for line in file.read_text(encoding="utf-8").split("\n")[:-1]:
        at, seconds, serial, kind, fault = line.split("\t")
        found.append(Request(float(at), float(seconds), serial, kind, fault))
    return found


# --- rotations -----------------------------------------------------------------------------------------------------


async def rotate_leaves(store: Store, times: int) -> None:
    """Renew every certificate ``times`` times, each time waiting until all new ones were seen on the wire."""
    for _ in range(times):
        before = {slot.key: slot.generation for slot in await request_renewal(store, [], actor="bench", now=now())}
        deadline = time.monotonic() + 60
        while not await _all_served(store, before):
            if time.monotonic() > deadline:
                raise RuntimeError("waited 60 s for a leaf rotation")
            await asyncio.sleep(0.02)


async def _all_served(store: Store, before: dict[str, int]) -> bool:
    slots = [one.value for one in await SLOTS.all(store)]
    return all(slot.generation > before[slot.key] and slot.state is CredentialState.SERVED for slot in slots)


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of time with a name; Unix seconds."""

    name: str
    begin: float
    end: float

    def holds(self, request: Request) -> bool:
        """Whether a request began in it."""
        return self.begin <= request.at < self.end


async def story(mesh: Mesh, store: Store, rotations: int, calm: float) -> list[Phase]:
    """Everything that happens while the clients ask."""
    moments = [time.time()]  # noqa: TID251  # compared with the clock of other processes
    names: list[str] = []

    async def phase(name: str, work: Callable[[], object]) -> None:
        await asyncio.to_thread(work)
        names.append(name)
        moments.append(time.time())  # noqa: TID251

    await phase("before", lambda: time.sleep(calm))
    await rotate_leaves(store, rotations)
    names.append(f"{rotations} leaf rotations")
    moments.append(time.time())  # noqa: TID251
    await phase("intermediate rotation", lambda: mesh.command("rotate", "intermediate"))
    await phase("root rotation", lambda: mesh.command("rotate", "root"))
    await phase("after", lambda: time.sleep(calm))
    return [Phase(*one) for one in zip(names, moments[:-1], moments[1:], strict=True)]


# --- what the log says -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Renewal:
    """One renewal of one slot: when it was pushed, acknowledged, and seen on the wire by everyhop."""

    slot: str
    serial: str
    pushed: float
    acknowledged: float
    seen: float


def renewals(events: Sequence[Logged], since: float) -> list[Renewal]:
    """The renewals that the log tells of."""
    steps: dict[str, dict[str, Logged]] = {}
    for event in events:
        if event.at >= since and event.name in ("credential.deploying", "credential.proving", "credential.served"):
            steps.setdefault(event.fields["id"], {})[event.name.removeprefix("credential.")] = event
    return [
        Renewal(
            one["deploying"].fields["slot"],
            one["deploying"].fields["why"].removeprefix("serial "),
            one["deploying"].at,
            one["proving"].at,
            one["served"].at,
        )
        for one in steps.values()
        if len(one) == 3
    ]


def client_times(done: Sequence[Renewal], requests: Sequence[Request], slot: str) -> list[float]:
    """Seconds from a push to the first fresh connection that was served the new certificate."""
    first: dict[str, float] = {}
    for one in requests:
        if one.kind == "fresh" and one.serial:
            first.setdefault(one.serial, one.at)
    return [first[one.serial] - one.pushed for one in done if one.slot == slot and one.serial in first]


# --- the old root is gone ----------------------------------------------------------------------------------------


async def leftovers(mesh: Mesh, store: Store, plan: Plan) -> tuple[int, int, list[str]]:
    """How many bundles and endpoints were looked at, and where anything of the old authorities was found."""
    trust = await TRUST.get(store, TRUST_KEY)
    if trust is None:
        raise RuntimeError("there is no record of trust")
    wanted, retired = await _serials(store, trust.value)
    faults = [] if len(retired) >= 3 else [f"expected 3 authorities to be retired, found {len(retired)}"]
    for node in mesh.nodes():
        trusted, served = _certificates(mesh.admin(node, "/certs"))
        faults += [f"{node}: trusts {serial}" for serial in trusted ^ wanted]
        faults += [f"{node}: holds {serial}" for serial in served & retired]
    prober, endpoints = WireProber(SystemClock(), source=PROBE_SOURCE), _endpoints(plan)
    for address, name in endpoints:
        answer = await prober.handshake(address, server_name=name, alpn=())
        serials = {x509.load_der_x509_certificate(der).serial_number for der in answer.chain}
        if not serials or serials & retired:
            faults.append(f"{address}: serves {'a chain of the old authority' if serials else 'nothing'}")
    return len(mesh.nodes()), len(endpoints), faults


def _endpoints(plan: Plan) -> list[tuple[Address, str]]:
    found: list[tuple[Address, str]] = []
    for node in plan.nodes:
        for listener in node.listeners:
            if isinstance(listener, Inbound):
                found.append((listener.address, ""))
            if isinstance(listener, EdgeTls):
                found += [(listener.address, host.host) for host in listener.hosts if host.credential]
    return found


async def _serials(store: Store, trust: Trust) -> tuple[set[int], set[int]]:
    known = {one.value.name: one.value.x509.serial_number for one in await AUTHORITIES.all(store)}
    return {known[name] for name in trust.bundle}, {known[name] for name in trust.retired}


def _certificates(answer: object) -> tuple[set[int], set[int]]:
    """The serials that Envoy trusts and those that it serves, as its admin interface tells them."""
    trusted: set[int] = set()
    served: set[int] = set()
    for entry in cast("dict[str, list[dict[str, list[dict[str, str]]]]]", answer)["certificates"]:
        trusted |= {int(one["serial_number"], 16) for one in entry.get("ca_cert", [])}
        served |= {int(one["serial_number"], 16) for one in entry.get("cert_chain", [])}
    return trusted, served


# --- the report --------------------------------------------------------------------------------------------------


def tell(report: Report, phases: Sequence[Phase], requests: Sequence[Request]) -> None:
    """Requests, failures and latency in each phase."""
    rows: list[tuple[str | int | float, ...]] = []
    for phase in phases:
        inside = [one for one in requests if phase.holds(one)]
        good = {
            "fresh": [one.seconds * 1e3 for one in inside if one.kind == "fresh" and not one.fault],
            "kept": [one.seconds * 1e3 for one in inside if one.kind != "fresh" and not one.fault],
        }
        rows.append(
            (
                phase.name,
                phase.end - phase.begin,
                len(inside),
                len([one for one in inside if one.fault]),
                percentile(good["fresh"], 0.5),
                percentile(good["fresh"], 0.99),
                percentile(good["kept"], 0.5),
                percentile(good["kept"], 0.99),
            )
        )
    rows.append(("all", phases[-1].end - phases[0].begin, len(requests), len([one for one in requests if one.fault])))
    columns = ("", "s", "requests", "failures", "fresh p50 ms", "p99", "kept p50 ms", "p99")
    report.table("Requests through every hop", columns, [(*row, *[""] * (len(columns) - len(row))) for row in rows])


def tell_times(report: Report, done: Sequence[Renewal], requests: Sequence[Request], slot: str) -> None:
    """How long a push took to be acknowledged and to be seen."""
    series = {
        "push to acknowledgement, every slot": [one.acknowledged - one.pushed for one in done],
        f"push to the first client that was served it, {slot}": client_times(done, requests, slot),
        "push to seen on the wire by everyhop, every slot": [one.seen - one.pushed for one in done],
    }
    report.table(
        "Renewals, milliseconds",
        ("", "renewals", "p50", "p99", "max"),
        [
            (name, len(found), median(found) * 1e3, percentile(found, 0.99) * 1e3, max(found, default=0.0) * 1e3)
            for name, found in series.items()
        ],
    )
    report.note(
        "a push is timed from the durable record of the new certificate; clients ask at intervals, so they see it late "
        "by up to one; everyhop itself looks every half second (settings: tick_seconds)"
    )


async def measure(report: Report, options: argparse.Namespace) -> None:
    """Bring it up, load it, rotate, look, tell."""
    scene = shop_scene() if options.shop else small_scene()
    rate = options.rate or (10 if options.shop else 30)
    with _mesh.folder() as home, _mesh.up(home, scene.topology) as mesh:
        async with mesh.workspace.store() as store:
            found = await planned(store, str(mesh.data))
            if found is None:
                raise RuntimeError("there is no plan")
            with load(mesh, scene, home, options.clients, rate) as records:
                await asyncio.to_thread(_mesh.wait, lambda: len(records()) > 20, 30.0, "the clients to begin")
                phases = await story(mesh, store, options.rotations, options.calm)
            requests = [one for one in records() if phases[0].begin <= one.at < phases[-1].end]
            bundles, endpoints, faults = await leftovers(mesh, store, found[1])
            done = renewals(mesh.events(), phases[0].begin)
    tell(report, phases, requests)
    tell_times(report, done, requests, scene.slot)
    for fault, count in Counter(one.fault for one in requests if one.fault).most_common(10):
        report.note(f"{count} x {fault}")
    for fault in faults:
        report.note(fault)
    reopened = len([one for one in requests if one.kind == "reopened"])
    report.note(f"the kept connection was ended by the edge between two requests {reopened} times and opened again")
    wanted = (options.rotations + 2) * len([1 for node in found[1].nodes for _ in node.credentials])
    report.target("failed requests", len([one for one in requests if one.fault]), 0, at_least=False)
    report.target("renewals seen on the wire", len(done), wanted, at_least=True)
    report.target(
        f"remains of old authorities, in {bundles} bundles and at {endpoints} endpoints",
        len(faults),
        0,
        at_least=False,
    )


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rotations", type=int, default=50, help="leaf rotations, each of every certificate")
    parser.add_argument("--clients", type=int, default=3, help="client processes that open a connection each request")
    parser.add_argument("--rate", type=float, help="requests a second of each client (default: 30; the shop 10)")
    parser.add_argument("--calm", type=float, default=8, help="seconds of load before and after the rotations")
    parser.add_argument("--shop", action="store_true", help="the shop of the examples, with PostgreSQL")


def main() -> int:
    """Run it; the exit status."""
    options = arguments(__doc__, _options)
    report = Report("rotation")
    asyncio.run(measure(report, options))
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
