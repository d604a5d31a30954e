"""What each write does inside its transaction, in plain SQL.

Rules: every function takes the writer's cursor and values ready for columns; it reads what it must know, then makes
at most one writing statement; it raises ``EveryhopError`` and has then changed nothing. No clock, no JSON work, no
SQLite-only words: these statements run on PostgreSQL when the marks are exchanged.
"""

from __future__ import annotations

import sqlite3
from typing import cast

from everyhop.drivers.store.rows import AUDIT_COLUMNS, ISSUANCE_COLUMNS, AuditRow, IssuanceRow, to_issuance, to_moment
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


def _checked_version(cursor: sqlite3.Cursor, kind: str, key: str, expect: int | None, fence: Lease | None) -> int:
    """The document's present version (0: there is none), once fence and expectation have been held against it."""
    if fence is not None:
        cursor.execute("SELECT holder, token FROM lease WHERE name = ?", (fence.name,))
        if cursor.fetchone() != (fence.holder, fence.token):
            raise EveryhopError(
                "store-fenced", f"expected to hold the lease {fence.name!r} with token {fence.token}, it was taken over"
            )
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
