"""What each write does inside its transaction, in plain SQL.

Rules: every function takes the writer's cursor and values ready for columns; it reads what it must know and decides,
then writes; it raises ``EveryhopError`` before it has changed anything. No clock, no JSON work, no SQLite-only words:
these statements run on PostgreSQL when the marks are exchanged.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from everyhop.core.ledger import leaf
from everyhop.core.observation import Observation, Stream
from everyhop.drivers.store.rows import (
    AUDIT_COLUMNS,
    ISSUANCE_COLUMNS,
    OBSERVATION_COLUMNS,
    SEAL_COLUMNS,
    AuditRow,
    IssuanceRow,
    SealRow,
    from_observation,
    to_issuance,
    to_moment,
)
from everyhop.errors import EveryhopError
from everyhop.ports import Issuance, IssuanceState, Lease

_INTEND = f"INSERT INTO issuance ({ISSUANCE_COLUMNS}) VALUES ({', '.join('?' * 18)}) ON CONFLICT DO NOTHING"  # noqa: S608
BY_SERIAL = f"SELECT {ISSUANCE_COLUMNS} FROM issuance WHERE serial = ?"  # noqa: S608
BY_REQUEST = f"SELECT {ISSUANCE_COLUMNS} FROM issuance WHERE request_id = ? AND state <> 'abandoned'"  # noqa: S608
ABANDONED_BY_REQUEST = (
    f"SELECT {ISSUANCE_COLUMNS} FROM issuance WHERE request_id = ? AND state = 'abandoned' "  # noqa: S608
    "ORDER BY position DESC LIMIT 1"
)
NEWEST = f"SELECT {ISSUANCE_COLUMNS} FROM issuance ORDER BY position DESC LIMIT ?"  # noqa: S608
# The state stands in the text, not as a parameter, so that the partial index on intents can serve.
NEWEST_IN_STATE = {
    state: f"SELECT {ISSUANCE_COLUMNS} FROM issuance WHERE state = '{state.value}' ORDER BY position DESC LIMIT ?"  # noqa: S608
    for state in IssuanceState
}
_COMPLETE = (
    "UPDATE issuance SET state = 'issued', certificate = ?, finished_at = ? WHERE serial = ? AND state = 'intended'"
)
_ABANDON = (
    "UPDATE issuance SET state = 'abandoned', reason = ?, finished_at = ? WHERE serial = ? AND state = 'intended'"
)
_AUDIT = f"INSERT INTO audit ({AUDIT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
AUDIT_LOG = f"SELECT {AUDIT_COLUMNS} FROM audit ORDER BY sequence DESC LIMIT ?"  # noqa: S608
_OBSERVE = f"INSERT INTO observation ({OBSERVATION_COLUMNS}) VALUES ({', '.join('?' * 10)})"  # noqa: S608
LEAVES = "SELECT leaf FROM observation WHERE stream = ? AND sequence >= ? AND sequence <= ? ORDER BY sequence"
_SEAL = f"INSERT INTO seal ({SEAL_COLUMNS}) VALUES ({', '.join('?' * 9)})"  # noqa: S608
SEALS = f"SELECT {SEAL_COLUMNS} FROM seal WHERE stream = ? AND number > ? ORDER BY number LIMIT ?"  # noqa: S608
SEALS_NEWEST = f"SELECT {SEAL_COLUMNS} FROM seal WHERE stream = ? AND number > ? ORDER BY number DESC LIMIT ?"  # noqa: S608
DOCUMENT = "SELECT kind, key, value, version FROM document WHERE kind = ? AND key = ?"
DOCUMENTS = "SELECT kind, key, value, version FROM document WHERE kind = ? ORDER BY key"


def put(cursor: sqlite3.Cursor, kind: str, key: str, value: str, expect: int | None, fence: Lease | None) -> int:
    """Write a document under its two checks; returns its new version."""
    version = _checked_version(cursor, kind, key, expect, fence)
    if version == 0:
        cursor.execute("INSERT INTO document (kind, key, value, version) VALUES (?, ?, ?, 1)", (kind, key, value))
    else:
        cursor.execute(
            "UPDATE document SET value = ?, version = version + 1 WHERE kind = ? AND key = ?", (value, kind, key)
        )
    return version + 1


def delete(cursor: sqlite3.Cursor, kind: str, key: str, expect: int | None, fence: Lease | None) -> None:
    """Remove a document under its two checks."""
    _checked_version(cursor, kind, key, expect, fence)
    cursor.execute("DELETE FROM document WHERE kind = ? AND key = ?", (kind, key))


def acquire(cursor: sqlite3.Cursor, name: str, holder: str, expires_at: int, now: int) -> Lease | None:
    """Take, extend or take over a lease; None while another holder's runs."""
    cursor.execute("SELECT holder, token, expires_at FROM lease WHERE name = ?", (name,))
    row = cast("tuple[str | None, int, int] | None", cursor.fetchone())
    if row is None:
        cursor.execute(
            "INSERT INTO lease (name, holder, token, expires_at) VALUES (?, ?, 1, ?)", (name, holder, expires_at)
        )
        return Lease(name, holder, 1, to_moment(expires_at))
    present, token, present_until = row
    if present != holder:
        if present is not None and present_until > now:
            return None
        token += 1
    cursor.execute(
        "UPDATE lease SET holder = ?, token = ?, expires_at = ? WHERE name = ?", (holder, token, expires_at, name)
    )
    return Lease(name, holder, token, to_moment(expires_at))


