"""A store in memory: the port's promises in the plainest words.

Rules: everything that lasts is in a ``Disk``; a store that crashed answers nothing, and a new one on the same disk
goes on. No method awaits anything, so each is one step for every other task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from everyhop.core.ledger import leaf
from everyhop.core.observation import Kind, Observation, Stream
from everyhop.errors import EveryhopError
from everyhop.ports import AuditEntry, Document, Issuance, IssuanceState, Json, Lease, Seal


@dataclass(slots=True)
class Disk:
    """What survives a crash."""

    documents: dict[tuple[str, str], Document] = field(default_factory=dict[tuple[str, str], Document])
    leases: dict[str, Lease] = field(default_factory=dict[str, Lease])
    released: set[str] = field(default_factory=set[str])
    """Leases that nobody holds; their tokens stay."""
    journal: dict[int, Issuance] = field(default_factory=dict[int, Issuance])
    """By serial, oldest first."""
    audit: list[AuditEntry] = field(default_factory=list[AuditEntry])
    observed: list[tuple[Observation, bytes]] = field(default_factory=list[tuple[Observation, bytes]])
    """With their leaf hashes."""
    seals: list[Seal] = field(default_factory=list[Seal])
    revision: int = 0


class MemoryStore:
    """``ports.Store`` on a :class:`Disk`."""

    def __init__(self, disk: Disk | None = None) -> None:
        self.disk = disk or Disk()
        self._alive = True

    def crash(self) -> None:
        """End as kill -9 would; open the same ``disk`` anew to go on."""
        self._alive = False

    async def get(self, kind: str, key: str) -> Document | None:
        self._look()
        document = self.disk.documents.get((kind, key))
        return document and _copy(document)

    async def all(self, kind: str) -> Sequence[Document]:
        self._look()
        return [_copy(document) for (of, _), document in sorted(self.disk.documents.items()) if of == kind]

    async def put(
        self, kind: str, key: str, value: Mapping[str, Json], *, expect: int | None = None, fence: Lease | None = None
    ) -> Document:
        document = _copy(Document(kind, key, dict(value), self._version(kind, key, expect, fence) + 1))
        self.disk.documents[kind, key] = document
        self._wrote()
        return _copy(document)

    async def delete(self, kind: str, key: str, *, expect: int | None = None, fence: Lease | None = None) -> None:
        self._version(kind, key, expect, fence)
        self.disk.documents.pop((kind, key), None)
        self._wrote()

    async def acquire(self, name: str, holder: str, ttl: timedelta, now: datetime) -> Lease | None:
        self._look()
        lease = Lease(name, holder, 1, _utc(now + ttl))
        present = self.disk.leases.get(name)
        if present:
            held = name not in self.disk.released
            if held and present.holder != holder and present.expires_at > now:
                return None
            same = held and present.holder == holder
            lease = replace(lease, token=present.token if same else present.token + 1)
        self.disk.leases[name] = lease
        self.disk.released.discard(name)
        self._wrote()
        return lease

    async def release(self, lease: Lease) -> None:
        self._look()
        present = self.disk.leases.get(lease.name)
        if present and present.token == lease.token:
            self.disk.released.add(lease.name)
            self._wrote()

    async def intend(self, issuance: Issuance) -> Issuance:
        self._look()
        if issuance.state is not IssuanceState.INTENDED or issuance.certificate is not None:
            raise ValueError(f"expected an intent, got an issuance that is {issuance.state}")
        if not 0 < issuance.serial < 1 << 159:
            raise ValueError(f"expected a positive serial of at most 20 octets, got {issuance.serial}")
        known = await self.issuance(request_id=issuance.request_id)
        if known and known.state is not IssuanceState.ABANDONED:
            return known
        if issuance.serial in self.disk.journal:
            raise EveryhopError("store-conflict", f"expected an unused serial number, got {issuance.serial}")
        issuance = replace(
            issuance,
            not_before=_utc(issuance.not_before),
            not_after=_utc(issuance.not_after),
            intended_at=_utc(issuance.intended_at),
        )
        self.disk.journal[issuance.serial] = issuance
        self._wrote()
        return issuance

    async def complete(self, serial: int, certificate: bytes, at: datetime) -> Issuance:
        line = self._line(serial)
        if line.state is IssuanceState.INTENDED:
            line = replace(line, state=IssuanceState.ISSUED, certificate=certificate, finished_at=_utc(at))
            self.disk.journal[serial] = line
            self._wrote()
        if line.certificate != certificate:
            raise EveryhopError("store-conflict", f"expected serial {serial} to be an intent, it is {line.state}")
        return line

    async def abandon(self, serial: int, reason: str, at: datetime) -> None:
        line = self._line(serial)
        if line.state is IssuanceState.ISSUED:
            raise EveryhopError("store-conflict", f"expected serial {serial} to be an intent, it is issued")
        if line.state is IssuanceState.INTENDED:
            line = replace(line, state=IssuanceState.ABANDONED, reason=reason, finished_at=_utc(at))
            self.disk.journal[serial] = line
            self._wrote()

    async def issuance(self, *, request_id: str | None = None, serial: int | None = None) -> Issuance | None:
        self._look()
        if (request_id is None) == (serial is None):
            raise ValueError("expected exactly one of request_id and serial")
        if serial is not None:
            return self.disk.journal.get(serial)
        lines = [line for line in self.disk.journal.values() if line.request_id == request_id]
        return lines[-1] if lines else None

    async def issuances(self, *, state: IssuanceState | None = None, limit: int = 1000) -> Sequence[Issuance]:
        self._look()
        lines = [line for line in reversed(self.disk.journal.values()) if state in (None, line.state)]
        return lines[: max(limit, 0)]

    async def audit(self, entry: AuditEntry) -> AuditEntry:
        self._look()
        details = json.loads(json.dumps(dict(entry.details), allow_nan=False))
        entry = replace(entry, at=_utc(entry.at), details=details, sequence=len(self.disk.audit) + 1)
        self.disk.audit.append(entry)
        self._wrote()
        return entry

    async def audit_log(self, *, limit: int = 1000) -> Sequence[AuditEntry]:
        self._look()
        return self.disk.audit[::-1][: max(limit, 0)]

    async def observe(
        self,
        observations: Sequence[Observation],
        *,
        beside: Mapping[tuple[str, str], Mapping[str, Json]] | None = None,
        fence: Lease | None = None,
    ) -> Sequence[Observation]:
        self._fence(fence)
        documents = [
            _copy(Document(kind, key, dict(value), self._version(kind, key, None, None) + 1))
            for (kind, key), value in (beside or {}).items()
        ]
        following = {stream: self._last(stream) + 1 for stream in Stream}
        numbered: list[Observation] = []
        for one in observations:
            body = json.loads(json.dumps(dict(one.body), allow_nan=False))
            numbered.append(replace(one, at=_utc(one.at), body=body, sequence=following[one.stream]))
            following[one.stream] += 1
        self.disk.observed += [(one, leaf(one)) for one in numbered]
        self.disk.documents |= {(document.kind, document.key): document for document in documents}
        self._wrote()
        return numbered

    async def observations(
        self,
        *,
        stream: Stream = Stream.RECORD,
        kind: Kind | None = None,
        subject: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: int = 0,
        newest_first: bool = False,
        limit: int = 1000,
    ) -> Sequence[Observation]:
        self._look()
        found = [
            one
            for one, _ in self.disk.observed
            if one.stream is stream
            and one.sequence > after
            and kind in (None, one.kind)
            and subject in (None, one.subject)
            and (since is None or one.at >= since)
            and (until is None or one.at < until)
        ]
        return (found[::-1] if newest_first else found)[: max(limit, 0)]

    async def leaves(self, stream: Stream, *, first: int, last: int) -> Sequence[bytes]:
        self._look()
        return [hash_ for one, hash_ in self.disk.observed if one.stream is stream and first <= one.sequence <= last]

    async def seal(self, seal: Seal, *, fence: Lease | None = None) -> None:
        self._fence(fence)
        before = [one for one in self.disk.seals if one.stream is seal.stream]
        expected = (len(before) + 1, before[-1].last + 1 if before else 1)
        if (seal.number, seal.first) != expected or not seal.first <= seal.last <= self._last(seal.stream):
            raise EveryhopError("store-conflict", f"expected the seal {expected}, got {seal.number} from {seal.first}")
        self.disk.seals.append(replace(seal, at=_utc(seal.at)))
        self._wrote()

    async def seals(
        self, stream: Stream, *, after: int = 0, newest_first: bool = False, limit: int = 1000
    ) -> Sequence[Seal]:
        self._look()
        found = [one for one in self.disk.seals if one.stream is stream and one.number > after]
        return (found[::-1] if newest_first else found)[: max(limit, 0)]

    async def forget(self, stream: Stream, *, through: int, at: datetime, fence: Lease | None = None) -> int:
        self._fence(fence)
        gone = [one for one in self.disk.seals if one.stream is stream and one.number <= through]
        last = gone[-1].last if gone else 0
        self.disk.seals = [
            replace(one, forgotten_at=one.forgotten_at or _utc(at)) if one in gone else one for one in self.disk.seals
        ]
        kept = [(one, hash_) for one, hash_ in self.disk.observed if one.stream is not stream or one.sequence > last]
        removed = len(self.disk.observed) - len(kept)
        self.disk.observed = kept
        self._wrote()
        return removed

    async def revision(self) -> int:
        self._look()
        return self.disk.revision

    async def close(self) -> None:
        self._alive = False

    def _look(self) -> None:
        if not self._alive:
            raise EveryhopError("store-unavailable", "expected an open store, got a closed one")

    def _wrote(self) -> None:
        self.disk.revision += 1

    def _last(self, stream: Stream) -> int:
        observed = [one.sequence for one, _ in self.disk.observed if one.stream is stream]
        return max([*observed, *(one.last for one in self.disk.seals if one.stream is stream)], default=0)

    def _fence(self, fence: Lease | None) -> None:
        self._look()
        if fence:
            newest = self.disk.leases.get(fence.name)
            released = fence.name in self.disk.released
            if not newest or released or (newest.holder, newest.token) != (fence.holder, fence.token):
                raise EveryhopError("store-fenced", f"expected to hold the lease {fence.name!r}, it was taken over")

    def _version(self, kind: str, key: str, expect: int | None, fence: Lease | None) -> int:
        self._fence(fence)
        document = self.disk.documents.get((kind, key))
        version = document.version if document else 0
        if expect is not None and expect != version:
            raise EveryhopError("store-conflict", f"expected version {expect} of {kind} {key!r}, got {version}")
        return version

    def _line(self, serial: int) -> Issuance:
        self._look()
        line = self.disk.journal.get(serial)
        if line is None:
            raise EveryhopError("unknown-name", f"expected a journaled serial number, got {serial}")
        return line


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise TypeError(f"expected an aware datetime, got {moment}")
    return moment.astimezone(UTC)


def _copy(document: Document) -> Document:
    """Through JSON, as a real store does: later changes to a caller's dict are not seen."""
    return replace(document, value=json.loads(json.dumps(document.value, allow_nan=False)))
