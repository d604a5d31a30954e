"""Durable state: documents, leases, the issuance journal, the audit log, observations and their seals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from everyhop.core.observation import Kind, Observation, Stream
from everyhop.ports.host import Json


@dataclass(frozen=True, slots=True)
class Document:
    """One record under compare-and-swap: ``version`` starts at 1 and grows by 1 with every write."""

    kind: str
    key: str
    value: dict[str, Json]
    version: int


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to do a piece of work until ``expires_at``; ``token`` only grows, so that old holders are fenced."""

    name: str
    holder: str
    token: int
    expires_at: datetime


class IssuanceState(StrEnum):
    """Where an issuance stands: intended (journaled, key not touched), issued, or abandoned."""

    INTENDED = "intended"
    ISSUED = "issued"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class Issuance:
    """A line of the issuance journal: what was going to be signed, stored before the key was touched."""

    request_id: str
    """Whoever asks twice with the same id gets the same certificate: issued once, whatever crashes between."""
    serial: int
    issuer: str
    """The authority that signs."""
    profile: str
    profile_digest: str
    subject: str
    """The identity or first name, for people and searches."""
    owner: str
    names: tuple[str, ...]
    """Every SAN as ``uri:...``, ``dns:...`` or ``ip:...``."""
    tbs: bytes
    """The exact to-be-signed bytes (DER)."""
    algorithm: bytes
    """The signature's AlgorithmIdentifier (DER)."""
    decision: str
    """Why policy allowed it."""
    not_before: datetime
    not_after: datetime
    intended_at: datetime
    state: IssuanceState = IssuanceState.INTENDED
    certificate: bytes | None = None
    """DER, once signed."""
    finished_at: datetime | None = None
    reason: str = ""
    """Why it was abandoned."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to what, and what came of it. ``details`` holds no secret."""

    at: datetime
    actor: str
    action: str
    subject: str
    outcome: str
    details: Mapping[str, Json] = field(default_factory=dict[str, Json])
    sequence: int = 0
    """Given by the store: 1, 2, 3 ... without gaps."""


@dataclass(frozen=True, slots=True)
class Seal:
    """A signed head over consecutive observations of one stream (RFC 6962's tree hash over their leaves), chained to
    the head before it."""

    stream: Stream
    number: int
    """1, 2, 3 ... per stream, without gaps."""
    first: int
    last: int
    """Sequence numbers of the observations it covers, inclusive."""
    root: bytes
    """The Merkle tree hash of their leaves (SHA-256)."""
    previous: bytes
    """SHA-256 of the note of the seal before it; empty for the first."""
    at: datetime
    note: bytes
    """The signed text: what is above, and a signature over it."""
    forgotten_at: datetime | None = None
    """When retention removed its observations; the seal itself is kept for ever."""


class Store(Protocol):
    """Durable state. A call that returned survives kill -9 and power loss; one that raised changed nothing."""

    async def get(self, kind: str, key: str) -> Document | None:
        """The document, or None."""
        ...

    async def all(self, kind: str) -> Sequence[Document]:
        """All documents of a kind, sorted by key."""
        ...

    async def put(
        self, kind: str, key: str, value: Mapping[str, Json], *, expect: int | None = None, fence: Lease | None = None
    ) -> Document:
        """Write a document. ``expect`` is the version it must have now (0: must not exist; None: whatever).

        Raises ``EveryhopError('store-conflict')`` if it has another, ``('store-fenced')`` if ``fence`` is no
        longer the newest lease of its name. Both are checked in the same transaction as the write.
        """
        ...

    async def delete(self, kind: str, key: str, *, expect: int | None = None, fence: Lease | None = None) -> None:
        """Remove a document (nothing happens if there is none and ``expect`` is None); raises as :meth:`put`."""
        ...

    async def acquire(self, name: str, holder: str, ttl: timedelta, now: datetime) -> Lease | None:
        """Take or extend a lease; None while another holder's runs. A new holder gets a higher token; the same
        holder extending keeps its token."""
        ...

    async def release(self, lease: Lease) -> None:
        """Give a lease back early. Releasing one that was lost does nothing."""
        ...

    async def intend(self, issuance: Issuance) -> Issuance:
        """Journal an intent. If ``request_id`` is known and not abandoned, nothing is written and the stored line is
        returned; an abandoned one is replaced. Raises ``('store-conflict')`` if the serial is taken."""
        ...

    async def complete(self, serial: int, certificate: bytes, at: datetime) -> Issuance:
        """Record the signed certificate. Repeating it with the same bytes is harmless; other bytes raise
        ``('store-conflict')``, an unknown serial ``('unknown-name')``."""
        ...

    async def abandon(self, serial: int, reason: str, at: datetime) -> None:
        """Mark an intent that will never be signed. Raises ``('store-conflict')`` if it was already issued."""
        ...

    async def issuance(self, *, request_id: str | None = None, serial: int | None = None) -> Issuance | None:
        """One journal line by request id or by serial (give exactly one)."""
        ...

    async def issuances(self, *, state: IssuanceState | None = None, limit: int = 1000) -> Sequence[Issuance]:
        """Journal lines, newest first."""
        ...

    async def audit(self, entry: AuditEntry) -> AuditEntry:
        """Append to the audit log; returns the entry with its sequence number."""
        ...

    async def audit_log(self, *, limit: int = 1000) -> Sequence[AuditEntry]:
        """Audit entries, newest first."""
        ...

    async def observe(
        self,
        observations: Sequence[Observation],
        *,
        beside: Mapping[tuple[str, str], Mapping[str, Json]] | None = None,
        fence: Lease | None = None,
    ) -> Sequence[Observation]:
        """Append observations, all or none; returns them with their sequence numbers. ``beside`` are documents
        (by kind and key) that are written in the same transaction, whatever their version: what was read of a
        source and how far it was read can so never come apart. Raises ``('store-fenced')`` as :meth:`put`."""
        ...

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
        """Observations of a stream in order of sequence; ``since`` and ``until`` bound ``at`` (from, inclusive; to,
        exclusive), ``after`` the sequence. At most ``limit``."""
        ...

    async def leaves(self, stream: Stream, *, first: int, last: int) -> Sequence[bytes]:
        """The leaf hashes that were stored with the observations ``first`` to ``last``, in order: SHA-256 of 0x00 and
        the canonical bytes (RFC 6962, 2.1). Those of forgotten observations are gone."""
        ...

    async def seal(self, seal: Seal, *, fence: Lease | None = None) -> None:
        """Append a seal. Raises ``('store-conflict')`` unless it is the next number and begins where the last one
        ended."""
        ...

    async def seals(
        self, stream: Stream, *, after: int = 0, newest_first: bool = False, limit: int = 1000
    ) -> Sequence[Seal]:
        """Seals of a stream by number."""
        ...

    async def forget(self, stream: Stream, *, through: int, at: datetime, fence: Lease | None = None) -> int:
        """Remove the observations of a stream up to the seal with number ``through``; how many there were. The seals
        stay, marked with ``at``. What is not sealed is never forgotten."""
        ...

    async def revision(self) -> int:
        """A number that changes when anybody, in any process, may have written: cheap enough to poll."""
        ...

    async def close(self) -> None:
        """Finish what is under way and let go."""
        ...
