"""An evidence pack of a real mesh verifies; one changed byte of a stored observation, and it does not, and says where.

The attacker of this story has the database file, drops its triggers, and changes what he likes. He has no key.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.servers import need
from tests.stories.client import Load
from tests.stories.harness import until
from tests.stories.small import Small

from everyhop.core.observation import Kind, Stream

pytestmark = pytest.mark.story


@pytest.fixture(scope="module")
def mesh() -> Iterator[Small]:
    """A mesh that has carried requests, refused a stranger's plaintext, rotated a leaf, and was observed and sealed."""
    with Small() as mesh:
        mesh.up().ready()
        with Load(mesh.send) as load:
            until(lambda: load.sent >= 20, "requests")
            mesh.run("rotate", "leaf")
        assert not load.failures
        assert mesh.stop() == 0  # the last counts are written at the end
        yield mesh


@pytest.fixture(scope="module")
def pack(mesh: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evidence") / "pack"
    mesh.run("report", "--last", "1h", "--out", str(folder))
    return folder


def test_the_pack_verifies_also_for_a_stranger(mesh: Small, pack: Path) -> None:
    """Offline, with the published root and nothing else; and the signature with openssl alone."""
    root = str(mesh.workspace.bundle_file)
    verified = subprocess.run(
        mesh.command("report", "verify", str(pack), "--root", root), capture_output=True, text=True, check=False
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr
    claims = json.loads((pack / "evidence.json").read_text())["claims"]
    assert {hop["hop"] for hop in claims["hops"]} == {"client -> edge", "edge -> web", "web -> api"}
    names = {path.suffix for path in pack.iterdir()}
    assert {".json", ".html", ".pem"} <= names
    certificate = next(path for path in pack.iterdir() if path.suffix == ".pem" and "root" not in path.name)
    key = subprocess.run(
        [need("openssl"), "x509", "-in", str(certificate), "-pubkey", "-noout"], capture_output=True, check=True
    ).stdout
    (pack.parent / "key.pem").write_bytes(key)
    signature = next(path for path in pack.iterdir() if path.suffix in (".sig", ".der"))
    judged = subprocess.run(
        [
            *(need("openssl"), "dgst", "-sha256", "-verify", str(pack.parent / "key.pem")),
            *("-signature", str(signature), str(pack / "evidence.json")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Verified OK" in judged.stdout


def test_one_changed_byte_of_any_stored_observation_shows_and_says_where(mesh: Small, pack: Path) -> None:
    """Each observation of both streams in its turn: a letter of its body or its subject is another one."""
    mesh.run("report", "verify", str(pack), "--store")
    database = mesh.data / "everyhop.db"
    with closing(sqlite3.connect(database)) as file:
        triggers = file.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        rows = file.execute("SELECT stream, sequence, subject FROM observation ORDER BY stream, sequence").fetchall()
    kinds = {one.kind for one in mesh.ask(lambda store: store.observations(stream=Stream.RECORD))}
    assert {Kind.CERTIFICATE, Kind.POSTURE} <= kinds
    step = max(1, len(rows) // 12)
    for stream, sequence, subject in rows[::step]:
        with closing(sqlite3.connect(database)) as file:
            for name, _ in triggers:
                file.execute(f"DROP TRIGGER {name}")
            where = (stream, sequence)
            changed = subject[:-1] + chr(ord(subject[-1]) ^ 1)
            file.execute("UPDATE observation SET subject = ? WHERE stream = ? AND sequence = ?", (changed, *where))
            file.commit()
        told = mesh.run("report", "verify", str(pack), "--store", exit_status=1).stdout
        assert f"observation {sequence}" in told, told
        assert stream in told
        with closing(sqlite3.connect(database)) as file:
            file.execute("UPDATE observation SET subject = ? WHERE stream = ? AND sequence = ?", (subject, *where))
            for _, sql in triggers:
                file.execute(sql)
            file.commit()
    mesh.run("report", "verify", str(pack), "--store")


def test_a_changed_pack_is_no_evidence(mesh: Small, pack: Path, tmp_path: Path) -> None:
    text = (pack / "evidence.json").read_bytes()
    for before, after in ((b"TLSv1.3", b"TLSv1.2"), (b"X25519MLKEM768", b"X25519MLKEM769"), (b"pass", b"fail")):
        assert before in text
        folder = tmp_path / after.hex()
        folder.mkdir()
        for path in pack.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        (folder / "evidence.json").write_bytes(text.replace(before, after, 1))
        mesh.run("report", "verify", str(folder), exit_status=1)
