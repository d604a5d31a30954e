"""How the command line ends when the terminal, the reader or the disk does not play along. A status of 1 means that
something falls short, and nothing else may say so."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from everyhop.cli import main
from everyhop.errors import ExitStatus

EVERYHOP = (sys.executable, "-c", "from everyhop.cli import main; main()")
SECONDS = 60


def run(*arguments: str, stdout: int = subprocess.PIPE, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*EVERYHOP, *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments", [["profiles"], ["profiles", "--json"], ["schema"], ["--help"], ["scan", "--help"], ["runbook"]]
)
def test_a_reader_who_hangs_up_is_no_violation(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = run(*arguments, stdout=writing)
    finally:
        os.close(writing)
    assert ended.returncode == ExitStatus.UNHEARD, ended.stderr
    assert ended.stderr == b""


@pytest.mark.parametrize("arguments", [["profiles"], ["profiles", "--json"]])
def test_a_full_disk_is_told_and_is_no_fault_of_ours(arguments: list[str]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        ended = run(*arguments, stdout=full)
    finally:
        os.close(full)
    assert ended.returncode == ExitStatus.USAGE
    assert b"no space left on device" in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_a_terminal_without_our_signs_gets_them_spelled_out() -> None:
    with socket.socket() as held:  # bound, and nobody listens
        held.bind(("127.0.0.1", 0))
        ended = run("scan", f"127.0.0.1:{held.getsockname()[1]}", PYTHONIOENCODING="ascii")
    assert ended.returncode == ExitStatus.USAGE, ended.stderr
    assert b"? unknown" in ended.stdout
    assert b"Traceback" not in ended.stderr
    assert run("profiles", PYTHONIOENCODING="ascii").returncode == ExitStatus.OK
    json.loads(run("profiles", "--json", PYTHONIOENCODING="ascii").stdout)


def test_ctrl_c_is_no_violation() -> None:
    """A server that never answers is looked at; the interrupt comes once it was called."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)
        asked = [*EVERYHOP, "scan", f"127.0.0.1:{server.getsockname()[1]}", "--timeout", "100"]
        with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as scan:
            try:
                caller, _ = server.accept()
                with caller:
                    scan.send_signal(signal.SIGINT)
                    _, told = scan.communicate(timeout=SECONDS)
            finally:
                scan.kill()
    assert scan.returncode == ExitStatus.INTERRUPTED
    assert told.strip() == b"interrupted"


@pytest.mark.parametrize(
    "words", ["scan", "scan --no-such", "no-such", "scan a.test --file x", "scan a.test --save /x/y"]
)
def test_with_json_wrong_usage_is_json_too(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [*words.split(), "--json"])
    assert result.exit_code == ExitStatus.USAGE
    assert json.loads(result.stderr)["error"] == "usage-invalid"
    assert result.stdout == ""
    for_people = CliRunner().invoke(main, words.split())
    assert (for_people.exit_code, for_people.stdout) == (ExitStatus.USAGE, "")
    assert "rror" in for_people.stderr