def release(cursor: sqlite3.Cursor, name: str, token: int) -> None:
    """Give a lease back; the row and its token stay, so that the token is never given again."""
    cursor.execute("UPDATE lease SET holder = NULL WHERE name = ? AND token = ?", (name, token))


def intend(cursor: sqlite3.Cursor, row: IssuanceRow) -> Issuance | None:
    """Journal an intent; None when it was written, the living line when its request was known."""
    cursor.execute(_INTEND, row)
    if cursor.rowcount == 1:
        return None
    known = cast("IssuanceRow | None", cursor.execute(BY_REQUEST, row[:1]).fetchone())
    if known is None:
        raise EveryhopError("store-conflict", f"expected an unused serial number, got {row[1]}, which is journaled")
    return to_issuance(known)


def complete(cursor: sqlite3.Cursor, serial: str, certificate: bytes, at: int) -> Issuance:
    """Record a signed certificate, once."""
    cursor.execute(_COMPLETE, (certificate, at, serial))
    written = cursor.rowcount == 1
    line = _journaled(cursor, serial)
    if not written and line.certificate != certificate:
        found = "abandoned" if line.certificate is None else "issued with other bytes"
        raise EveryhopError("store-conflict", f"expected serial {serial} to be an intent, it is {found}")
    return line


def abandon(cursor: sqlite3.Cursor, serial: str, reason: str, at: int) -> None:
    """Mark an intent that will never be signed."""
    cursor.execute(_ABANDON, (reason, at, serial))
    if cursor.rowcount != 1 and _journaled(cursor, serial).state is IssuanceState.ISSUED:
        raise EveryhopError("store-conflict", f"expected serial {serial} to be an intent, it is issued")


def audit(cursor: sqlite3.Cursor, row: AuditRow) -> int:
    """Append to the audit log; returns the sequence number, the highest so far plus one."""
    cursor.execute("SELECT COALESCE(MAX(sequence), 0) + 1 FROM audit")
    (sequence,) = cast("tuple[int]", cursor.fetchone())
    cursor.execute(_AUDIT, (*row[:6], sequence))
    return sequence


def observations(*, kind: bool, subject: bool, since: bool, until: bool, newest_first: bool) -> str:
    """The query for observations with these conditions; its values are stream, after, then the conditions in this
    order, then the limit."""
    conditions = ["stream = ?", "sequence > ?"]
    conditions += ["kind = ?"] * kind + ["subject = ?"] * subject + ["at >= ?"] * since + ["at < ?"] * until
    order = "DESC" if newest_first else "ASC"
    where = " AND ".join(conditions)
    return f"SELECT {OBSERVATION_COLUMNS} FROM observation WHERE {where} ORDER BY sequence {order} LIMIT ?"  # noqa: S608


