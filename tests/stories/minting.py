"""Certificates that a story's own clients show: from the mesh's authority by its one gate, beside the running mesh."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.stories.harness import Everyhop

from everyhop import app
from everyhop.core.certificate import CertificateRequest
from everyhop.core.chain import pem
from everyhop.core.identity import SpiffeId
from everyhop.core.layout import issuance_policy
from everyhop.core.profile import PROFILES, KeyAlgorithm
from everyhop.drivers.host.machine import SystemClock, SystemRandom
from everyhop.drivers.keys.algorithms import make, public_bytes
from everyhop.ports import ClientCredential
from everyhop.services.apply import planned
from everyhop.services.establish import Authorities
from everyhop.services.issue import Gate


def mint(mesh: Everyhop, service: str, *, life: timedelta | None = None) -> ClientCredential:
    """A certificate for a service's identity, as if somebody had stolen what that service's proxy has."""

    async def issue() -> ClientCredential:
        async with mesh.workspace.store() as store:
            keys = await mesh.workspace.keys(await app.instance_of(store))
            gate = Gate(store, keys, SystemClock(), SystemRandom(), make)
            authorities = Authorities(store, keys, gate)
            found = await planned(store, str(mesh.data))
            assert found is not None
            topology = found[0]
            policy = replace(issuance_policy(topology), backdate=timedelta(0))
            signer = await authorities.get((await authorities.trust()).value.signer)
            key = make(KeyAlgorithm.P256)
            identity: SpiffeId = topology.identity(service)
            request = CertificateRequest(
                request_id=f"stolen/{SystemRandom().token()}",
                profile=PROFILES["service"],
                public_key=public_bytes(key),
                lifetime=life or policy.max_lifetimes["service"],
                owner=topology.services[service].owner,
                actor="somebody",
                identity=identity,
            )
            line = await gate.issue(request, signer.issuer(), policy)
            chain = (pem(line.certificate or b"") + signer.certificate).encode()
            return ClientCredential(chain, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    return asyncio.run(issue())
