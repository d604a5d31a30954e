"""Questions about the authority and its certificates: do they live, do they hold together, are they renewed in time?"""

from __future__ import annotations

from datetime import datetime, timedelta

from everyhop.core.chain import Authority, Trust
from everyhop.core.health.examination import Answer, Examination, few, of_books
from everyhop.core.health.facts import Books, Patient
from everyhop.core.lifecycle import ROTATION, CredentialState, Slot
from everyhop.core.verdict import Verdict

_SPENT = 0.75
"""The share of an authority's life after which it should have been replaced: rotations begin at half."""
_OVERDUE = timedelta(minutes=1)
_PATIENCE = timedelta(hours=1)
"""How long a rotation may stay in one state beyond its overlap."""
_SOON = timedelta(days=14)

_NO_AUTHORITY: Answer = (Verdict.NOT_APPLICABLE, "no authority exists yet")


def _in_use(books: Books, trust: Trust) -> list[Authority]:
    names = {trust.signer, *trust.bundle}
    return [one for one in books.authorities if one.name in names]


def _life(patient: Patient, books: Books) -> Answer:
    if books.trust is None:
        return _NO_AUTHORITY
    troubles = [trouble for one in _in_use(books, books.trust) if (trouble := _trouble(one, patient.at))]
    if troubles:
        return Verdict.FAIL, "; ".join(troubles), "`everyhop up` replaces it; `everyhop rotate` does it now"
    first = min(_in_use(books, books.trust), key=lambda one: one.not_after, default=None)
    if first is None:
        return Verdict.FAIL, "the authorities that are trusted are not in the store", "bring back a backup"
    return Verdict.PASS, f"the first to end is {first.name}, on {first.not_after:%Y-%m-%d}"


def _trouble(authority: Authority, at: datetime) -> str:
    if at >= authority.not_after:
        return f"{authority.name} ended on {authority.not_after:%Y-%m-%d %H:%M} UTC"
    spent = (at - authority.issued_at) / (authority.not_after - authority.issued_at)
    return f"{authority.name} has {1 - spent:.0%} of its life left and was not replaced" if spent > _SPENT else ""


def _chain(patient: Patient, books: Books) -> Answer:
    if books.trust is None:
        return _NO_AUTHORITY
    by_name = {one.name: one for one in books.authorities}
    signer = by_name.get(books.trust.signer)
    missing = [name for name in books.trust.bundle if name not in by_name]
    if signer is None or missing:
        return Verdict.FAIL, f"not in the store: {few(missing or [books.trust.signer])}", "bring back a backup"
    if signer.parent not in books.trust.bundle:
        return (
            Verdict.FAIL,
            f"{signer.name} signs, and its root {signer.parent} is not trusted",
            "`everyhop rotate root`",
        )
    for child, parent in ((signer, by_name[signer.parent]), (by_name[signer.parent], by_name[signer.parent])):
        if (fault := _link_fault(child, parent)) is not None:
            return Verdict.FAIL, f"{child.name} is not signed by {parent.name}: {fault}", "bring back a backup"
    return Verdict.PASS, f"{signer.name} signs, under {signer.parent}"


def _link_fault(child: Authority, parent: Authority) -> str | None:
    try:
        child.x509.verify_directly_issued_by(parent.x509)
    except Exception as error:  # noqa: BLE001  # whatever is wrong with a stored certificate is the finding
        return type(error).__name__
    return None


def _renewals(patient: Patient, books: Books) -> Answer:
    if not books.slots:
        return Verdict.NOT_APPLICABLE, "no certificate was issued yet"
    late = [trouble for slot in books.slots if (trouble := _late(slot, patient.at))]
    if late:
        hint = (
            "`everyhop certs` shows why" if patient.runs else "nobody renews while everyhop does not run: `everyhop up`"
        )
        return Verdict.FAIL, few(late), hint
    due = min(slot.due_at for slot in books.slots)
    return Verdict.PASS, f"{len(books.slots)} certificates, the next is due at {due:%Y-%m-%d %H:%M} UTC"


def _late(slot: Slot, at: datetime) -> str:
    if slot.current is not None and at >= slot.current.not_after:
        return f"{slot.key} ended at {slot.current.not_after:%Y-%m-%d %H:%M} UTC"
    if slot.state is CredentialState.FAILED:
        return f"{slot.key} failed: {slot.fault}"
    since = slot.due_at if slot.state is CredentialState.SERVED else slot.since
    return f"{slot.key} is {slot.state} and overdue" if at - since > _OVERDUE else ""


def _rotation(patient: Patient, books: Books) -> Answer:
    under_way = [one for one in books.rotations if one.state not in ROTATION.final]
    if not under_way:
        return Verdict.PASS, "no rotation is under way"
    newest = under_way[-1]
    told = f"rotation {newest.number} of the {newest.kind} is {newest.state} since {newest.since:%Y-%m-%d %H:%M} UTC"
    if patient.at - newest.since > newest.overlap + _PATIENCE:
        return Verdict.FAIL, f"{told}: {newest.progress}", "`everyhop status` says what is awaited"
    return Verdict.PASS, told


def _exceptions(patient: Patient, books: Books) -> Answer:
    if books.topology is None or not books.topology.exceptions:
        return Verdict.NOT_APPLICABLE, "the topology has no exceptions"
    today = patient.at.date()
    ended = [f"{one.hop} on {one.until}" for one in books.topology.exceptions if one.until < today]
    if ended:
        return Verdict.FAIL, f"exceptions have ended: {few(ended)}", "encrypt these hops, or ask their owners"
    soon = [f"{one.hop} on {one.until}" for one in books.topology.exceptions if one.until - today <= _SOON]
    if soon:
        return Verdict.PASS, f"exceptions end soon: {few(soon)}", "encrypt these hops before"
    return Verdict.PASS, f"{len(books.topology.exceptions)} exceptions, none ends within {_SOON.days} days"


AUTHORITY = (
    Examination("authority-life", "Have root and intermediate enough life left?", of_books(_life)),
    Examination("authority-chain", "Does the signer lead to a trusted root?", of_books(_chain)),
    Examination("renewals", "Is every certificate renewed in time?", of_books(_renewals)),
    Examination("rotation", "Does a rotation that is under way go on?", of_books(_rotation)),
    Examination("exceptions", "Do the topology's exceptions still hold?", of_books(_exceptions)),
)