def observe(
    cursor: sqlite3.Cursor,
    observations: Sequence[Observation],
    beside: Sequence[tuple[str, str, str]],
    fence: Lease | None,
) -> Sequence[Observation]:
    """Append observations and write the documents beside them; returns them numbered."""
    _check_fence(cursor, fence)
    following = {stream: _next_sequence(cursor, stream) for stream in {one.stream for one in observations}}
    numbered: list[Observation] = []
    for one in observations:
        numbered.append(replace(one, sequence=following[one.stream]))
        following[one.stream] += 1
    cursor.executemany(_OBSERVE, [from_observation(one, leaf(one)) for one in numbered])
    for kind, key, value in beside:
        put(cursor, kind, key, value, None, None)
    return numbered


def seal(cursor: sqlite3.Cursor, row: SealRow, fence: Lease | None) -> None:
    """Append a seal that continues the last one."""
    _check_fence(cursor, fence)
    last_number, last_sealed = _last_seal(cursor, row[0])
    if (row[1], row[2]) != (last_number + 1, last_sealed + 1):
        raise EveryhopError(
            "store-conflict",
            f"expected seal {last_number + 1} from observation {last_sealed + 1}, got {row[1]} from {row[2]}",
        )
    if row[3] >= _next_sequence(cursor, Stream(row[0])):
        raise EveryhopError("store-conflict", f"expected observations up to {row[3]} to be there, they are not")
    cursor.execute(_SEAL, row)


def forget(cursor: sqlite3.Cursor, stream: str, through: int, at: int, fence: Lease | None) -> int:
    """Remove sealed observations; the seals stay, marked."""
    _check_fence(cursor, fence)
    cursor.execute(
        "UPDATE seal SET forgotten_at = ? WHERE stream = ? AND number <= ? AND forgotten_at IS NULL",
        (at, stream, through),
    )
    cursor.execute("SELECT COALESCE(MAX(last), 0) FROM seal WHERE stream = ? AND number <= ?", (stream, through))
    (last,) = cast("tuple[int]", cursor.fetchone())
    cursor.execute("DELETE FROM observation WHERE stream = ? AND sequence <= ?", (stream, last))
    return cursor.rowcount


def _next_sequence(cursor: sqlite3.Cursor, stream: Stream) -> int:
    """One after the last observation, also when retention has removed it: its seal remembers."""
    cursor.execute("SELECT COALESCE(MAX(sequence), 0) FROM observation WHERE stream = ?", (stream.value,))
    (stored,) = cast("tuple[int]", cursor.fetchone())
    return max(stored, _last_seal(cursor, stream.value)[1]) + 1


def _last_seal(cursor: sqlite3.Cursor, stream: str) -> tuple[int, int]:
    cursor.execute("SELECT number, last FROM seal WHERE stream = ? ORDER BY number DESC LIMIT 1", (stream,))
    return cast("tuple[int, int] | None", cursor.fetchone()) or (0, 0)


def _check_fence(cursor: sqlite3.Cursor, fence: Lease | None) -> None:
    if fence is not None:
        cursor.execute("SELECT holder, token FROM lease WHERE name = ?", (fence.name,))
        if cursor.fetchone() != (fence.holder, fence.token):
            raise EveryhopError(
                "store-fenced", f"expected to hold the lease {fence.name!r} with token {fence.token}, it was taken over"
            )


def _checked_version(cursor: sqlite3.Cursor, kind: str, key: str, expect: int | None, fence: Lease | None) -> int:
    """The document's present version (0: there is none), once fence and expectation have been held against it."""
    _check_fence(cursor, fence)
    row = cursor.execute("SELECT version FROM document WHERE kind = ? AND key = ?", (kind, key)).fetchone()
    version = cast("int", row[0]) if row else 0
    if expect is not None and expect != version:
        raise EveryhopError("store-conflict", f"expected version {expect} of {kind} {key!r}, got version {version}")
    return version


def _journaled(cursor: sqlite3.Cursor, serial: str) -> Issuance:
    row = cast("IssuanceRow | None", cursor.execute(BY_SERIAL, (serial,)).fetchone())
    if row is None:
        raise EveryhopError("unknown-name", f"expected a journaled serial number, got {serial}")
    return to_issuance(row)
