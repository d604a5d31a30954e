"""Renew: keep every credential of every node alive, from due to seen on the wire.

Rules: level-triggered. A tick compares stored state with the wall clock and does what is next; it may be killed
anywhere and repeated. What must survive is written before what follows from it: request id before key, key before
intent, certificate before push. The former certificate stays in use until the new one was seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from everyhop.core.certificate import CertificateRequest
from everyhop.core.chain import Authority, Trust, pem, serial_text
from everyhop.core.lifecycle import (
    CredentialEvent,
    CredentialState,
    Decision,
    Held,
    RenewalPolicy,
    SeenOnWire,
    Slot,
    close_renewal,
    due_at,
    renewal_decision,
    retry_delay,
)
from everyhop.core.plan import TRUST_BUNDLE, Credential, NodePlan, Plan
from everyhop.core.policy import SYSTEM, IssuancePolicy
from everyhop.core.profile import PROFILES
from everyhop.errors import EveryhopError
from everyhop.ports import Clock, Event, Issuance, KeyPurpose, Keys, Lease, Random, Reporter, Store
from everyhop.services.deploy import BundleMaterial, Deployment, LeafMaterial, NodeTarget
from everyhop.services.establish import Authorities
from everyhop.services.issue import Gate
from everyhop.services.records import SLOTS, Stored

Sightings = Mapping[str, SeenOnWire]
"""By slot key: the newest serial that was seen on the wire for it."""


@dataclass(frozen=True, slots=True)
class Tick:
    """What a tick works with: the plan, the rules, and the right to write."""

    plan: Plan
    policy: IssuancePolicy
    renewal: RenewalPolicy
    fence: Lease | None


_LEAF = "leaf/"


class Renewer:
    """Keeps the slots of a plan."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        gate: Gate,
        authorities: Authorities,
        deployment: Deployment,
        clock: Clock,
        random: Random,
        report: Reporter,
    ) -> None:
        """Everything a renewal touches."""
        self._store = store
        self._keys = keys
        self._gate = gate
        self._authorities = authorities
        self._deployment = deployment
        self._clock = clock
        self._random = random
        self._report = report
        self._revealed: dict[str, bytes] = {}

    async def tick(self, tick: Tick, sightings: Sightings) -> bool:
        """Move every slot as far as it goes now; True if anything moved."""
        trust = (await self._authorities.trust()).value
        signer = await self._authorities.get(trust.signer)
        bundle = BundleMaterial.of(TRUST_BUNDLE, await self._authorities.bundle(trust))
        stored = {one.value.key: one for one in await SLOTS.all(self._store)}
        moved = False
        for node in tick.plan.nodes:
            slots: list[Stored[Slot]] = []
            for credential in node.credentials:
                slot = stored.get(f"{node.name}/{credential.name}")
                fresh = await self._advance(tick, node, credential, slot, signer, sightings)
                moved = moved or slot is None or fresh != slot
                slots.append(fresh)
            moved = await self._want(tick, node, slots, bundle) or moved
        self._deployment.keep_only([node.name for node in tick.plan.nodes])
        planned = {f"{node.name}/{credential.name}" for node in tick.plan.nodes for credential in node.credentials}
        for key in stored.keys() - planned:
            await self._forget(tick, stored[key])
            moved = True
        return moved

    async def sweep(self) -> None:
        """Destroy leaf keys that no slot holds: what was left by crashes and by renewals that failed."""
        slots = [one.value for one in await SLOTS.all(self._store)]
        used = {_key_id(slot.request_id) for slot in slots}
        used |= {held.key_id for slot in slots for held in (slot.current, slot.pending) if held is not None}
        for key_id in await self._keys.ids():
            if key_id.startswith(_LEAF) and key_id not in used:
                await self._keys.destroy(key_id)

    async def _forget(self, tick: Tick, stored: Stored[Slot]) -> None:
        """A credential that is not planned any more: its record goes first, so that a crash leaves only a stray key."""
        slot = stored.value
        await self._store.delete(SLOTS.kind, slot.key, expect=stored.version, fence=tick.fence)
        await self._forget_keys(replace(slot, current=None))

    # --- one slot -------------------------------------------------------------------------------------------------

    async def _advance(
        self,
        tick: Tick,
        node: NodePlan,
        credential: Credential,
        stored: Stored[Slot] | None,
        signer: Authority,
        sightings: Sightings,
    ) -> Stored[Slot]:
        shape = _shape(credential)
        if stored is None:
            stored = await self._begin(tick, node, credential, shape)
        slot, now = stored.value, self._clock.now()
        decision, reason = renewal_decision(slot, shape, signer.name, now)
        if decision is Decision.WAIT:
            return stored
        if decision is Decision.ISSUE:
            request_id = self._request_id(slot.key, slot.generation + 1)
            stored = await self._save(tick, _next_generation(slot, shape, request_id, now), stored, reason)
        if stored.value.state is CredentialState.ISSUING:
            stored = await self._issue(tick, credential, stored, signer)
        if stored.value.state is CredentialState.DEPLOYING:
            stored = await self._deploy(tick, stored)
        if stored.value.state is CredentialState.PROVING:
            stored = await self._prove(tick, stored, sightings.get(stored.value.key))
        return stored

    async def _begin(self, tick: Tick, node: NodePlan, credential: Credential, shape: str) -> Stored[Slot]:
        now, key = self._clock.now(), f"{node.name}/{credential.name}"
        slot = Slot(
            node=node.name,
            name=credential.name,
            state=CredentialState.ISSUING,
            generation=1,
            since=now,
            request_id=self._request_id(key, 1),
            due_at=now,
            shape=shape,
        )
        return await SLOTS.put(self._store, key, slot, expect=0, fence=tick.fence)

    def _request_id(self, key: str, generation: int) -> str:
        """A name for one certificate for ever: also a slot that was removed and came back begins with a new one."""
        return f"{key}@{generation}.{self._random.token()[:12]}"

    async def _issue(self, tick: Tick, credential: Credential, stored: Stored[Slot], signer: Authority) -> Stored[Slot]:
        slot = stored.value
        key_id = _key_id(slot.request_id)
        try:
            public_key = await self._keys.generate(key_id, tick.policy.leaf_key, KeyPurpose.LEAF)
            line = await self._gate.issue(
                _request(slot, credential, public_key, tick.policy), signer.issuer(), tick.policy
            )
        except EveryhopError as error:
            return await self._fail(tick, stored, f"{error.code.name}: {error.message}")
        held = replace(_held(line, key_id, await self._authorities.get(line.issuer)), began_at=slot.since)
        due = due_at(held.issued_at, held.not_after, tick.renewal, self._random.fraction())
        issued = replace(slot.moved(CredentialEvent.ISSUED, self._clock.now()), pending=held, due_at=due)
        return await self._save(tick, issued, stored, f"serial {held.serial}")

    async def _deploy(self, tick: Tick, stored: Stored[Slot]) -> Stored[Slot]:
        slot = stored.value
        if slot.pending is None:
            return await self._fail(tick, stored, "nothing to deploy")
        refusal = self._deployment.refusal(slot.node, slot.name)
        if refusal is not None and refusal.version == slot.pending.serial:
            return await self._fail(tick, stored, f"the proxy refused it: {refusal.reason}")
        if self._deployment.accepted(slot.node, slot.name) != slot.pending.serial:
            return stored
        now = self._clock.now()
        taken = replace(
            slot.moved(CredentialEvent.ACKNOWLEDGED, now), pending=replace(slot.pending, acknowledged_at=now)
        )
        return await self._save(tick, taken, stored, "")

    async def _prove(self, tick: Tick, stored: Stored[Slot], seen: SeenOnWire | None) -> Stored[Slot]:
        slot = stored.value
        if seen is None or slot.pending is None or seen.serial != slot.pending.serial:
            return stored
        closed = await self._save(tick, close_renewal(slot, seen, self._clock.now()), stored, f"by {seen.source}")
        await self._forget_keys(closed.value)
        return closed

    async def _fail(self, tick: Tick, stored: Stored[Slot], fault: str) -> Stored[Slot]:
        slot, now = stored.value, self._clock.now()
        remaining = (slot.current.not_after if slot.current else now) - now
        failed = replace(
            slot.moved(CredentialEvent.REFUSED, now),
            attempts=slot.attempts + 1,
            retry_at=now + retry_delay(slot.attempts, tick.renewal, remaining),
            fault=fault[:500],
            pending=None,
        )
        saved = await self._save(tick, failed, stored, fault)
        await self._forget_keys(failed)
        return saved

    async def _forget_keys(self, slot: Slot) -> None:
        """Destroy every key of a slot but the one in use: also those of generations that never came to be served."""
        in_use = slot.current.key_id if slot.current else ""
        for key_id in await self._keys.ids():
            if key_id.rpartition("@")[0] == _key_id(slot.key) and key_id != in_use:
                self._revealed.pop(key_id, None)
                await self._keys.destroy(key_id)

    async def _save(self, tick: Tick, slot: Slot, stored: Stored[Slot], why: str) -> Stored[Slot]:
        saved = await SLOTS.put(self._store, slot.key, slot, expect=stored.version, fence=tick.fence)
        self._report(
            Event(f"credential.{slot.state}", self._clock.now(), {"slot": slot.key, "why": why, "id": slot.request_id})
        )
        return saved

    # --- what the proxies should have -----------------------------------------------------------------------------

    async def _want(self, tick: Tick, node: NodePlan, slots: list[Stored[Slot]], bundle: BundleMaterial) -> bool:
        """Set what a node should have; True if a slot had to begin anew because its key is lost."""
        secrets: dict[str, LeafMaterial | BundleMaterial] = {bundle.name: bundle}
        lost = False
        for stored in slots:
            slot, held = stored.value, stored.value.offered
            if held is None:
                continue
            try:
                key = self._revealed.get(held.key_id) or await self._keys.reveal(held.key_id)
            except EveryhopError as error:
                # One lost or damaged key concerns one slot: it gets a new one, and the others go on.
                await self._begin_anew(tick, stored, error.message)
                lost = True
                continue
            self._revealed[held.key_id] = key
            secrets[slot.name] = LeafMaterial(slot.name, held.serial, held.certificate, key)
        self._deployment.want(NodeTarget(node, secrets))
        return lost

    async def _begin_anew(self, tick: Tick, stored: Stored[Slot], why: str) -> None:
        slot = replace(stored.value, current=None, pending=None)
        if slot.state is not CredentialState.ISSUING:
            request_id = self._request_id(slot.key, slot.generation + 1)
            slot = _next_generation(slot, slot.shape, request_id, self._clock.now())
        await self._save(tick, slot, stored, why)


