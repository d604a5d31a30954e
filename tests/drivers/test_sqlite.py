"""The SQLite store where it meets the machine: kills, full disks, permissions, other processes, schemas."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from everyhop.drivers.store.group_commit import BATCH, GroupWriter
from everyhop.drivers.store.migrate import Migration, migrate, shipped
from everyhop.drivers.store.sqlite import SqliteStore
from everyhop.errors import EveryhopError
from everyhop.ports import AuditEntry, Issuance, IssuanceState

NOW = datetime(2026, 3, 1, tzinfo=UTC)

CHILD_HEAD = """
import asyncio, os, resource, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from everyhop.drivers.store.sqlite import SqliteStore
from everyhop.errors import EveryhopError
from everyhop.ports import AuditEntry, Issuance

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PATH = Path(sys.argv[1])

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
"""


@contextmanager
def child(body: str, *arguments: object) -> Generator[subprocess.Popen[str]]:
    """A Python process that runs ``body``; it is dead afterwards."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CHILD_HEAD + body, *map(str, arguments)]
    with subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def answer(body: str, *arguments: object) -> str:
    """What a child that ends by itself has said."""
    with child(body, *arguments) as process:
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        return said


def intent(serial: int) -> Issuance:
    times = (NOW, NOW + timedelta(days=1), NOW)
    return Issuance(f"r{serial}", serial, "i", "p", "d", "s", "o", ("dns:a",), b"t" * serial, b"a", "ok", *times)


def raw(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(path, isolation_level=None))


# --- crashes and full disks -----------------------------------------------------------------------------------

STREAM = """
async def work(store, first, lane):
    for serial in range(first + lane, 10**9, 16):
        issuance = Issuance(f"r{serial}", serial, "i", "p", "d", "s", "o", ("dns:a",), b"t%d" % serial, b"a", "ok",
                            NOW, NOW + timedelta(days=1), NOW)
        await store.intend(issuance)
        say("intended", serial)
        await store.complete(serial, b"c%d" % serial, NOW)
        say("issued", serial)
        say("audited", (await store.audit(AuditEntry(NOW, "a", "b", str(serial), "ok"))).sequence)
        say("put", (await store.put("lane", str(lane), {"serial": serial})).version, lane)

async def main():
    store = await SqliteStore.open(PATH)
    await asyncio.gather(*(work(store, int(sys.argv[2]), lane) for lane in range(16)))

asyncio.run(main())
"""


