"""Establish the authority of a trust domain: a root, an issuing intermediate, and the record of who signs.

Rules: every step can be repeated; keys and certificates have fixed names, so that a restart finds what a crash left.
A root's key signs intermediates and is locked again. An authority is known to the store before anything trusts it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from everyhop.core.certificate import CertificateRequest, Issuer, NameScope, scope_of
from everyhop.core.chain import Authority, Trust, pem
from everyhop.core.policy import SYSTEM, IssuancePolicy
from everyhop.core.profile import PROFILES, KeyAlgorithm
from everyhop.errors import EveryhopError
from everyhop.ports import Issuance, KeyPurpose, Keys, Lease, Store
from everyhop.services.issue import Gate, certificate_of
from everyhop.services.records import AUTHORITIES, TRUST, TRUST_KEY, Stored

_AUTHORITY = re.compile(r"(root|intermediate)-\d+\Z")


class Authorities:
    """The authorities of one trust domain."""

    def __init__(self, store: Store, keys: Keys, gate: Gate) -> None:
        """What is kept, where the keys are, and the only way to a signature."""
        self._store = store
        self._keys = keys
        self._gate = gate

    async def trust(self) -> Stored[Trust]:
        """Who signs now and whom everybody trusts; raises ``authority-unavailable`` before :meth:`establish`."""
        found = await TRUST.get(self._store, TRUST_KEY)
        if found is None:
            raise EveryhopError("authority-unavailable", "no authority exists yet", hint="`everyhop up` makes one")
        return found

    async def establish(self, policy: IssuancePolicy, fence: Lease | None = None) -> Trust:
        """Make sure that a root, an intermediate and the trust record exist; returns the record."""
        found = await TRUST.get(self._store, TRUST_KEY)
        if found is not None:
            return found.value
        root = await self.make_root("root-1", policy, fence)
        intermediate = await self.make_intermediate("intermediate-1", root, policy, fence)
        trust = Trust(signer=intermediate.name, bundle=(root.name,))
        await TRUST.put(self._store, TRUST_KEY, trust, expect=0, fence=fence)
        return trust

    async def make_root(self, name: str, policy: IssuancePolicy, fence: Lease | None = None) -> Authority:
        """Make a root that signs itself, or return the one that exists under this name."""
        if known := await AUTHORITIES.get(self._store, name):
            return known.value
        algorithm = policy.authority_key
        public_key = await self._keys.generate(name, algorithm, KeyPurpose.ROOT)
        issuer = Issuer(name, name, algorithm)
        request = _request(name, "root", public_key, policy)
        line = await self._gate.issue(request, issuer, policy)
        return await self._keep(name, "root", name, algorithm, line, fence)

    async def make_intermediate(
        self, name: str, root: Authority, policy: IssuancePolicy, fence: Lease | None = None
    ) -> Authority:
        """Make an intermediate under ``root``, or return the one that exists under this name."""
        if known := await AUTHORITIES.get(self._store, name):
            return known.value
        algorithm = policy.authority_key
        public_key = await self._keys.generate(name, algorithm, KeyPurpose.ISSUER)
        request = _request(name, "intermediate", public_key, policy)
        line = await self._gate.issue(request, root.issuer(), policy)
        return await self._keep(name, "intermediate", root.name, algorithm, line, fence)

    async def get(self, name: str) -> Authority:
        """An authority by name; raises ``unknown-name``."""
        found = await AUTHORITIES.get(self._store, name)
        if found is None:
            raise EveryhopError("unknown-name", f"no authority is called {name}", hint="`everyhop certs` lists them")
        return found.value

    async def all(self) -> Sequence[Authority]:
        """Every authority that was ever made here."""
        return [one.value for one in await AUTHORITIES.all(self._store)]

    async def key_ids(self) -> dict[str, str]:
        """Which key belongs to which authority, also while its certificate is still an open intent."""
        return {name: name for name in await self._keys.ids() if _AUTHORITY.match(name)}

    async def bundle(self, trust: Trust) -> str:
        """The roots that are trusted now, as PEM."""
        return "".join([(await self.get(name)).certificate for name in trust.bundle])

    async def destroy_keys(self, names: Iterable[str]) -> None:
        """Forget the private keys of authorities that are out of use for ever."""
        for name in names:
            await self._keys.destroy((await self.get(name)).key_id)

    async def destroy_stray_key(self, name: str) -> None:
        """Forget a key that was made for an authority which never came to be."""
        await self._keys.destroy(name)

    async def _keep(
        self, name: str, kind: str, parent: str, algorithm: KeyAlgorithm, line: Issuance, fence: Lease | None
    ) -> Authority:
        certificate = certificate_of(line)
        authority = Authority(
            name=name,
            kind=kind,
            key_id=name,
            algorithm=algorithm,
            certificate=pem(line.certificate or b""),
            parent=parent,
            issued_at=line.intended_at,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
        )
        await AUTHORITIES.put(self._store, name, authority, fence=fence)
        return authority


def _request(name: str, profile: str, public_key: bytes, policy: IssuancePolicy) -> CertificateRequest:
    return CertificateRequest(
        request_id=f"authority/{name}",
        profile=PROFILES[profile],
        public_key=public_key,
        lifetime=policy.max_lifetimes[profile],
        owner=SYSTEM,
        actor=SYSTEM,
        common_name=f"everyhop {policy.trust_domain} {name}"[:64],
        scope=policy.scope,
    )


async def next_name(store: Store, kind: str) -> str:
    """The name of the next authority of a kind: one more than the highest there is."""
    found = [one.value for one in await AUTHORITIES.all(store) if one.value.kind == kind]
    return f"{kind}-{max((int(one.name.rpartition('-')[2]) for one in found), default=0) + 1}"


def authority_unfit(authority: Authority, scope: NameScope, now: datetime) -> str:
    """Why an authority cannot do its work, or an empty string: its life is over, or the topology has names that it may
    not vouch for.

    A clock that stands before its life is no reason: a machine that boots without the right time must not throw its
    root away. The gate refuses to sign until the clock is right.
    """
    if now >= authority.not_after:
        return "it has expired"
    own = scope_of(authority.x509)
    return "" if own is None or own.covers(scope) else "the topology has names outside of its name constraints"


def authority_due(authority: Authority, scope: NameScope, now: datetime) -> str:
    """Why an authority should be replaced now, or an empty string: it is unfit, or half of its life is over."""
    aged = now - authority.issued_at >= (authority.not_after - authority.issued_at) / 2
    return authority_unfit(authority, scope, now) or ("half of its life is over" if aged else "")
