"""Deploy: what every proxy should have now, what it acknowledged, and what it refused.

Rules: the deployment holds the wanted state and the answers; it is level-triggered. A door reads the wanted state and
reports answers; services change the wanted state and compare. Nothing here is durable, on purpose: a proxy that
reconnects says what it has, and that is the truth. Versions are contents: the same content is never pushed twice.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from everyhop.core.plan import NodePlan


@dataclass(frozen=True, slots=True)
class LeafMaterial:
    """A certificate with its key, as the proxy serves or shows it."""

    name: str
    version: str
    """The serial, in hexadecimal."""
    chain: str
    """PEM: leaf, then intermediates."""
    key: bytes = field(repr=False)
    """PKCS#8 PEM; in memory only."""


@dataclass(frozen=True, slots=True)
class BundleMaterial:
    """The roots a proxy trusts."""

    name: str
    version: str
    roots: str
    """PEM."""

    @classmethod
    def of(cls, name: str, roots: str) -> BundleMaterial:
        """A bundle whose version is its content."""
        return cls(name, hashlib.sha256(roots.encode()).hexdigest()[:16], roots)


Material = LeafMaterial | BundleMaterial


@dataclass(frozen=True, slots=True)
class NodeTarget:
    """Everything that one proxy should have now."""

    plan: NodePlan
    secrets: Mapping[str, Material]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A proxy's word that it does not take a resource."""

    version: str
    reason: str


@dataclass(slots=True)
class _Node:
    target: NodeTarget
    streams: int = 0
    accepted: dict[str, str] = field(default_factory=dict[str, str])
    refused: dict[str, Refusal] = field(default_factory=dict[str, Refusal])
    wanted_changed: asyncio.Event = field(default_factory=asyncio.Event)

    def forget_refusals(self) -> None:
        """Drop the refusals of what is not wanted any more: they are nobody's fault now."""
        plan = self.target.plan
        wanted = {*self.target.secrets, *(one.name for one in (*plan.listeners, *plan.upstreams))}
        self.refused = {name: refusal for name, refusal in self.refused.items() if name in wanted}


class Deployment:
    """The wanted state of all proxies on this host, and their answers."""

    def __init__(self) -> None:
        """Empty: nothing is wanted yet."""
        self._nodes: dict[str, _Node] = {}
        self.bell = asyncio.Event()
        """Rings when any proxy answered, connected or went away: whoever waits for progress looks again."""

    # --- for services: wanted state -------------------------------------------------------------------------------

    def want(self, target: NodeTarget) -> None:
        """Set what a node should have."""
        name = target.plan.name
        node = self._nodes.get(name)
        if node is None:
            self._nodes[name] = _Node(target)
            self.bell.set()
        elif node.target != target:
            node.target = target
            node.forget_refusals()
            self._wake(node)

    def offer(self, node_name: str, material: Material) -> None:
        """Set one secret of a node, leaving the rest."""
        node = self._nodes[node_name]
        if node.target.secrets.get(material.name) != material:
            node.target = replace(node.target, secrets={**node.target.secrets, material.name: material})
            self._wake(node)

    def forget(self, node_name: str) -> None:
        """A node that is not wanted any more."""
        node = self._nodes.pop(node_name, None)
        if node is not None:
            self._wake(node)

    def keep_only(self, node_names: Iterable[str]) -> None:
        """Forget every node but these."""
        for name in self._nodes.keys() - set(node_names):
            self.forget(name)

    def accepted(self, node_name: str, resource: str) -> str | None:
        """The version of a resource that a connected proxy acknowledged, or None."""
        node = self._nodes.get(node_name)
        return node.accepted.get(resource) if node and node.streams else None

    def refusal(self, node_name: str, resource: str) -> Refusal | None:
        """The proxy's last refusal of a resource, if it has not accepted a version since."""
        node = self._nodes.get(node_name)
        return node.refused.get(resource) if node else None

    def refusals(self) -> Mapping[str, Mapping[str, Refusal]]:
        """Every standing refusal, by node and resource."""
        return {name: dict(node.refused) for name, node in self._nodes.items() if node.refused}

    def is_connected(self, node_name: str) -> bool:
        """True while the proxy holds a stream."""
        node = self._nodes.get(node_name)
        return bool(node and node.streams)

    def behind(self, node_names: Iterable[str], resource: str, version: str) -> tuple[str, ...]:
        """Those of the nodes that have not acknowledged this very version: the count that gates a rotation.

        The version is an argument, not what is wanted at the moment: a question asked before the wanted state was
        updated must not be answered with yes.
        """
        return tuple(name for name in node_names if self.accepted(name, resource) != version)

    # --- for doors: reading and answering -------------------------------------------------------------------------

    def target(self, node_name: str) -> NodeTarget | None:
        """What a node should have, or None if no such node is wanted."""
        node = self._nodes.get(node_name)
        return node.target if node else None

    async def changed(self, node_name: str) -> None:
        """Wait until the wanted state of a node may have changed."""
        node = self._nodes.get(node_name)
        if node is not None:
            await node.wanted_changed.wait()
            node.wanted_changed = asyncio.Event()

    def connected(self, node_name: str) -> None:
        """A stream of this node began: what it has will be told by the stream, not remembered."""
        if node := self._nodes.get(node_name):
            # Also when a former stream has not ended yet: what that one told is not what this proxy has.
            node.accepted.clear()
            node.refused.clear()
            node.streams += 1
            self.bell.set()

    def disconnected(self, node_name: str) -> None:
        """A stream of this node ended."""
        if node := self._nodes.get(node_name):
            node.streams = max(0, node.streams - 1)
            self.bell.set()

    def acknowledge(self, node_name: str, resource: str, version: str) -> None:
        """The proxy took a version."""
        if node := self._nodes.get(node_name):
            node.accepted[resource] = version
            node.refused.pop(resource, None)
            self.bell.set()

    def refuse(self, node_name: str, resource: str, version: str, reason: str) -> None:
        """The proxy refused a version; what it had before stays in use."""
        if node := self._nodes.get(node_name):
            node.refused[resource] = Refusal(version, reason)
            self.bell.set()

    def _wake(self, node: _Node) -> None:
        node.wanted_changed.set()
        self.bell.set()
