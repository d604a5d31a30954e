"""A bad push harms nobody: a real Envoy refuses it, keeps what it has, and takes the next good one.

In this story there is no control loop, which would never push such a pair: the wanted state is set by hand.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.fakes.pki import CA, Issued
from tests.stories.harness import filled
from tests.stories.ports import free_port

from everyhop import app
from everyhop.core.hop import Address
from everyhop.core.layout import open_addresses
from everyhop.core.plan import IDENTITY, TRUST_BUNDLE, NodePlan
from everyhop.core.validation import read
from everyhop.doors.xds.server import XdsServer
from everyhop.drivers.host.machine import SystemClock
from everyhop.drivers.planes.envoy import EnvoyPlane
from everyhop.drivers.probes.tls import WireProber
from everyhop.drivers.runners.local import LocalRunner
from everyhop.services.apply import plan_of
from everyhop.services.deploy import BundleMaterial, Deployment, LeafMaterial, NodeTarget

pytestmark = pytest.mark.story

TOPOLOGY = """\
everyhop: 1
trust_domain: small.internal
environment: test
owners: {us: {contact: us@small.example}}
services:
  web: {owner: us, listen: 127.0.0.1:$web, calls: [api]}
  api: {owner: us, listen: 127.0.0.1:$api, calls: [web]}
"""
LIMIT = 20.0


@dataclass
class Plane:
    """Two Envoys, web and api, and the deployment that they follow."""

    deployment: Deployment
    plans: dict[str, NodePlan]
    prober: WireProber

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; it is looked at whenever a proxy has answered."""
        async with asyncio.timeout(LIMIT):
            while not condition():
                self.deployment.bell.clear()
                await self.deployment.bell.wait()

    def accepts(self, node: str, name: str, version: str) -> Callable[[], bool]:
        return lambda: self.deployment.accepted(node, name) == version

    async def serial(self, node: str) -> int | None:
        """The serial that a node serves on its mTLS port."""
        address = next(one.address for one in self.plans[node].listeners if one.name == "inbound")
        return (await self.prober.handshake(address)).serial


@asynccontextmanager
async def two_envoys(ca: CA, first: dict[str, Issued]) -> AsyncGenerator[Plane]:
    with tempfile.TemporaryDirectory(prefix="eh-", dir="/tmp") as folder:
        data = Path(folder)
        topology = read(filled(TOPOLOGY), file="everyhop.yaml", today=app.now().date())
        addresses = {key: Address("127.0.0.1", free_port()) for key in open_addresses(topology)}
        plans = {node.name: node for node in plan_of(topology, addresses, data=folder, file_dir=folder).nodes}
        deployment, pids = Deployment(), dict[str, int]()
        for name, plan in plans.items():
            secrets = {IDENTITY: leaf(first[name]), TRUST_BUNDLE: bundle(ca)}
            deployment.want(NodeTarget(plan, secrets))
        plane = EnvoyPlane(data, data / "xds.sock")
        runner = LocalRunner(data, "isolation")
        door = XdsServer(deployment, may_serve=lambda pid, node: pids.get(node, pid) == pid, log_path=plane.log_path)
        await door.start(data / "xds.sock")
        started = [await runner.start(plane.spec(name)) for name in plans]
        pids.update({one.name.removeprefix("envoy-"): one.pid for one in started})
        try:
            async with asyncio.timeout(LIMIT):
                while not all([await plane.live(name) for name in plans]):
                    await asyncio.sleep(0.05)
            yield Plane(deployment, plans, WireProber(SystemClock()))
        finally:
            for process in started:
                await runner.stop(process)
            await door.stop()


def issue(ca: CA, service: str) -> Issued:
    return ca.issue(uri=f"spiffe://small.internal/test/{service}")


def leaf(issued: Issued) -> LeafMaterial:
    return LeafMaterial(IDENTITY, f"{issued.certificate.serial_number:x}", issued.chain_pem.decode(), issued.key_pem)


def bundle(*authorities: CA) -> BundleMaterial:
    roots = "".join(one.certificate.public_bytes(Encoding.PEM).decode() for one in authorities)
    return BundleMaterial.of(TRUST_BUNDLE, roots)


def test_a_bad_pair_is_refused_alone_and_the_next_good_one_heals() -> None:
    """A certificate with another key is pushed to web, and with it a good new bundle to both.

    web refuses the pair and keeps the old certificate on the wire. As long as the pair is spoilt, Envoy refuses the
    good bundle as well, which goes into the same context; api takes it at once, and a new certificate of its own. The
    next good pair is taken and served, and then the bundle is taken too, without anybody asking for it again.
    """
    ca, newer = CA(), CA("newer root")
    first = {name: issue(ca, name) for name in ("web", "api")}
    good, other, api = issue(ca, "web"), issue(ca, "web"), issue(ca, "api")
    bad = LeafMaterial(IDENTITY, "bad", good.chain_pem.decode(), other.key_pem)
    both = bundle(ca, newer)

    async def story() -> None:
        async with two_envoys(ca, first) as plane:
            deployment = plane.deployment
            assert await plane.serial("web") == first["web"].certificate.serial_number
            deployment.offer("web", bad)
            deployment.offer("web", both)
            deployment.offer("api", both)
            await plane.until(lambda: deployment.refusal("web", IDENTITY) is not None)
            refusal = deployment.refusal("web", IDENTITY)
            assert refusal is not None
            assert refusal.version == "bad"
            assert "PRIVATE KEY" not in refusal.reason
            assert await plane.serial("web") == first["web"].certificate.serial_number
            await plane.until(plane.accepts("api", TRUST_BUNDLE, both.version))
            deployment.offer("api", leaf(api))
            await plane.until(plane.accepts("api", IDENTITY, leaf(api).version))
            assert await plane.serial("api") == api.certificate.serial_number
            assert set(deployment.refusals()) == {"web"}
            deployment.offer("web", leaf(good))
            await plane.until(plane.accepts("web", IDENTITY, leaf(good).version))
            assert await plane.serial("web") == good.certificate.serial_number
            await plane.until(plane.accepts("web", TRUST_BUNDLE, both.version))
            assert not deployment.refusals()

    asyncio.run(story())


def test_going_back_to_the_former_pair_heals_too() -> None:
    """After a refusal the proxy is told again what it had before: also that is a push, and it is taken."""
    ca = CA()
    first = {name: issue(ca, name) for name in ("web", "api")}
    bad = LeafMaterial(IDENTITY, "bad", first["web"].chain_pem.decode(), issue(ca, "web").key_pem)

    async def story() -> None:
        async with two_envoys(ca, first) as plane:
            plane.deployment.offer("web", bad)
            await plane.until(lambda: plane.deployment.refusal("web", IDENTITY) is not None)
            plane.deployment.offer("web", leaf(first["web"]))
            await plane.until(lambda: not plane.deployment.refusals())
            assert await plane.serial("web") == first["web"].certificate.serial_number

    asyncio.run(story())
