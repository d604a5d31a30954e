"""Present: the certificate of everyhop's own door, the dashboard.

Rules: the key is made here, certified through the one gate under the names that the policy gives the dashboard, and
renewed at half of its life or when the signer or the names have changed; the newcomer is served first, then the former
key is destroyed. While no authority can sign, what there is goes on for as long as it lives.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from everyhop.core.certificate import CertificateRequest, names_of
from everyhop.core.chain import pem
from everyhop.core.policy import SYSTEM, IssuancePolicy
from everyhop.core.profile import PROFILES
from everyhop.errors import EveryhopError
from everyhop.ports import Clock, KeyPurpose, Keys, Lease, Store
from everyhop.services.establish import Authorities
from everyhop.services.issue import Gate
from everyhop.services.records import Records, Stored


@dataclass(frozen=True, slots=True)
class OwnDoor:
    """One key of the dashboard; its chain is empty until it was certified."""

    number: int
    made_at: datetime
    names: tuple[str, ...]
    signer: str = ""
    chain: str = ""
    """PEM: leaf and intermediate."""

    @property
    def key_id(self) -> str:
        """Its name among the private keys."""
        return f"dashboard/{self.number}"

    @property
    def request_id(self) -> str:
        """Under which it is journaled: asking twice issues once."""
        return f"dashboard/{self.number}"


OWN_DOORS = Records("own-door", OwnDoor)


class Presenter:
    """Keeps the dashboard's certificate alive."""

    def __init__(self, store: Store, keys: Keys, gate: Gate, authorities: Authorities, clock: Clock) -> None:
        """Nothing is made before :meth:`credential`."""
        self._store = store
        self._keys = keys
        self._gate = gate
        self._authorities = authorities
        self._clock = clock

    async def credential(self, policy: IssuancePolicy, fence: Lease | None) -> tuple[bytes, bytes]:
        """The chain (PEM, leaf first) and the private key (PKCS#8 PEM) to serve now.

        Raises ``authority-unavailable`` if there is none and no authority can make one.
        """
        known = {one.value.number: one for one in await OWN_DOORS.all(self._store)}
        newest = known[max(known)] if known else None
        if newest is None or (newest.value.chain and await self._due(newest.value, policy)):
            number = max(known, default=0) + 1
            fresh = OwnDoor(number, self._clock.now(), policy.dashboard)
            newest = await OWN_DOORS.put(self._store, _name(number), fresh, expect=0, fence=fence)
        former = [one for number, one in known.items() if number < newest.value.number]
        if not newest.value.chain:
            try:
                newest = await self._certify(newest, policy, fence)
            except EveryhopError as error:
                usable = next((one for one in reversed(former) if self._lives(one.value)), None)
                if error.code.name != "authority-unavailable" or usable is None:
                    raise
                return await self._material(usable.value)
        material = await self._material(newest.value)
        for one in former:
            await self._keys.destroy(one.value.key_id)
            await self._store.delete(OWN_DOORS.kind, _name(one.value.number), expect=one.version, fence=fence)
        return material

    async def _material(self, door: OwnDoor) -> tuple[bytes, bytes]:
        return door.chain.encode(), await self._keys.reveal(door.key_id)

    async def _due(self, door: OwnDoor, policy: IssuancePolicy) -> bool:
        leaf = _leaf(door)
        begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
        served = set(names_of(leaf)) != {f"dns:{name}" for name in policy.dashboard}
        if served or door.signer != (await self._authorities.trust()).value.signer:
            return True
        return self._clock.now() >= begin + (end - begin) / 2 or door.key_id not in await self._keys.ids()

    def _lives(self, door: OwnDoor) -> bool:
        leaf = _leaf(door) if door.chain else None
        return leaf is not None and leaf.not_valid_before_utc <= self._clock.now() < leaf.not_valid_after_utc

    async def _certify(self, stored: Stored[OwnDoor], policy: IssuancePolicy, fence: Lease | None) -> Stored[OwnDoor]:
        door = stored.value
        authority = await self._authorities.get((await self._authorities.trust()).value.signer)
        request = CertificateRequest(
            request_id=door.request_id,
            profile=PROFILES["edge"],
            public_key=await self._keys.generate(door.key_id, policy.leaf_key, KeyPurpose.LEAF),
            lifetime=policy.max_lifetimes["edge"],
            owner=SYSTEM,
            actor=SYSTEM,
            dns_names=door.names,
        )
        line = await self._gate.issue(request, authority.issuer(), policy)
        issuer = await self._authorities.get(line.issuer)
        certified = OwnDoor(
            door.number, door.made_at, door.names, line.issuer, pem(line.certificate or b"") + issuer.certificate
        )
        return await OWN_DOORS.put(self._store, _name(door.number), certified, expect=stored.version, fence=fence)


def _leaf(door: OwnDoor) -> x509.Certificate:
    return x509.load_pem_x509_certificate(door.chain.encode())


def _name(number: int) -> str:
    return f"{number:06d}"
