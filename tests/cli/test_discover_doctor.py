"""`everyhop discover` and `everyhop doctor` as one types them: real sockets, real files, real exit statuses."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from everyhop.app import Workspace, instance_of
from everyhop.cli import main
from everyhop.core.validation import read
from everyhop.services.apply import apply

TOPOLOGY = """\
everyhop: 1
trust_domain: shop.internal
environment: test
owners:
  me: {contact: me@example.org}
services:
  web: {owner: me, listen: "127.0.0.1:%d"}
"""
SERVER = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    one, _ = listener.accept()
    one.recv(4096)
    one.sendall(b"HTTP/1.1 400 Bad Request\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
    one.close()
"""


@dataclass
class Shell:
    directory: Path

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, prog_name="everyhop", standalone_mode=True)

    def doctor(self) -> tuple[int, dict[str, str]]:
        result = self("doctor", "--json")
        return result.exit_code, {one["code"]: one["verdict"] for one in json.loads(result.stdout)}


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return Shell(tmp_path)


@pytest.fixture
def server() -> Generator[int]:
    """The port of a plaintext HTTP server in another process."""
    child = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert child.stdout
        yield int(child.stdout.readline())
    finally:
        child.kill()
        child.communicate()


# --- discover -----------------------------------------------------------------------------------------------------


def test_a_whole_file_is_written_where_there_is_none(shell: Shell, server: int) -> None:
    result = shell("discover", "--write", "found.yaml")
    assert result.exit_code == 0, result.output
    assert f"127.0.0.1:{server}" in result.stdout
    text = Path("found.yaml").read_text()
    topology = read(text, file="found.yaml", today=date(2026, 11, 22))
    (service,) = [one for one in topology.services.values() if one.listen.port == server]
    assert str(service.protocol) == "http"
    again = shell("discover", "--write", "found.yaml")
    assert again.exit_code == 2
    assert "there already" in again.output
    assert Path("found.yaml").read_text() == text
    assert not Path(".everyhop").exists()


def test_what_the_topology_has_is_not_found_again(shell: Shell, server: int) -> None:
    Path("everyhop.yaml").write_text(TOPOLOGY % server)
    found = json.loads(shell("discover", "--json").stdout)
    assert server not in {address["port"] for one in found["candidates"] for address in one["addresses"]}


def test_own_listeners_of_a_test_are_our_own(shell: Shell) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as own:
        port = own.getsockname()[1]
        found = json.loads(shell("discover", "--json").stdout)
    assert port not in {address["port"] for one in found["candidates"] for address in one["addresses"]}


def test_a_topology_with_faults_is_told(shell: Shell) -> None:
    Path("everyhop.yaml").write_text("everyhop: 2\n")
    assert shell("discover").exit_code == 1
    assert shell("discover", "none.yaml").exit_code == 1


# --- doctor -------------------------------------------------------------------------------------------------------


@pytest.fixture
def applied(shell: Shell) -> Shell:
    async def store() -> None:
        now = datetime(2026, 11, 22, 12, tzinfo=UTC)
        async with Workspace(shell.directory / ".everyhop").store() as opened:
            await instance_of(opened)
            await apply(
                opened, TOPOLOGY % 7001, file="everyhop.yaml", file_dir=str(shell.directory), actor="t", now=now
            )

    asyncio.run(store())
    return shell


def test_without_a_data_directory_there_is_nobody_to_examine(shell: Shell) -> None:
    assert shell("doctor").exit_code == 3


def test_a_directory_in_which_nothing_runs_is_healthy(applied: Shell) -> None:
    status, found = applied.doctor()
    assert (status, {code for code, verdict in found.items() if verdict not in ("pass", "not applicable")}) == (
        0,
        set(),
    )


def test_planted_faults_are_found(applied: Shell) -> None:
    data = applied.directory / ".everyhop"
    data.chmod(0o755)
    (data / "keys").mkdir(mode=0o700)
    (data / "keys" / "root-1.key").write_text("-----BEGIN PRIVATE KEY-----\n")
    (data / "keys" / "root-1.key").chmod(0o644)
    status, found = applied.doctor()
    wrong = {code for code, verdict in found.items() if verdict == "fail"}
    assert (status, wrong) == (1, {"data-directory", "private-files", "keys-sealed", "seal-secret"})
    assert data.stat().st_mode & 0o777 == 0o755  # a doctor looks, and changes nothing
    text = applied("doctor").stdout
    assert f"chmod 700 {data}" in text


def test_a_damaged_store_is_found_and_the_rest_still_examined(applied: Shell) -> None:
    store = applied.directory / ".everyhop" / "everyhop.db"
    size = store.stat().st_size
    for left in store.parent.glob("everyhop.db-*"):
        left.unlink()
    with store.open("r+b") as file:
        file.seek(100)
        file.write(os.urandom(size - 100))
    status, found = applied.doctor()
    assert status == 1
    assert found["store-whole"] == "fail"
    assert found["authority-life"] == "unknown"
    assert found["disk-space"] == "pass"
