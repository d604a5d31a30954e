"""Whoever writes into the database is found, and told where: every column of an observation, of a seal, and every row.

Rules: the attacker here has the file, drops the triggers first, and changes what he likes; the keys he has not.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.fakes.observed import observed
from tests.fakes.pki import CA
from tests.fakes.world import World

from everyhop.core.evidence.signer import fingerprint
from everyhop.core.ledger import leaf
from everyhop.core.observation import Stream
from everyhop.drivers.store.sqlite import SqliteStore
from everyhop.services.audit import Audit, audit

KEPT = {Stream.DETAIL: timedelta(days=2), Stream.RECORD: timedelta(days=400)}
NOW = datetime(2026, 3, 1, 18, tzinfo=UTC)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a few hours in it, all sealed."""
    path = tmp_path_factory.mktemp("sound") / "everyhop.db"

    async def make() -> None:
        store = await SqliteStore.open(path)
        await observed(World(), store, hours=2)
        await store.close()

    asyncio.run(make())
    return path


@pytest.fixture
def database(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(sound, tmp_path / "everyhop.db"))


def attack(database: Path, *statements: str) -> int:
    """Write into the file behind everyhop's back; how many rows that changed in the end."""
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    changed = [connection.execute(statement).rowcount for statement in statements]
    connection.commit()
    connection.close()
    return changed[-1] if changed else 0


def audited(database: Path, *roots: str) -> Audit:
    async def ask() -> Audit:
        store = await SqliteStore.open(database)
        try:
            return await audit(store, "shop.internal", "test", NOW, roots=roots, kept=KEPT)
        finally:
            await store.close()

    return asyncio.run(ask())


def places(database: Path) -> list[str]:
    return [fault.where for fault in audited(database).faults]


def test_a_store_as_it_was_sealed_passes_and_tells_its_head(database: Path) -> None:
    found = audited(database)
    assert found.faults == ()
    record = next(one for one in found.streams if one.stream == "record")
    assert (record.unsealed, record.forgotten) == (0, 0)
    assert record.sealed > 20
    assert record.seals > 3
    assert len(record.head) == 64
    assert audited(database, record.root).ok
    assert not audited(database, fingerprint(CA().certificate)).ok


EDITS: dict[str, tuple[str, str]] = {
    "at": ("at = at + 1", "record, seal 1, observation 3, at, subject, seen_by or body"),
    "kind": ("kind = 'flow'", "record, seal 1, observation 3, kind (sealed as 'finding')"),
    "kind that is none": ("kind = 'findinh'", "record, seal 1, observation 3, kind"),
    "source": ("source = 'probe'", "record, seal 1, observation 3, source (sealed as 'rules')"),
    "source that is none": ("source = 'rulez'", "record, seal 1, observation 3, source"),
    "subject": ("subject = replace(subject, '9002', '9003')", "record, seal 1, observation 3"),
    "subject of bytes": ("subject = x'00ff'", "record, seal 1, observation 3"),
    "seen_by": ("seen_by = seen_by || ' '", "record, seal 1, observation 3"),
    "verdict": ("verdict = 'fail'", "record, seal 1, observation 3, verdict (sealed as 'pass')"),
    "verdict that is none": ("verdict = 'pasS'", "record, seal 1, observation 3, verdict"),
    "body": ("body = replace(body, 'critical', 'criticam')", "record, seal 1, observation 3"),
    "body that is no JSON": ("body = substr(body, 2)", "record, seal 1, observation 3, body"),
    "body that is no object": ("body = '7'", "record, seal 1, observation 3"),
    "leaf": ("leaf = zeroblob(32)", "record, seal 1, observation 3, leaf"),
    "date that is none": ("at = 'yesterday'", "record, seal 1, observation 3"),
    "date beyond all years": ("at = 9000000000000000000", "record, seal 1, observation 3"),
}


@pytest.mark.parametrize("name", EDITS)
def test_every_column_of_an_observation(name: str, database: Path) -> None:
    edit, where = EDITS[name]
    assert attack(database, f"UPDATE observation SET {edit} WHERE stream = 'record' AND sequence = 3") == 1
    found = places(database)
    assert found[0].startswith(where), found
    assert len(found) == 1, found


def test_an_observation_changed_together_with_its_leaf_is_found_by_its_seal(database: Path) -> None:
    async def forged() -> bytes:
        store = await SqliteStore.open(database)
        (one,) = await store.observations(after=2, limit=1)
        await store.close()
        return leaf(one)

    attack(database, "UPDATE observation SET subject = 'other' WHERE stream = 'record' AND sequence = 3")
    leaf_hash = asyncio.run(forged()).hex()
    attack(database, f"UPDATE observation SET leaf = x'{leaf_hash}' WHERE stream = 'record' AND sequence = 3")
    (fault,) = audited(database).faults
    assert fault.where == "record, seal 1"
    assert "one of them was changed together with its leaf hash" in fault.what


