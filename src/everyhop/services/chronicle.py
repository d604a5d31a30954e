"""Chronicle: what the authority did, told as observations, exactly once.

Rules: everything that was signed, abandoned or refused, every step of a rotation and every credential that was seen on
the wire or failed becomes one observation. How far the journal, the audit log and the records were told is written in
the same transaction, so that a crash neither loses nor repeats one. The journal is followed by its own order, never by
the clock. Nothing secret is in it: public certificates stand there by their SHA-256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from everyhop.core.chain import serial_text
from everyhop.core.lifecycle import CredentialState, Rotation, Slot
from everyhop.core.observation import Kind, Observation, Plain, Source
from everyhop.core.verdict import Verdict
from everyhop.ports import AuditEntry, Issuance, IssuanceState, Lease, Store
from everyhop.services.records import ROTATIONS, SLOTS, Records

BY = "everyhop's authority"
_FIRST_LOOK = 100
_LONGEST = 300
"""Characters of a text that somebody else may have written."""
_ACTIONS = ("issue ", "rotate ")
"""Audit entries that tell of certificates; the others stay in the audit log."""


@dataclass(frozen=True, slots=True)
class Chronicled:
    """How far everything was told."""

    anchor: str = ""
    """The serial of the newest journal line that is told together with all before it; empty: none yet."""
    told: tuple[str, ...] = ()
    """Serials after the anchor that are told already."""
    entry: int = 0
    """The audit log's last entry."""
    rotations: Mapping[str, int] = field(default_factory=dict[str, int])
    """By rotation: how many states it had left behind."""
    slots: Mapping[str, str] = field(default_factory=dict[str, str])
    """By slot: generation and state that were told last."""


CHRONICLED = Records("chronicled", Chronicled)
_KEY = "current"


class Chronicler:
    """Turns what the authority did into observations."""

    def __init__(self, store: Store) -> None:
        """Everything comes from the store and goes into it."""
        self._store = store
        self._mark: Chronicled | None = None

    async def tick(self, fence: Lease | None) -> int:
        """Tell what happened since the last time; returns how many observations that made."""
        if self._mark is None:
            known = await CHRONICLED.get(self._store, _KEY)
            self._mark = known.value if known else Chronicled()
        issued, mark = await self._journal(self._mark)
        refused, mark = await self._audit_log(mark)
        rotated, mark = await self._rotations(mark)
        served, mark = await self._slots(mark)
        told = [*issued, *refused, *rotated, *served]
        if mark != self._mark:
            beside = {(CHRONICLED.kind, _KEY): CHRONICLED.encode(mark)}
            self._mark = None  # unknown while it is being written
            await self._store.observe(sorted(told, key=lambda one: one.at), beside=beside, fence=fence)
            self._mark = mark
        return len(told)

    # --- the journal ----------------------------------------------------------------------------------------------

    async def _journal(self, mark: Chronicled) -> tuple[list[Observation], Chronicled]:
        lines = await self._after(mark.anchor)
        told = set(mark.told)
        fresh = [line for line in lines if line.state is not IssuanceState.INTENDED]
        found = [_issuance(line) for line in fresh if serial_text(line.serial) not in told]
        told |= {serial_text(line.serial) for line in fresh}
        anchor = mark.anchor
        for line in lines:
            if serial_text(line.serial) not in told:
                break
            anchor = serial_text(line.serial)
            told.discard(anchor)
        return found, replace(mark, anchor=anchor, told=tuple(sorted(told)))

    async def _after(self, anchor: str) -> list[Issuance]:
        """Journal lines after the anchor, oldest first."""
        limit = _FIRST_LOOK
        while True:
            lines = await self._store.issuances(limit=limit)
            serials = [serial_text(line.serial) for line in lines]
            if anchor in serials:
                return list(reversed(lines[: serials.index(anchor)]))
            if len(lines) < limit:
                return list(reversed(lines))
            limit *= 4

    # --- the audit log --------------------------------------------------------------------------------------------

    async def _audit_log(self, mark: Chronicled) -> tuple[list[Observation], Chronicled]:
        limit = _FIRST_LOOK
        while True:
            entries = await self._store.audit_log(limit=limit)
            if len(entries) < limit or entries[-1].sequence <= mark.entry:
                break
            limit *= 4
        fresh = [one for one in reversed(entries) if one.sequence > mark.entry]
        found = [_entry(one) for one in fresh if one.action.startswith(_ACTIONS)]
        return found, replace(mark, entry=fresh[-1].sequence) if fresh else mark

    # --- rotations and credentials --------------------------------------------------------------------------------

    async def _rotations(self, mark: Chronicled) -> tuple[list[Observation], Chronicled]:
        rotations = [one.value for one in await ROTATIONS.all(self._store)]
        known = {f"{one.number:06d}": one for one in rotations}
        found = [
            _step(rotation, number)
            for key, rotation in known.items()
            for number in range(mark.rotations.get(key, 0), len(rotation.history))
        ]
        return found, replace(mark, rotations={key: len(one.history) for key, one in known.items()})

    async def _slots(self, mark: Chronicled) -> tuple[list[Observation], Chronicled]:
        known = {one.value.key: one.value for one in await SLOTS.all(self._store)}
        found: list[Observation] = []
        told: dict[str, str] = {}
        for key, slot in known.items():
            ended = slot.state in (CredentialState.SERVED, CredentialState.FAILED)
            state = f"{slot.generation} {slot.state}"
            told[key] = state if ended else mark.slots.get(key, "")
            if ended and mark.slots.get(key) != state:
                found.append(_credential(slot))
        return found, replace(mark, slots=told)


