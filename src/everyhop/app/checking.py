"""Put together what proves the hops of a mesh on the wire: `everyhop check`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from everyhop.app.workspace import Workspace, instance_of
from everyhop.core.layout import issuance_policy
from everyhop.core.profile import KeyAlgorithm
from everyhop.drivers.host.machine import SystemClock, SystemRandom
from everyhop.drivers.keys.algorithms import make, public_bytes
from everyhop.drivers.probes.capture import Capture
from everyhop.drivers.probes.tls import WireProber
from everyhop.drivers.probes.visit import HttpsVisitor
from everyhop.errors import EveryhopError
from everyhop.ports import Store
from everyhop.services.apply import planned
from everyhop.services.check import Check, Checker
from everyhop.services.establish import Authorities
from everyhop.services.issue import Gate
from everyhop.services.observe import PROBE_SOURCE


async def checks(workspace: Workspace, running: Store | None = None) -> AsyncIterator[Check]:
    """Prove every hop of the applied topology on the wire; see :class:`everyhop.services.check.Checker`."""
    async with workspace.store() as opened:
        store = running or opened
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
            lambda ports: Capture(ports=ports, ignored=(PROBE_SOURCE,)),
            HttpsVisitor(source=PROBE_SOURCE),
            asyncio.sleep,
        )
        async for check in checker.check(plan, issuance_policy(topology)):
            yield check


def _key_in_memory(algorithm: KeyAlgorithm) -> tuple[bytes, bytes]:
    key = make(algorithm)
    return public_bytes(key), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
