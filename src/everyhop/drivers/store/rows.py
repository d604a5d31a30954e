"""Facts as rows, and back: what a column holds for each field of the ports' dataclasses.

Rules: moments are integer microseconds since 1970 UTC and come back aware; serials are 40 hexadecimal digits, since
they have up to 159 bits; lists and mappings are JSON text. The PostgreSQL driver uses the same columns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import cast

from everyhop.core.observation import Kind, Observation, Plain, Source, Stream
from everyhop.core.verdict import Verdict
from everyhop.ports import AuditEntry, Document, Issuance, IssuanceState, Json, Seal

ISSUANCE_COLUMNS = (
    "request_id, serial, issuer, profile, profile_digest, subject, owner, names, tbs, algorithm, decision, "
    "not_before, not_after, intended_at, state, certificate, finished_at, reason"
)
AUDIT_COLUMNS = "at, actor, action, subject, outcome, details, sequence"
OBSERVATION_COLUMNS = "stream, sequence, at, kind, source, subject, seen_by, verdict, body, leaf"
SEAL_COLUMNS = "stream, number, first, last, root, previous, at, note, forgotten_at"

IssuanceRow = tuple[
    str, str, str, str, str, str, str, str, bytes, bytes, str, int, int, int, str, bytes | None, int | None, str
]
AuditRow = tuple[int, str, str, str, str, str, int]
ObservationRow = tuple[str, int, int, str, str, str, str, str, str, bytes]
SealRow = tuple[str, int, int, int, bytes, bytes, int, bytes, int | None]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SERIALS = 1 << 159
_STATES = {state.value: state for state in IssuanceState}


def from_moment(moment: datetime) -> int:
    """Microseconds since 1970 UTC; a datetime without zone raises ``TypeError``."""
    return (moment - _EPOCH) // _MICROSECOND


def to_moment(microseconds: int) -> datetime:
    """The aware UTC datetime of a column."""
    return _EPOCH + timedelta(microseconds=microseconds)


def from_serial(serial: int) -> str:
    """40 hexadecimal digits; raises ``ValueError`` outside of 1 .. 2^159-1 (RFC 5280, 4.1.2.2: 20 octets)."""
    if not 0 < serial < _SERIALS:
        raise ValueError(f"expected a positive serial of at most 20 octets, got {serial}")
    return f"{serial:040x}"


def from_json(value: Mapping[str, Json]) -> str:
    """Compact JSON text; what JSON cannot say (NaN, bytes) raises ``ValueError`` or ``TypeError``."""
    return json.dumps(dict(value), separators=(",", ":"), allow_nan=False)


def to_json(text: str) -> dict[str, Json]:
    """The mapping of a JSON column."""
    return cast("dict[str, Json]", json.loads(text))


def to_document(row: tuple[str, str, str, int]) -> Document:
    """A document from its row."""
    kind, key, value, version = row
    return Document(kind, key, to_json(value), version)


def from_issuance(issuance: Issuance) -> IssuanceRow:
    """The row of an intent. Raises ``ValueError`` for a line that is not an intent any more."""
    if issuance.state is not IssuanceState.INTENDED or issuance.certificate is not None:
        raise ValueError(f"expected an intent, got an issuance that is {issuance.state}")
    return (
        issuance.request_id,
        from_serial(issuance.serial),
        issuance.issuer,
        issuance.profile,
        issuance.profile_digest,
        issuance.subject,
        issuance.owner,
        json.dumps(issuance.names),
        issuance.tbs,
        issuance.algorithm,
        issuance.decision,
        from_moment(issuance.not_before),
        from_moment(issuance.not_after),
        from_moment(issuance.intended_at),
        "intended",
        None,
        None,
        "",
    )


def to_issuance(row: IssuanceRow) -> Issuance:
    """A journal line from its row."""
    finished_at = row[16]
    return Issuance(
        row[0],
        int(row[1], 16),
        *row[2:7],
        tuple(json.loads(row[7])),
        *row[8:11],
        to_moment(row[11]),
        to_moment(row[12]),
        to_moment(row[13]),
        _STATES[row[14]],
        row[15],
        None if finished_at is None else to_moment(finished_at),
        row[17],
    )


def from_audit_entry(entry: AuditEntry) -> AuditRow:
    """The row of an entry; its sequence number is given when it is written."""
    details = from_json(entry.details)
    return from_moment(entry.at), entry.actor, entry.action, entry.subject, entry.outcome, details, 0


def to_audit_entry(row: AuditRow) -> AuditEntry:
    """An audit entry from its row."""
    at, actor, action, subject, outcome, details, sequence = row
    return AuditEntry(to_moment(at), actor, action, subject, outcome, to_json(details), sequence)


def from_observation(observation: Observation, leaf: bytes) -> ObservationRow:
    """The row of an observation that has its sequence number."""
    return (
        observation.stream.value,
        observation.sequence,
        from_moment(observation.at),
        observation.kind.value,
        observation.source.value,
        observation.subject,
        observation.by,
        observation.verdict.value,
        from_json(cast("Mapping[str, Json]", observation.body)),
        leaf,
    )


def to_observation(row: ObservationRow) -> Observation:
    """An observation from its row. What no observation can say raises ``ValueError``: somebody changed the row."""
    stream, sequence, at, kind, source, subject, seen_by, verdict, body, _ = row
    return Observation(
        to_moment(at),
        Kind(kind),
        Source(source),
        subject,
        seen_by,
        Verdict(verdict),
        cast("dict[str, Plain]", to_json(body)),
        Stream(stream),
        sequence,
    )


def to_leaf(row: tuple[bytes]) -> bytes:
    """A leaf hash from its row."""
    return row[0]


def from_seal(seal: Seal) -> SealRow:
    """The row of a seal."""
    return (
        seal.stream.value,
        seal.number,
        seal.first,
        seal.last,
        seal.root,
        seal.previous,
        from_moment(seal.at),
        seal.note,
        None,
    )


def to_seal(row: SealRow) -> Seal:
    """A seal from its row."""
    stream, number, first, last, root, previous, at, note, forgotten_at = row
    forgotten = None if forgotten_at is None else to_moment(forgotten_at)
    return Seal(Stream(stream), number, first, last, root, previous, to_moment(at), note, forgotten)