def test_any_byte_of_any_sealed_observation(database: Path) -> None:
    """Each row of both streams, one character in the middle of what it says."""
    connection = sqlite3.connect(database)
    rows = connection.execute("SELECT stream, sequence, subject FROM observation").fetchall()
    connection.close()
    attack(database)
    for stream, sequence, subject in rows[:: max(1, len(rows) // 25)]:
        middle = len(subject) // 2
        other = subject[:middle] + chr(ord(subject[middle]) ^ 1) + subject[middle + 1 :]
        condition = f"WHERE stream = '{stream}' AND sequence = {sequence}"
        attack(database, f"UPDATE observation SET subject = '{other}' {condition}")
        (fault,) = audited(database).faults
        assert (fault.stream, fault.sequence) == (stream, sequence)
        attack(database, f"UPDATE observation SET subject = '{subject}' {condition}")
    assert audited(database).ok


SEAL_EDITS: dict[str, tuple[str, str]] = {
    "first": ("first = 2", "record, seal 2, first"),
    "last": ("last = last + 1", "record, seal 2, last"),
    "root": ("root = zeroblob(32)", "record, seal 2, root"),
    "previous": ("previous = zeroblob(32)", "record, seal 2, previous"),
    "at": ("at = at + 1", "record, seal 2, at"),
    "note's signature": ("note = substr(note, 1, length(note) - 10) || x'41' || substr(note, -9)", "record, seal 2"),
    "note's text": ("note = CAST(replace(note, 'seal 2', 'seal 3') AS BLOB)", "record, seal 2"),
    "note": ("note = zeroblob(10)", "record, seal 2, note"),
    "note as text": ("note = CAST(note AS TEXT)", "record, seal 2"),
    "root as text": ("root = 'abc'", "record, seal 2"),
    "date that is none": ("at = 'x'", "record, seal 2"),
    "number": ("number = 700", "record, seal 2"),
    "forgotten": ("forgotten_at = at + 1", "record, seal 2, forgotten_at"),
}


@pytest.mark.parametrize("name", SEAL_EDITS)
def test_every_column_of_a_seal(name: str, database: Path) -> None:
    edit, where = SEAL_EDITS[name]
    assert attack(database, f"UPDATE seal SET {edit} WHERE stream = 'record' AND number = 2") == 1
    found = places(database)
    assert found[0].startswith(where), found


OF_RECORD = "WHERE stream = 'record' AND"
COLUMNS = "at, kind, source, subject, seen_by, verdict, body, leaf"
OTHERS: dict[str, tuple[list[str], str]] = {
    "a row deleted": ([f"DELETE FROM observation {OF_RECORD} sequence = 5"], "record, seal 1, observation 5"),
    "two rows changed places": (
        [
            f"UPDATE observation SET sequence = 1000001 {OF_RECORD} sequence = 4",
            f"UPDATE observation SET sequence = 4 {OF_RECORD} sequence = 5",
            f"UPDATE observation SET sequence = 5 {OF_RECORD} sequence = 1000001",
        ],
        "record, seal 1, observation 4, sequence (its leaf hash says '5')",
    ),
    "the tail cut off": ([f"DELETE FROM observation {OF_RECORD} sequence > 20"], "record, seal"),
    "the tail cut off with its seals": (
        [
            f"DELETE FROM observation {OF_RECORD} sequence > (SELECT last FROM seal {OF_RECORD} number = 2)",
            f"DELETE FROM seal {OF_RECORD} number > 2",
        ],
        "record, seal 3",
    ),
    "a seal deleted": ([f"DELETE FROM seal {OF_RECORD} number = 2"], "record, seal 2"),
    "forgotten before its time": (
        [
            f"UPDATE seal SET forgotten_at = at + 1 {OF_RECORD} number = 1",
            f"DELETE FROM observation {OF_RECORD} sequence <= (SELECT last FROM seal {OF_RECORD} number = 1)",
        ],
        "record, seal 1, forgotten_at",
    ),
    "a row of another stream": (
        [f"INSERT INTO observation SELECT 'record', 1000001, {COLUMNS} FROM observation WHERE sequence = 1 LIMIT 1"],
        "record, observation",
    ),
    "a row after the last": (
        [
            f"UPDATE observation SET sequence = 1000001 {OF_RECORD} sequence = 3",
            f"INSERT INTO observation SELECT 'record', 3, {COLUMNS} FROM observation {OF_RECORD} sequence = 1000001",
        ],
        "record, observation",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_rows_that_are_gone_moved_or_new(name: str, database: Path) -> None:
    statements, where = OTHERS[name]
    attack(database, *statements)
    found = places(database)
    assert found, "nothing was found"
    assert found[0].startswith(where), found


def test_what_retention_forgot_is_checked_by_chain_and_said_to_be_so(database: Path) -> None:
    async def forget() -> Audit:
        store = await SqliteStore.open(database)
        later = NOW + timedelta(days=3)
        await store.forget(Stream.DETAIL, through=2, at=later)
        found = await audit(store, "shop.internal", "test", later, kept=KEPT)
        await store.close()
        return found

    found = asyncio.run(forget())
    assert found.ok
    assert {one.stream: one.forgotten for one in found.streams} == {"detail": 2, "record": 0}


def test_what_is_not_sealed_yet_is_counted_and_compared_with_its_leaf(database: Path) -> None:
    attack(database, "DELETE FROM seal WHERE stream = 'record'", "DELETE FROM document WHERE kind = 'seal-intent'")
    found = audited(database)
    assert found.ok, "an unsealed stream proves nothing, and is no fault"
    record = next(one for one in found.streams if one.stream == "record")
    assert record.unsealed > 20
    assert record.sealed == 0
    assert record.unsealed_since
    attack(database, "UPDATE observation SET verdict = 'fail' WHERE stream = 'record' AND sequence = 3")
    assert places(database) == ["record, observation 3"]
