"""Rotate an authority: the intermediate or the root, without a failed request.

Rules: one resumable story, its states in ``core.lifecycle.ROTATION``. Trust is distributed before anything is signed
with the new authority; every acknowledgement is counted; the old root leaves only when every credential was *seen*
served under the new one. Every step can be repeated after a kill.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from everyhop.core.certificate import NameScope
from everyhop.core.chain import Trust
from everyhop.core.lifecycle import Rotation, RotationEvent, RotationState, Slot
from everyhop.core.plan import TRUST_BUNDLE
from everyhop.errors import EveryhopError
from everyhop.ports import AuditEntry, Clock, Event, Reporter, Store
from everyhop.services.deploy import BundleMaterial, Deployment
from everyhop.services.establish import Authorities, authority_due, authority_unfit, next_name
from everyhop.services.records import ROTATIONS, SLOTS, TRUST, TRUST_KEY, Stored
from everyhop.services.renew import Tick, behind

_TRIES = 50
_HOPELESS = frozenset({"key-refused", "lint-refused", "policy-refused"})
"""Refusals that no repetition changes: the topology changed while the authority was being made."""
_LEAVES_LEFT = 2
"""An overlap ends when the old signer has only this many lives of a leaf left: trust can wait, certificates cannot."""


async def request_rotation(
    store: Store, kind: str, *, reason: str, actor: str, overlap: timedelta, now: datetime
) -> Rotation:
    """Ask for a rotation: a durable wish that the running control loop fulfils. Raises ``rotation-busy`` while any
    rotation is under way, ``authority-unavailable`` before an authority exists."""
    if await TRUST.get(store, TRUST_KEY) is None:
        raise EveryhopError("authority-unavailable", "no authority exists yet", hint="`everyhop up` makes one")
    rotations = await ROTATIONS.all(store)
    for one in rotations:
        if not one.value.finished:
            raise EveryhopError(
                "rotation-busy",
                f"the rotation of the {one.value.kind} that began at {one.value.requested_at:%Y-%m-%d %H:%M:%S} is"
                f" still {one.value.state}",
                hint="`everyhop status` shows what it waits for",
            )
    rotation = Rotation(
        kind=kind,
        number=len(rotations) + 1,
        state=RotationState.CREATING,
        requested_at=now,
        since=now,
        reason=reason,
        new_intermediate=await next_name(store, "intermediate"),
        new_root=await next_name(store, "root") if kind == "root" else "",
        overlap=overlap if kind == "root" else timedelta(0),
    )
    await ROTATIONS.put(store, _key(rotation), rotation, expect=0)
    await store.audit(AuditEntry(now, actor, f"rotate {kind}", _key(rotation), "requested", {"reason": reason}))
    return rotation


async def request_renewal(store: Store, slot_keys: list[str], *, actor: str, now: datetime) -> list[Slot]:
    """Make slots due now (all if none is named). Raises ``unknown-name`` and changes nothing if one does not exist."""
    stored = {one.value.key: one for one in await SLOTS.all(store)}
    unknown = [key for key in slot_keys if key not in stored]
    if unknown:
        raise EveryhopError(
            "unknown-name", f"no certificate is called {unknown[0]}", hint=f"there are: {', '.join(stored) or 'none'}"
        )
    wanted = [await _ask(store, key) for key in slot_keys or list(stored)]
    await store.audit(AuditEntry(now, actor, "rotate leaf", ", ".join(slot_keys) or "all", "requested"))
    return wanted


async def _ask(store: Store, key: str) -> Slot:
    """Mark one slot. The control loop may write it at the same moment: whoever was second reads again."""
    for _ in range(_TRIES):
        stored = await SLOTS.get(store, key)
        if stored is None:
            break
        try:
            return (await SLOTS.put(store, key, replace(stored.value, asked=True), expect=stored.version)).value
        except EveryhopError as error:
            if error.code.name != "store-conflict":
                raise
    raise EveryhopError("store-conflict", f"{key} changed all the time", hint="ask again")


class Rotator:
    """Drives the rotation that is under way, and starts one when an authority grows old."""

    def __init__(
        self, store: Store, authorities: Authorities, deployment: Deployment, clock: Clock, report: Reporter
    ) -> None:
        """Everything a rotation touches."""
        self._store = store
        self._authorities = authorities
        self._deployment = deployment
        self._clock = clock
        self._report = report

    async def tick(self, tick: Tick) -> bool:
        """Move the rotation that is under way as far as it goes now; True if anything moved."""
        moved = False
        for stored in await ROTATIONS.all(self._store):
            while not stored.value.finished:
                further = await self._advance(tick, stored)
                if further is None:
                    break
                stored, moved = further, True
        return moved

    async def start_due(self, overlap: timedelta, scope: NameScope) -> Rotation | None:
        """Start the rotation that an authority's age or the topology's names call for, unless one is under way.

        The root comes first: a new root brings a new intermediate with it. But while nothing can be signed at all, the
        quickest repair does: a new intermediate, if the root can sign one, and no overlap, since nobody is served.
        """
        if any(not one.value.finished for one in await ROTATIONS.all(self._store)):
            return None
        trust, now = (await self._authorities.trust()).value, self._clock.now()
        signer = await self._authorities.get(trust.signer)
        root = await self._authorities.get(signer.parent)
        dead = signer.not_after <= now
        kind, authority, why = "root", root, authority_due(root, scope, now)
        if not why or (dead and not authority_unfit(root, scope, now)):
            kind, authority, why = "intermediate", signer, authority_due(signer, scope, now)
        if not why:
            return None
        return await request_rotation(
            self._store,
            kind,
            reason=f"{authority.name}: {why}",
            actor="everyhop",
            overlap=timedelta(0) if dead else overlap,
            now=now,
        )

    async def _advance(self, tick: Tick, stored: Stored[Rotation]) -> Stored[Rotation] | None:
        steps = {
            RotationState.CREATING: self._create,
            RotationState.DISTRIBUTING: self._distribute,
            RotationState.OVERLAPPING: self._overlap,
            RotationState.REISSUING: self._reissue,
            RotationState.RETIRING: self._retire,
        }
        if why := await self._outlived(tick, stored.value):
            return await self._give_up(tick, stored, why)
        try:
            event, proof = await steps[stored.value.state](tick, stored.value)
        except EveryhopError as error:
            if stored.value.state is not RotationState.CREATING or error.code.name not in _HOPELESS:
                raise
            return await self._give_up(tick, stored, error.message)
        if event is None:
            if stored.value.progress != proof:
                await self._save(tick, replace(stored.value, progress=proof), stored)
            return None
        return await self._save(tick, stored.value.moved(event, self._clock.now(), proof), stored)

    async def _give_up(self, tick: Tick, stored: Stored[Rotation], why: str) -> Stored[Rotation]:
        """End a rotation that can bring nothing; keys that got no certificate make room for those of the next."""
        known = {one.name for one in await self._authorities.all()}
        for name in (stored.value.new_root, stored.value.new_intermediate):
            if name and name not in known:
                await self._authorities.destroy_stray_key(name)
        return await self._save(tick, stored.value.moved(RotationEvent.OUTLIVED, self._clock.now(), why), stored)

    async def _outlived(self, tick: Tick, rotation: Rotation) -> str:
        """Why a rotation can bring nothing any more, or an empty string.

        A machine may sleep, a proxy may be down for months, a topology may name new hosts meanwhile. If the rotation
        under way cannot end well, it must not keep the one from beginning that can.
        """
        known = {one.name: one for one in await self._authorities.all()}
        signer = known[(await self._authorities.trust()).value.signer]
        fresh = known.get(rotation.new_intermediate) or known.get(rotation.new_root)
        if fresh is None:
            fresh = known[signer.parent] if rotation.kind == "intermediate" else None
        signs = rotation.state in (RotationState.REISSUING, RotationState.RETIRING)
        judge = authority_due if signs else authority_unfit
        why = judge(fresh, tick.policy.scope, self._clock.now()) if fresh else ""
        return f"{fresh.name}: {why}" if fresh and why else ""

    # --- steps: each may be repeated, each says what it waits for -------------------------------------------------

    async def _create(self, tick: Tick, rotation: Rotation) -> tuple[RotationEvent | None, str]:
        trust = await self._authorities.trust()
        if rotation.kind == "intermediate":
            root = await self._authorities.get((await self._authorities.get(trust.value.signer)).parent)
            fresh = await self._authorities.make_intermediate(rotation.new_intermediate, root, tick.policy, tick.fence)
            await self._set_trust(tick, trust, replace(trust.value, signer=fresh.name))
            return RotationEvent.INTERMEDIATE_CREATED, f"{fresh.name} signs from now on"
        root = await self._authorities.make_root(rotation.new_root, tick.policy, tick.fence)
        await self._authorities.make_intermediate(rotation.new_intermediate, root, tick.policy, tick.fence)
        bundle = (root.name, *(name for name in trust.value.bundle if name != root.name))
        await self._set_trust(tick, trust, replace(trust.value, bundle=bundle))
        return RotationEvent.ROOT_CREATED, f"the bundle becomes {', '.join(bundle)}"

    async def _distribute(self, tick: Tick, rotation: Rotation) -> tuple[RotationEvent | None, str]:
        bundle, waiting = await self._bundle_acknowledged(tick)
        if waiting:
            return None, f"waits for {', '.join(waiting)} to trust both roots"
        return RotationEvent.ALL_TRUST_BOTH, f"{len(tick.plan.nodes)} of {len(tick.plan.nodes)} trust {bundle}"

    async def _overlap(self, tick: Tick, rotation: Rotation) -> tuple[RotationEvent | None, str]:
        trust, now = await self._authorities.trust(), self._clock.now()
        signer = await self._authorities.get(trust.value.signer)
        over = min(rotation.since + rotation.overlap, signer.not_after - _LEAVES_LEFT * tick.renewal.lifetime)
        if signer.not_before <= now < over:
            return None, f"clients outside have until {over:%Y-%m-%d %H:%M:%S} to trust the new root"
        await self._set_trust(tick, trust, replace(trust.value, signer=rotation.new_intermediate))
        return RotationEvent.OVERLAP_OVER, f"{now - rotation.since} of {rotation.overlap} passed"

    async def _reissue(self, tick: Tick, rotation: Rotation) -> tuple[RotationEvent | None, str]:
        trust = await self._authorities.trust()
        slots = {one.value.key: one.value for one in await SLOTS.all(self._store)}
        waiting = behind(tick.plan, slots, trust.value)
        if waiting:
            return None, f"waits to see {', '.join(waiting)} served under {trust.value.signer}"
        signer = await self._authorities.get(trust.value.signer)
        old = tuple(
            one.name
            for one in await self._authorities.all()
            if one.name not in (signer.name, signer.parent) and one.name not in trust.value.retired
        )
        retired = replace(trust.value, bundle=(signer.parent,), retired=(*trust.value.retired, *old))
        await self._set_trust(tick, trust, retired)
        return RotationEvent.ALL_SERVE_NEW, f"{_served(slots)} certificates seen under {signer.name}"

    async def _retire(self, tick: Tick, rotation: Rotation) -> tuple[RotationEvent | None, str]:
        bundle, waiting = await self._bundle_acknowledged(tick)
        if waiting:
            return None, f"waits for {', '.join(waiting)} to drop the old root"
        trust = await self._authorities.trust()
        await self._authorities.destroy_keys(trust.value.retired)
        return RotationEvent.ALL_DROPPED_OLD, f"{len(tick.plan.nodes)} of {len(tick.plan.nodes)} trust {bundle} only"

    # --- parts ----------------------------------------------------------------------------------------------------

    async def _bundle_acknowledged(self, tick: Tick) -> tuple[str, tuple[str, ...]]:
        """The roots that should be trusted now, and the nodes that have not acknowledged exactly these."""
        trust = (await self._authorities.trust()).value
        material = BundleMaterial.of(TRUST_BUNDLE, await self._authorities.bundle(trust))
        names = [node.name for node in tick.plan.nodes if node.trusts]
        return ", ".join(trust.bundle), self._deployment.behind(names, material.name, material.version)

    async def _set_trust(self, tick: Tick, stored: Stored[Trust], trust: Trust) -> None:
        if trust != stored.value:
            await TRUST.put(self._store, TRUST_KEY, trust, expect=stored.version, fence=tick.fence)

    async def _save(self, tick: Tick, rotation: Rotation, stored: Stored[Rotation]) -> Stored[Rotation]:
        saved = await ROTATIONS.put(self._store, _key(rotation), rotation, expect=stored.version, fence=tick.fence)
        self._report(
            Event(
                f"rotation.{rotation.state}",
                self._clock.now(),
                {"kind": rotation.kind, "progress": rotation.progress or (rotation.history or [("", "")])[-1][1]},
            )
        )
        return saved


def _key(rotation: Rotation) -> str:
    return f"{rotation.number:06d}"


def _served(slots: Mapping[str, Slot]) -> int:
    return sum(1 for slot in slots.values() if slot.seen_at is not None)