def _shape(credential: Credential) -> str:
    text = "|".join([credential.profile, credential.owner, str(credential.identity), *credential.dns_names])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _key_id(request_id: str) -> str:
    """The key of a request; for a slot's name, what the keys of all its requests have before their ``@``."""
    return _LEAF + request_id.replace("*", "_")


def _next_generation(slot: Slot, shape: str, request_id: str, now: datetime) -> Slot:
    event = CredentialEvent.RETRY if slot.state is CredentialState.FAILED else CredentialEvent.DUE
    return replace(
        slot.moved(event, now),
        generation=slot.generation + 1,
        request_id=request_id,
        shape=shape,
        asked=False,
        pending=None,
        current=slot.pending if slot.state is CredentialState.PROVING and slot.pending else slot.current,
    )


def _request(slot: Slot, credential: Credential, public_key: bytes, policy: IssuancePolicy) -> CertificateRequest:
    return CertificateRequest(
        request_id=slot.request_id,
        profile=PROFILES[credential.profile],
        public_key=public_key,
        lifetime=policy.max_lifetimes[credential.profile],
        owner=credential.owner,
        actor=SYSTEM,
        identity=credential.identity,
        dns_names=credential.dns_names,
    )


def _held(line: Issuance, key_id: str, authority: Authority) -> Held:
    return Held(
        request_id=line.request_id,
        key_id=key_id,
        serial=serial_text(line.serial),
        authority=line.issuer,
        certificate=pem(line.certificate or b"") + authority.certificate,
        issued_at=line.intended_at,
        not_before=line.not_before,
        not_after=line.not_after,
    )


def behind(plan: Plan, slots: Mapping[str, Slot], trust: Trust) -> tuple[str, ...]:
    """The slots that were not yet seen serving a certificate of the authority that signs now."""
    found: list[str] = []
    for node in plan.nodes:
        for credential in node.credentials:
            slot = slots.get(f"{node.name}/{credential.name}")
            served = slot is not None and slot.state is CredentialState.SERVED and slot.current is not None
            if not served or slot is None or slot.current is None or slot.current.authority != trust.signer:
                found.append(f"{node.name}/{credential.name}")
    return tuple(found)