def test_kill_9_in_a_stream_of_writes_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    acknowledged: dict[str, list[int]] = {"intended": [], "issued": [], "audited": [], "put": []}
    for round_number in range(4):
        with child(STREAM, path, 1 + round_number * 1_000_000) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(300 + 137 * round_number)]
            process.kill()
            lines += process.stdout.readlines()
        for line in lines:
            if line.endswith("\n"):
                what, number, *_ = line.split()
                acknowledged[what].append(int(number))
    assert len(acknowledged["audited"]) > 100

    async def check() -> None:
        store = await SqliteStore.open(path)
        for serial in acknowledged["intended"]:
            line = await store.issuance(serial=serial)
            assert line is not None
            assert line.tbs == b"t%d" % serial
        for line in await store.issuances(limit=10**6):
            issued = line.state is IssuanceState.ISSUED
            assert line.certificate == (b"c%d" % line.serial if issued else None)
            assert issued or line.serial not in acknowledged["issued"]
        log = await store.audit_log(limit=10**6)
        assert [entry.sequence for entry in log] == list(range(len(log), 0, -1))
        assert {entry.sequence for entry in log} >= set(acknowledged["audited"])
        assert max(document.version for document in await store.all("lane")) >= max(acknowledged["put"])
        await store.put("after", "the crash", {})
        await store.close()

    asyncio.run(check())
    with raw(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


FULL_DISK = """
async def main():
    store = await SqliteStore.open(PATH)
    await store.put("doc", "before", {})
    size = PATH.with_name(PATH.name + "-wal").stat().st_size
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100_000, hard))
    values = {str(number): {"text": "x" * 20_000} for number in range(40)}
    writes = [asyncio.create_task(store.put("doc", key, value)) for key, value in values.items()]
    outcomes = dict(zip(values, await asyncio.gather(*writes, return_exceptions=True)))
    for key, value in values.items():
        if isinstance(outcomes[key], Exception):
            break
        outcomes[key] = await store.put("other", key, value)  # it fits at last: fill up one by one
    failed = {key: error for key, error in outcomes.items() if isinstance(error, Exception)}
    assert failed and all(error.code.name == "store-unavailable" for error in failed.values()), outcomes
    there = {document.key for document in await store.all("doc")}
    assert there == {"before"} | (outcomes.keys() - failed.keys()), there
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    for key in failed:
        await store.put("doc", key, values[key], expect=0)
    assert (await store.audit(AuditEntry(NOW, "a", "b", "c", "ok"))).sequence == 1
    await store.close()
    store = await SqliteStore.open(PATH)
    assert len(await store.all("doc")) == 41
    await store.close()
    say(next(iter(failed.values())))

asyncio.run(main())
"""


def test_a_full_disk_is_told_changes_nothing_and_ends_with_the_shortage(tmp_path: Path) -> None:
    said = answer(FULL_DISK, tmp_path / "store.db")
    assert "hint: nothing was changed" in said


def test_a_failed_commit_fails_all_of_its_batch_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "plain.db"

    async def story() -> None:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        # A deferred key is judged at the commit: the honest way to make a commit fail.
        connection.execute("CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
        writer = GroupWriter(connection, asyncio.get_running_loop())

        def insert(cursor: sqlite3.Cursor, table: str, number: int) -> int:
            cursor.execute(f"INSERT INTO {table} VALUES (?)", (number,))
            return number

        batch = [writer.run(insert, "parent", 1), writer.run(insert, "child", 99), writer.run(insert, "parent", 2)]
        for outcome in await asyncio.gather(*batch, return_exceptions=True):
            assert isinstance(outcome, EveryhopError)
            assert outcome.code.name == "store-unavailable"
        assert await writer.run(insert, "parent", 1) == 1
        await writer.close()

    asyncio.run(story())
    with raw(path) as connection:
        assert connection.execute("SELECT id FROM parent").fetchall() == [(1,)]


def test_what_waits_together_is_committed_together(tmp_path: Path) -> None:
    statements: list[str] = []

    async def story() -> None:
        connection = sqlite3.connect(tmp_path / "plain.db", isolation_level=None, check_same_thread=False)
        connection.execute("CREATE TABLE number (id INTEGER PRIMARY KEY)")
        connection.set_trace_callback(statements.append)
        writer = GroupWriter(connection, asyncio.get_running_loop())

        def insert(cursor: sqlite3.Cursor, number: int) -> int:
            cursor.execute("INSERT INTO number VALUES (?)", (number,))
            return number

        asked = [*range(BATCH + 43), 7]
        outcomes = await asyncio.gather(*(writer.run(insert, number) for number in asked), return_exceptions=True)
        assert outcomes[:-1] == asked[:-1]
        assert isinstance(outcomes[-1], EveryhopError)  # the second 7 failed, alone
        await writer.close()

    asyncio.run(story())
    assert statements.count("COMMIT") == 2


def test_a_poisoned_neighbour_and_a_cancelled_caller_harm_nobody(tmp_path: Path) -> None:
    async def story() -> None:
        store = await SqliteStore.open(tmp_path / "store.db")
        good = asyncio.create_task(store.put("doc", "good", {}))
        bad = asyncio.create_task(store.put("doc", "\ud800", {}))
        gone = asyncio.create_task(store.put("doc", "gone", {}))
        await asyncio.sleep(0)
        gone.cancel()
        assert (await good).version == 1
        with pytest.raises(UnicodeEncodeError):
            await bad
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert (await store.put("doc", "good", {})).version == 2
        await store.close()

    asyncio.run(story())


# --- other processes ------------------------------------------------------------------------------------------

COUNT_UP = """
async def main():
    store = await SqliteStore.open(PATH)
    for _ in range(50):
        while True:
            found = await store.get("counter", "c")
            try:
                await store.put("counter", "c", {"n": found.value["n"] + 1}, expect=found.version)
                break
            except EveryhopError as error:
                assert error.code.name == "store-conflict"
    await store.close()

asyncio.run(main())
"""


def test_two_processes_share_one_file(tmp_path: Path) -> None:
    path = tmp_path / "store.db"

    async def story() -> None:
        store = await SqliteStore.open(path)
        await store.put("counter", "c", {"n": 0})
        before = await store.revision()
        await asyncio.gather(*(asyncio.to_thread(answer, COUNT_UP, path) for _ in range(2)))
        found = await store.get("counter", "c")
        assert found is not None
        assert (found.value, found.version) == ({"n": 100}, 101)
        assert await store.revision() != before
        await store.close()

    asyncio.run(story())


def test_reads_do_not_wait_for_another_writer(tmp_path: Path) -> None:
    path = tmp_path / "store.db"

    async def story() -> None:
        store = await SqliteStore.open(path)
        with raw(path) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("INSERT INTO document VALUES ('doc', 'theirs', '{}', 1)")
            mine = asyncio.create_task(store.put("doc", "mine", {}))
            assert await store.all("doc") == []
            assert not mine.done()
            other.execute("COMMIT")
            await mine
        assert [document.key for document in await store.all("doc")] == ["mine", "theirs"]
        await store.close()

    asyncio.run(story())


def test_many_may_make_the_store_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        stores = await asyncio.gather(*(SqliteStore.open(tmp_path / "new" / "store.db") for _ in range(8)))
        entries = await asyncio.gather(*(store.audit(AuditEntry(NOW, "a", "b", "c", "ok")) for store in stores))
        assert sorted(entry.sequence for entry in entries) == list(range(1, 9))
        for store in stores:
            await store.close()

    asyncio.run(story())


# --- the file -------------------------------------------------------------------------------------------------


def test_the_files_are_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "data" / "store.db"

    async def modes() -> dict[str, int]:
        store = await SqliteStore.open(path)
        await store.put("doc", "a", {})
        found = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        await store.close()
        return found

    expected = {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}
    before = os.umask(0)
    try:
        assert asyncio.run(modes()) == expected
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    assert asyncio.run(modes()) == expected


def test_names_with_marks_of_an_address_are_plain_files(tmp_path: Path) -> None:
    path = tmp_path / "a?mode=ro#%20 b.db"

    async def story() -> None:
        store = await SqliteStore.open(path)
        await store.put("doc", "a", {})
        await store.close()

    asyncio.run(story())
    assert path.exists()


def unavailable(path: Path) -> EveryhopError:
    with pytest.raises(EveryhopError) as caught:
        asyncio.run(SqliteStore.open(path))
    assert caught.value.code.name == "store-unavailable"
    assert caught.value.hint
    return caught.value


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(b"not a database at all, but long enough" * 100)
    assert "not a database" in str(unavailable(tmp_path / "garbage"))
    assert (tmp_path / "garbage").read_bytes().startswith(b"not a database")
    unavailable(tmp_path)
    unavailable(tmp_path / "garbage" / "store.db")


def test_a_newer_schema_and_a_changed_migration_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    asyncio.run(_made(path))
    with raw(path) as connection:
        connection.execute("INSERT INTO migration VALUES (9999, '9999_later.sql', 'x')")
    assert "got schema 9999" in str(unavailable(path))
    with raw(path) as connection:
        connection.execute("DELETE FROM migration WHERE number = 9999")
        connection.execute("UPDATE migration SET checksum = 'other' WHERE number = 1")
    assert "0001_first.sql" in str(unavailable(path))


async def _made(path: Path) -> None:
    store = await SqliteStore.open(path)
    await store.put("doc", "a", {})
    await store.close()


def test_migrations_are_numbered_without_gaps() -> None:
    assert [migration.number for migration in shipped()] == list(range(1, len(shipped()) + 1))


def test_a_failing_migration_leaves_the_step_before(tmp_path: Path) -> None:
    with raw(tmp_path / "plain.db") as connection:
        good = Migration(1, "0001_good.sql", "CREATE TABLE one (a TEXT);\n")
        bad = Migration(2, "0002_bad.sql", "CREATE TABLE two (a TEXT);\nINSERT INTO nowhere VALUES (1);\n")
        with pytest.raises(sqlite3.OperationalError):
            migrate(connection, [good, bad])
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        assert sorted(tables) == [("migration",), ("one",)]
        mended = Migration(2, "0002_bad.sql", "CREATE TABLE two (a TEXT);\n")
        migrate(connection, [good, mended])
        migrate(connection, [good, mended])


@pytest.mark.parametrize(
    "tampering",
    [
        "DELETE FROM audit",
        "UPDATE audit SET actor = 'nobody'",
        "DELETE FROM issuance",
        "UPDATE issuance SET tbs = x'00' WHERE serial LIKE '%2'",
        "UPDATE issuance SET certificate = x'00' WHERE serial LIKE '%1'",
        "UPDATE issuance SET state = 'intended', certificate = NULL, finished_at = NULL WHERE serial LIKE '%1'",
        "UPDATE issuance SET state = 'issued', finished_at = 1 WHERE serial LIKE '%2'",
        "UPDATE issuance SET state = 'odd', finished_at = 1 WHERE serial LIKE '%2'",
    ],
)
def test_the_journal_and_the_audit_log_cannot_be_rewritten(tmp_path: Path, tampering: str) -> None:
    path = tmp_path / "store.db"

    async def story() -> None:
        store = await SqliteStore.open(path)
        await store.intend(intent(1))
        await store.intend(intent(2))
        await store.complete(1, b"c", NOW)
        await store.audit(AuditEntry(NOW, "a", "b", "c", "ok"))
        await store.close()

    asyncio.run(story())
    with raw(path) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute(tampering)
