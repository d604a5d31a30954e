"""Numbered SQL files that bring a database to the schema this version knows.

Rules: a file is applied once, in the order of its number, in a transaction of its own, and recorded with its
checksum. A file that was applied is never edited afterwards: a different checksum is refused, and so is a database
that holds a number this version does not know, because a newer everyhop made it.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources

from everyhop.errors import EveryhopError

_RECORD = """
CREATE TABLE IF NOT EXISTS migration (
    number INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of the schema."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the SQL text, in hexadecimal."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def statements(self) -> Iterator[str]:
        """The SQL text, one statement at a time; a trigger's body is not split."""
        statement = ""
        for line in self.sql.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                yield statement
                statement = ""


def shipped() -> Sequence[Migration]:
    """The migrations in this package, lowest number first."""
    folder = resources.files("everyhop.drivers.store") / "migrations"
    files = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    found = [Migration(int(file.name[:4]), file.name, file.read_text(encoding="utf-8")) for file in files]
    return sorted(found, key=lambda migration: migration.number)


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    """Apply what is missing. The connection must be in autocommit mode (``isolation_level=None``).

    Raises ``EveryhopError('store-unavailable')`` for a newer or a differing schema; ``sqlite3.Error`` from a step
    leaves the database as it was before that step. Two processes may do this at once: each step is taken once.
    """
    if _applied_all(connection, migrations):
        return
    for migration in migrations:
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(_RECORD)
            # Asked again behind the write lock: another process may have applied it since.
            if migration.number not in _applied(connection):
                for statement in migration.statements():
                    connection.execute(statement)
                connection.execute(
                    "INSERT INTO migration (number, name, checksum) VALUES (?, ?, ?)",
                    (migration.number, migration.name, migration.checksum),
                )
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    _applied_all(connection, migrations)


def _applied_all(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> bool:
    """Whether nothing is missing; raises if what was applied is not what this version knows."""
    exists = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migration'")
    applied = _applied(connection) if exists.fetchone() else {}
    known = {migration.number: migration for migration in migrations}
    newest = max(known, default=0)
    for number, checksum in applied.items():
        if number not in known:
            raise EveryhopError(
                "store-unavailable",
                f"expected a store with schema {newest} or older, got schema {max(applied)}: a newer everyhop made it",
                hint="start the everyhop version that wrote it last, or a later one",
            )
        if checksum != known[number].checksum:
            raise EveryhopError(
                "store-unavailable",
                f"expected migration {known[number].name} as it was applied to this store, got a changed file",
                hint="reinstall everyhop: its files were altered, or the store was made by a development version",
            )
    return applied.keys() == known.keys()


def _applied(connection: sqlite3.Connection) -> dict[int, str]:
    return dict(connection.execute("SELECT number, checksum FROM migration"))