def _fact(at: datetime, subject: str, verdict: Verdict, body: dict[str, Plain]) -> Observation:
    return Observation(at, Kind.CERTIFICATE, Source.AUTHORITY, subject[:_LONGEST], BY, verdict, body)


def _issuance(line: Issuance) -> Observation:
    """A journal line that came to its end. The subject is the credential, whatever its generation."""
    signed = line.state is IssuanceState.ISSUED
    body: dict[str, Plain] = {
        "event": "issued" if signed else "abandoned",
        "serial": serial_text(line.serial),
        "profile": line.profile,
        "profile_digest": line.profile_digest,
        "issuer": line.issuer,
        "owner": line.owner,
        "names": list(line.names),
        "request": line.request_id,
        "decision": line.decision[:_LONGEST],
        "not_before": line.not_before.isoformat(),
        "not_after": line.not_after.isoformat(),
        "certificate_sha256": hashlib.sha256(line.certificate or b"").hexdigest() if signed else "",
        "reason": line.reason[:_LONGEST],
    }
    verdict = Verdict.PASS if signed else Verdict.NOT_APPLICABLE
    return _fact(line.finished_at or line.intended_at, line.request_id.partition("@")[0], verdict, body)


def _entry(entry: AuditEntry) -> Observation:
    """What the gate refused, and what somebody asked for. A refusal by policy or lint is the gate at its work."""
    code, why = str(entry.details.get("code", "")), str(entry.details.get("why", entry.details.get("reason", "")))
    refused = entry.outcome == "refused"
    worked = not refused or code in ("policy-refused", "lint-refused")
    body: dict[str, Plain] = {
        "event": entry.outcome[:_LONGEST],
        "action": entry.action[:_LONGEST],
        "actor": entry.actor[:_LONGEST],
        "request": str(entry.details.get("request", ""))[:_LONGEST],
        "code": code,
        "reason": why[:_LONGEST],
        "entry": entry.sequence,
    }
    return _fact(entry.at, entry.subject, Verdict.PASS if worked else Verdict.FAIL, body)


def _step(rotation: Rotation, number: int) -> Observation:
    """A state that a rotation left behind, and the proof of leaving."""
    state, left = rotation.history[number]
    moment, _, proof = left.partition(" ")
    into = rotation.history[number + 1][0] if number + 1 < len(rotation.history) else str(rotation.state)
    body: dict[str, Plain] = {
        "event": "rotation",
        "rotation": rotation.kind,
        "number": rotation.number,
        "from": state,
        "to": into,
        "proof": proof[:_LONGEST],
        "reason": rotation.reason[:_LONGEST],
        "intermediate": rotation.new_intermediate,
        "root": rotation.new_root,
    }
    verdict = Verdict.NOT_APPLICABLE if into == "given up" else Verdict.PASS
    return _fact(datetime.fromisoformat(moment), f"rotation {rotation.number}", verdict, body)


def _credential(slot: Slot) -> Observation:
    """A credential that was seen on the wire, or whose renewal failed."""
    held = slot.current
    served = slot.state is CredentialState.SERVED
    body: dict[str, Plain] = {
        "event": "seen on the wire" if served else "failed",
        "generation": slot.generation,
        "serial": held.serial if held else "",
        "issuer": held.authority if held else "",
        "not_before": held.not_before.isoformat() if held else "",
        "not_after": held.not_after.isoformat() if held else "",
        "due_at": slot.due_at.isoformat(),
        "request": held.request_id if served and held else slot.request_id,
        "began_at": _moment(held.began_at if served and held else None),
        "acknowledged_at": _moment(held.acknowledged_at if served and held else None),
        "reason": slot.fault[:_LONGEST],
    }
    at = slot.seen_at if served and slot.seen_at else slot.since
    return _fact(at, slot.key, Verdict.PASS if served else Verdict.FAIL, body)


def _moment(at: datetime | None) -> str:
    return at.isoformat() if at else ""
