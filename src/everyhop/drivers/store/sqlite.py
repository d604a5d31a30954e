"""The store on SQLite: one file, for one machine.

Rules: write-ahead log with ``synchronous=FULL``, so that what returned survives a loss of power; one writer thread
with group commit (``group_commit``); reads go by a second, read-only connection and never wait for writers. Other
processes may open the same file: every transaction takes the write lock at its start, so nothing is decided on what
another process changes meanwhile. The file and its two companions are readable by their owner only.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self, TypeVar, cast

from everyhop.core.observation import Kind, Observation, Stream
from everyhop.drivers.store import rows, statements
from everyhop.drivers.store.group_commit import GroupWriter, unavailable
from everyhop.drivers.store.migrate import migrate, shipped
from everyhop.errors import EveryhopError
from everyhop.ports import AuditEntry, Document, Issuance, IssuanceState, Json, Lease, Seal

BUSY_SECONDS = 10.0
"""How long a write waits for another process's transaction before it gives up."""

_Row = TypeVar("_Row")
_Fact = TypeVar("_Fact")


class SqliteStore:
    """``ports.Store`` in one SQLite file. Open it with :meth:`open`; it belongs to the event loop that opened it."""

    def __init__(self, writer: GroupWriter, reading: sqlite3.Connection) -> None:
        """For :meth:`open`."""
        self._writer = writer
        self._reading = reading
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="everyhop-store-reader")
        self._closed = False

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open the store in the file ``path``, making it (and its folder, 0700) if it is not there.

        Raises ``EveryhopError('store-unavailable')`` if the file cannot be opened, is no store, or was made by a
        newer everyhop.
        """
        writing, reading = await asyncio.to_thread(_open, path)
        return cls(GroupWriter(writing, asyncio.get_running_loop()), reading)

    async def get(self, kind: str, key: str) -> Document | None:
        """The document, or None."""
        found = await self._read(rows.to_document, statements.DOCUMENT, kind, key)
        return found[0] if found else None

    async def all(self, kind: str) -> Sequence[Document]:
        """All documents of a kind, sorted by key (by code point)."""
        return await self._read(rows.to_document, statements.DOCUMENTS, kind)

    async def put(
        self, kind: str, key: str, value: Mapping[str, Json], *, expect: int | None = None, fence: Lease | None = None
    ) -> Document:
        """Write a document; see ``ports.Store.put``."""
        text = rows.from_json(value)
        version = await self._writer.run(statements.put, kind, key, text, expect, fence)
        return Document(kind, key, rows.to_json(text), version)

    async def delete(self, kind: str, key: str, *, expect: int | None = None, fence: Lease | None = None) -> None:
        """Remove a document; see ``ports.Store.delete``."""
        await self._writer.run(statements.delete, kind, key, expect, fence)

    async def acquire(self, name: str, holder: str, ttl: timedelta, now: datetime) -> Lease | None:
        """Take or extend a lease; see ``ports.Store.acquire``."""
        expires_at = rows.from_moment(now + ttl)
        return await self._writer.run(statements.acquire, name, holder, expires_at, rows.from_moment(now))

    async def release(self, lease: Lease) -> None:
        """Give a lease back early; what it fenced is refused from then on."""
        await self._writer.run(statements.release, lease.name, lease.token)

    async def intend(self, issuance: Issuance) -> Issuance:
        """Journal an intent; see ``ports.Store.intend``."""
        known = await self._writer.run(statements.intend, rows.from_issuance(issuance))
        return issuance if known is None else known

    async def complete(self, serial: int, certificate: bytes, at: datetime) -> Issuance:
        """Record the signed certificate; see ``ports.Store.complete``."""
        return await self._writer.run(statements.complete, rows.from_serial(serial), certificate, rows.from_moment(at))

    async def abandon(self, serial: int, reason: str, at: datetime) -> None:
        """Mark an intent that will never be signed; see ``ports.Store.abandon``."""
        await self._writer.run(statements.abandon, rows.from_serial(serial), reason, rows.from_moment(at))

    async def issuance(self, *, request_id: str | None = None, serial: int | None = None) -> Issuance | None:
        """One journal line; of a request's lines the living one, else the one abandoned last."""
        if (request_id is None) == (serial is None):
            raise ValueError("expected exactly one of request_id and serial")
        if serial is not None:
            found = await self._read(rows.to_issuance, statements.BY_SERIAL, rows.from_serial(serial))
        else:
            found = await self._read(rows.to_issuance, statements.BY_REQUEST, request_id) or await self._read(
                rows.to_issuance, statements.ABANDONED_BY_REQUEST, request_id
            )
        return found[0] if found else None

    async def issuances(self, *, state: IssuanceState | None = None, limit: int = 1000) -> Sequence[Issuance]:
        """Journal lines, newest first."""
        text = statements.NEWEST if state is None else statements.NEWEST_IN_STATE[state]
        return await self._read(rows.to_issuance, text, max(limit, 0))

    async def audit(self, entry: AuditEntry) -> AuditEntry:
        """Append to the audit log; returns the entry with its sequence number."""
        sequence = await self._writer.run(statements.audit, rows.from_audit_entry(entry))
        return replace(entry, sequence=sequence)

    async def audit_log(self, *, limit: int = 1000) -> Sequence[AuditEntry]:
        """Audit entries, newest first."""
        return await self._read(rows.to_audit_entry, statements.AUDIT_LOG, max(limit, 0))

    async def observe(
        self,
        observations: Sequence[Observation],
        *,
        beside: Mapping[tuple[str, str], Mapping[str, Json]] | None = None,
        fence: Lease | None = None,
    ) -> Sequence[Observation]:
        """Append observations, and documents beside them; see ``ports.Store.observe``."""
        documents = [(kind, key, rows.from_json(value)) for (kind, key), value in (beside or {}).items()]
        return await self._writer.run(statements.observe, tuple(observations), documents, fence)

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
        """Observations in order of sequence; see ``ports.Store.observations``."""
        text = statements.observations(
            kind=kind is not None,
            subject=subject is not None,
            since=since is not None,
            until=until is not None,
            newest_first=newest_first,
        )
        conditions = [
            kind.value if kind else None,
            subject,
            rows.from_moment(since) if since else None,
            rows.from_moment(until) if until else None,
        ]
        values = [value for value in conditions if value is not None]
        return await self._read(rows.to_observation, text, stream.value, after, *values, max(limit, 0))

    async def leaves(self, stream: Stream, *, first: int, last: int) -> Sequence[bytes]:
        """The stored leaf hashes of observations; see ``ports.Store.leaves``."""
        return await self._read(rows.to_leaf, statements.LEAVES, stream.value, first, last)

    async def seal(self, seal: Seal, *, fence: Lease | None = None) -> None:
        """Append a seal; see ``ports.Store.seal``."""
        await self._writer.run(statements.seal, rows.from_seal(seal), fence)

    async def seals(
        self, stream: Stream, *, after: int = 0, newest_first: bool = False, limit: int = 1000
    ) -> Sequence[Seal]:
        """Seals of a stream by number."""
        text = statements.SEALS_NEWEST if newest_first else statements.SEALS
        return await self._read(rows.to_seal, text, stream.value, after, max(limit, 0))

    async def forget(self, stream: Stream, *, through: int, at: datetime, fence: Lease | None = None) -> int:
        """Remove sealed observations; see ``ports.Store.forget``."""
        return await self._writer.run(statements.forget, stream.value, through, rows.from_moment(at), fence)

    async def revision(self) -> int:
        """A number that changes when this or another process has written.

        SQLite counts for each connection the commits of all others; the reading connection never writes, so that
        its count has them all, our own writer's included.
        """
        (number,) = await self._read(_only, "PRAGMA data_version")
        return number

    async def close(self) -> None:
        """Commit what was asked for and let go of the file. Closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._reader.shutdown)
        # The reader first: the last connection folds the write-ahead log into the file, and only a writer can.
        self._reading.close()
        await self._writer.close()

    async def _read(self, to_fact: Callable[[_Row], _Fact], text: str, *values: object) -> list[_Fact]:
        if self._closed:
            raise EveryhopError("store-unavailable", "expected an open store, got a closed one")
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._select, to_fact, text, values)

    def _select(self, to_fact: Callable[[_Row], _Fact], text: str, values: tuple[object, ...]) -> list[_Fact]:
        try:
            found = cast("list[_Row]", self._reading.execute(text, values).fetchall())
        except sqlite3.Error as error:
            raise unavailable(error) from error
        return [to_fact(row) for row in found]


def _only(row: tuple[int]) -> int:
    return row[0]


def _open(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """The writing and the reading connection of a store that is up to date."""
    path = path.absolute()
    try:
        _make_private(path)
        writing = _connect(path.as_uri())
    except (OSError, sqlite3.Error) as error:
        raise _cannot_open(path, error) from error
    try:
        writing.execute("PRAGMA journal_mode = WAL")
        writing.execute("PRAGMA synchronous = FULL")
        writing.execute("PRAGMA foreign_keys = ON")
        migrate(writing, shipped())
        return writing, _connect(path.as_uri() + "?mode=ro")
    except sqlite3.Error as error:
        writing.close()
        raise _cannot_open(path, error) from error
    except BaseException:
        writing.close()
        raise


def _connect(uri: str) -> sqlite3.Connection:
    # Each connection is used by one thread at a time, though not by the one that opens it.
    return sqlite3.connect(
        uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
    )


def _make_private(path: Path) -> None:
    """Make the file if need be, and see to it that only its owner can read it. SQLite gives the companions its mode."""
    missing = [folder for folder in path.parents if not folder.exists()]
    for folder in reversed(missing):  # mkdir's own ``parents`` would give only the last one the mode
        folder.mkdir(mode=0o700, exist_ok=True)
        _flush(folder.parent)
    with suppress(FileExistsError):
        # Made without opening it: closing a descriptor would end this process's SQLite locks on the file.
        os.mknod(path, stat.S_IFREG | 0o600)
        _flush(path.parent)
    for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        with suppress(FileNotFoundError):
            if file.stat().st_mode & 0o077:
                file.chmod(0o600)


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot_open(path: Path, error: Exception) -> EveryhopError:
    return EveryhopError(
        "store-unavailable",
        f"expected a store in {path}, got: {error}",
        hint="the file must be one that everyhop made, and its folder writable for the user that runs everyhop",
    )
