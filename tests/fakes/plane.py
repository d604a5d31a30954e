"""A data plane that records, and Envoys that hold what they were given.

Rules: :class:`FakePlane` implements ``ports.Plane`` by script. :class:`FakeEnvoys` behave like Envoy towards a
``Deployment``: they take one secret at a time, in the worst order, acknowledge it, go on serving it whatever becomes of
the control plane, and tell it what they have when they meet it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache

from cryptography import x509

from everyhop.core.lifecycle import SeenOnWire
from everyhop.ports import Connection, Counters, ProcessSpec, Reading
from everyhop.services.deploy import BundleMaterial, Deployment, LeafMaterial, Material


@dataclass
class FakePlane:
    """What its proxies saw is what a test puts into ``seen``; ``asked`` tells whose processes were asked for."""

    seen: list[Connection] = field(default_factory=list[Connection])
    dead: set[str] = field(default_factory=set[str])
    asked: list[str] = field(default_factory=list[str])
    marks: dict[str, str] = field(default_factory=dict[str, str])
    counted: dict[str, Counters] = field(default_factory=dict[str, Counters])

    def spec(self, node: str) -> ProcessSpec:
        self.asked.append(node)
        return ProcessSpec(f"envoy-{node}", ("envoy", node))

    async def live(self, node: str) -> bool:
        return node not in self.dead

    async def connections(self, node: str, since: str) -> Reading:
        mine = [one for one in self.seen if one.node == node]
        return Reading(tuple(mine[int(since or 0) :]), str(len(mine)))

    async def stored(self, node: str, mark: str) -> None:
        self.marks[node] = mark

    async def counters(self, node: str) -> Counters | None:
        return self.counted.get(node)


@dataclass
class FakeEnvoys:
    """Every proxy's secrets, by node and name. ``refuses`` holds (node, name) of what is not taken."""

    has: dict[str, dict[str, Material]] = field(default_factory=dict[str, dict[str, Material]])
    refuses: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    away: set[str] = field(default_factory=set[str])
    """Proxies that hold no stream now: they go on serving and hear nothing."""
    _met: Deployment | None = None
    _streams: set[str] = field(default_factory=set[str])

    def step(self, deployment: Deployment, nodes: Sequence[str]) -> bool:
        """Let one proxy do one thing: meet the control plane, or take one secret. False when nothing is left."""
        if deployment is not self._met:
            self._met, self._streams = deployment, set()
        return any(node not in self.away and self._step(deployment, node) for node in nodes)

    def _step(self, deployment: Deployment, node: str) -> bool:
        target = deployment.target(node)
        if target is None:
            return False
        has = self.has.setdefault(node, {})
        if node not in self._streams:
            self._streams.add(node)
            deployment.connected(node)
            for name, material in has.items():
                deployment.acknowledge(node, name, material.version)
            return True
        # Leaves before trust: no order between secrets is promised, so the tests take the dangerous one.
        for name, material in sorted(target.secrets.items(), key=lambda one: isinstance(one[1], BundleMaterial)):
            refused = deployment.refusal(node, name)
            if (node, name) in self.refuses:
                if refused is None or refused.version != material.version:
                    deployment.refuse(node, name, material.version, "the proxy does not take it")
                    return True
            elif has.get(name) != material:
                has[name] = material
                deployment.acknowledge(node, name, material.version)
                return True
        return False

    def sightings(self, now: datetime) -> dict[str, SeenOnWire]:
        """What every proxy serves or shows at this moment."""
        return {
            f"{node}/{name}": SeenOnWire(material.version, now, "a fake handshake")
            for node, secrets in self.has.items()
            for name, material in secrets.items()
            if isinstance(material, LeafMaterial)
        }

    def check(self, now: datetime) -> None:
        """What "traffic never stops" means here: every proxy trusts the root of whatever any other serves or shows, and
        nothing that is served is out of its life."""
        roots = {node: _roots(secrets) for node, secrets in self.has.items()}
        for server, secrets in self.has.items():
            for name, leaf in secrets.items():
                if isinstance(leaf, LeafMaterial):
                    top, begins, ends = _chain(leaf.chain)
                    assert begins <= now < ends, f"{server}/{name} is served out of its life"
                    strangers = [node for node, trusted in roots.items() if trusted and top not in trusted]
                    assert not strangers, f"{strangers} do not trust what {server} serves as {name}"


def _roots(secrets: Mapping[str, Material]) -> frozenset[bytes]:
    bundles = [one.roots for one in secrets.values() if isinstance(one, BundleMaterial)]
    return _identifiers(bundles[0]) if bundles else frozenset()


@cache
def _identifiers(bundle: str) -> frozenset[bytes]:
    roots = x509.load_pem_x509_certificates(bundle.encode())
    return frozenset(one.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest for one in roots)


@cache
def _chain(chain: str) -> tuple[bytes, datetime, datetime]:
    """The root's key identifier that a chain leads to, and the life of its leaf; every link is verified."""
    leaf, intermediate = x509.load_pem_x509_certificates(chain.encode())
    leaf.verify_directly_issued_by(intermediate)
    top = intermediate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert top is not None
    return top, leaf.not_valid_before_utc, leaf.not_valid_after_utc
