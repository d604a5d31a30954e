"""A server's process: started in a directory of its own, waited for, ended by its id.

Rules: a server that does not come up fails the test with the end of its log. Its own children are in its session, and
end with it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

DEADLINE = 20.0
"""Seconds for a server to listen: some need one or two on a busy machine."""


@contextmanager
def running(
    command: Sequence[str], home: Path, ports: Sequence[int], *, environment: Mapping[str, str] | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """The process while it runs; it listens on every port from the beginning of the block."""
    log = home / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "HOME": str(home), **(environment or {})},
        )
    try:
        for port in ports:
            _wait(process, port, log)
        yield process
    finally:
        _end(process)


def logged(log: Path, words: str) -> None:
    """Wait until a server has said so: some listen before they serve."""
    deadline = time.monotonic() + DEADLINE
    while words not in (said := log.read_text(errors="replace")):
        assert time.monotonic() < deadline, f"expected {words!r} in the log, got: {said[-2000:]}"
        time.sleep(0.03)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + DEADLINE
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        said = log.read_text(errors="replace")[-2000:]
        assert process.poll() is None, f"{process.args!r} ended with {process.returncode}: {said}"
        assert time.monotonic() < deadline, f"{process.args!r} does not listen on {port}: {said}"
        time.sleep(0.03)


def _end(process: subprocess.Popen[bytes]) -> None:
    for way in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            break
        with suppress(ProcessLookupError):
            os.killpg(process.pid, way)
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
    process.wait()
