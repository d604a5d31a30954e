"""`everyhop report` and `everyhop report verify`, on a data directory with real keys and a real database."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.fakes.observed import minutes, others
from tests.fakes.pki import CA
from tests.fakes.world import TEXT

from everyhop.app import Workspace, instance_of
from everyhop.cli import main
from everyhop.core.layout import issuance_policy
from everyhop.core.validation import read
from everyhop.drivers.host.machine import SystemClock, SystemRandom
from everyhop.drivers.keys.algorithms import make
from everyhop.services.apply import apply
from everyhop.services.chronicle import Chronicler
from everyhop.services.establish import Authorities
from everyhop.services.issue import Gate


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory in which an authority was made and a minute observed."""
    folder = tmp_path_factory.mktemp("report")
    workspace = Workspace(folder / "data", folder / "seal.key")

    async def play() -> None:
        async with workspace.store() as store:
            clock = SystemClock()
            keys = await workspace.keys(await instance_of(store))
            now = clock.now()
            await apply(store, TEXT, file="everyhop.yaml", file_dir="/shop", actor="test", now=now)
            gate = Gate(store, keys, clock, SystemRandom(), make)
            policy = issuance_policy(read(TEXT, file="everyhop.yaml", today=now.date()))
            await Authorities(store, keys, gate).establish(policy)
            await store.observe([*others(now), *minutes(now)])
            await Chronicler(store).tick(None)

    asyncio.run(play())
    return folder


def everyhop(data: Path, *arguments: str) -> Result:
    options = ("--data", str(data / "data"), "--seal-file", str(data / "seal.key"))
    return CliRunner().invoke(main, ["report", *arguments, *options])


@pytest.fixture(scope="module")
def pack(data: Path) -> Path:
    made = everyhop(data, "--last", "1h", "--out", str(data / "pack"), "--json")
    assert made.exit_code == 0, made.output
    told = json.loads(made.stdout)
    assert sorted(told["files"]) == [
        "evidence.json",
        "evidence.json.sig",
        "evidence.pem",
        "report.html",
        "root.pem",
    ]
    assert told["checklist"]["hops-encrypted"] == "pass"
    return data / "pack"


def test_a_pack_is_its_owners_alone(pack: Path) -> None:
    assert {path.stat().st_mode & 0o777 for path in pack.iterdir()} == {0o600}


def test_a_pack_verifies_offline_with_a_root_and_says_so_without(pack: Path, data: Path, tmp_path: Path) -> None:
    away = tmp_path / "nothing"
    with_root = CliRunner().invoke(
        main, ["report", "verify", str(pack), "--root", str(pack / "root.pem"), "--data", str(away)]
    )
    assert with_root.exit_code == 0, with_root.output
    assert "no --root was given" not in with_root.output
    assert not away.exists()
    without = everyhop(data, "verify", str(pack))
    assert without.exit_code == 0
    assert "no --root was given" in without.output


def test_another_root_is_not_believed(pack: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_bytes(CA().pem)
    found = everyhop(data, "verify", str(pack), "--root", str(tmp_path / "other.pem"), "--json")
    assert found.exit_code == 1
    assert [fault["where"] for fault in json.loads(found.stdout)["faults"]] == ["evidence.pem"]


@contextmanager
def changed(pack: Path, tmp_path: Path, name: str, old: bytes, new: bytes) -> Generator[Path]:
    copy = tmp_path / "copy"
    shutil.copytree(pack, copy)
    content = (copy / name).read_bytes()
    assert old in content
    (copy / name).write_bytes(content.replace(old, new, 1))
    yield copy


@pytest.mark.parametrize(
    ("name", "old", "new", "where"),
    [
        ("evidence.json", b'"count":2', b'"count":3', "seal"),
        ("evidence.json.sig", b"\x30", b"\x31", "evidence.json.sig"),
        ("evidence.pem", b"MII", b"MIJ", "evidence.pem"),
        ("report.html", b"pass", b"PASS", "report.html"),
    ],
)
def test_a_change_of_any_file_is_named(
    name: str, old: bytes, new: bytes, where: str, pack: Path, data: Path, tmp_path: Path
) -> None:
    with changed(pack, tmp_path, name, old, new) as copy:
        found = everyhop(data, "verify", str(copy), "--root", str(pack / "root.pem"), "--json")
    assert found.exit_code == 1
    assert any(where in fault["where"] for fault in json.loads(found.stdout)["faults"])


def test_what_is_no_pack_cannot_be_told(data: Path, tmp_path: Path) -> None:
    assert everyhop(data, "verify", str(tmp_path)).exit_code == 2
    assert everyhop(data, "verify", str(tmp_path / "nowhere")).exit_code == 2


def test_the_store_is_audited_and_must_have_the_packs_seals(pack: Path, data: Path, tmp_path: Path) -> None:
    root = str(data / "pack" / "root.pem")
    found = everyhop(data, "verify", str(pack), "--root", root, "--store")
    assert found.exit_code == 0, found.output
    assert "sealed observations under" in found.output
    copy = tmp_path / "data"
    shutil.copytree(data / "data", copy)
    connection = sqlite3.connect(copy / "everyhop.db")
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    for table in ("seal", "observation"):
        connection.execute(f"DELETE FROM {table} WHERE stream = 'record'")
    connection.execute("DELETE FROM document WHERE kind = 'seal-intent'")
    connection.commit()
    connection.close()
    arguments = ["report", "verify", str(pack), "--root", root, "--store", "--data", str(copy), "--json"]
    cut = CliRunner().invoke(main, arguments)
    assert cut.exit_code == 1
    assert json.loads(cut.stdout)["faults"][0]["what"] == "the data directory does not have the seal that the pack has"


@pytest.mark.parametrize(
    "arguments",
    [("--last", "soon"), ("--from", "yesterday"), ("--from", "2026-01-01", "--last", "7d"), ("--from", "2999-01-01")],
)
def test_a_period_that_is_none_is_wrong_usage(arguments: tuple[str, ...], data: Path) -> None:
    assert everyhop(data, *arguments).exit_code == 2


def test_a_folder_with_files_is_left_alone(pack: Path, data: Path) -> None:
    before = (pack / "evidence.json").read_bytes()
    again = everyhop(data, "--last", "1h", "--out", str(pack))
    assert again.exit_code == 3
    assert (pack / "evidence.json").read_bytes() == before


def test_two_packs_one_after_the_other_are_both_believed(data: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        folder = tmp_path / str(number)
        assert everyhop(data, "--last", "1h", "--out", str(folder)).exit_code == 0
        assert everyhop(data, "verify", str(folder), "--store").exit_code == 0


@pytest.mark.skipif(not (shutil.which("chromium") or shutil.which("google-chrome")), reason="apt-get install chromium")
def test_chromium_prints_it(data: Path, tmp_path: Path) -> None:
    made = everyhop(data, "--last", "1h", "--out", str(tmp_path / "pack"), "--pdf")
    assert made.exit_code == 0, made.output
    pdf = (tmp_path / "pack" / "report.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert len(pdf) > 10_000


def test_help_tells_the_default() -> None:
    text = CliRunner().invoke(main, ["report", "--help"]).output
    assert "default: 7d" in text
