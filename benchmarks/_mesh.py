"""A mesh for a benchmark: the real `everyhop up` in a process of its own, and a look at what it logged.

Rules: everything lives below one folder in the system's temporary folder, whose short path Unix sockets need; ports
are asked from the kernel; what was started is ended by its pid, also after a fault.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import cast

from everyhop.app import Workspace

ROOT = Path(__file__).resolve().parent.parent
ECHO = ROOT / "benchmarks" / "apps" / "echo.py"
_CLI = [sys.executable, "-c", "from everyhop.cli import main; main()"]


@dataclass(frozen=True, slots=True)
class Logged:
    """One event of everyhop's log."""

    at: float
    """Unix seconds."""
    name: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Mesh:
    """A mesh that is up."""

    data: Path
    pid: int

    @property
    def workspace(self) -> Workspace:
        """Its data directory."""
        return Workspace(self.data, self.data / "seal.key")

    @property
    def bundle(self) -> Path:
        """The published roots."""
        return self.data / "root.pem"

    def command(self, *arguments: str) -> str:
        """Run an everyhop command on it; what it printed."""
        full = [*_CLI, *arguments, "--data", str(self.data), "--seal-file", str(self.data / "seal.key")]
        return subprocess.run(full, check=True, capture_output=True, text=True, cwd=ROOT).stdout

    def events(self) -> list[Logged]:
        """All that it logged so far."""
        return _events(self.data)

    def proxy_pid(self, node: str) -> int:
        """The process of a node's proxy."""
        started = [one for one in self.events() if one.name == "process.started"]
        return int(next(one.fields["pid"] for one in reversed(started) if one.fields["name"] == f"envoy-{node}"))

    def app_pid(self, name: str) -> int:
        """The process of an app."""
        started = [one for one in self.events() if one.name == "process.started"]
        return int(next(one.fields["pid"] for one in reversed(started) if one.fields["name"] == name))

    def admin(self, node: str, path: str) -> object:
        """What a node's Envoy answers on its admin socket, as JSON."""
        connection = http.client.HTTPConnection("envoy", timeout=5)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.sock.connect(os.fspath(self.data / "nodes" / node / "admin.sock"))
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def nodes(self) -> list[str]:
        """The names of its proxies."""
        return sorted(one.name for one in (self.data / "nodes").iterdir())


@contextmanager
def folder() -> Generator[Path]:
    """A short-lived folder with a short path."""
    with tempfile.TemporaryDirectory(prefix="everyhop-", ignore_cleanup_errors=True) as path:
        yield Path(path)


@contextmanager
def up(home: Path, topology: str, *, patience: float = 120.0) -> Generator[Mesh]:
    """Bring a topology up in ``home``, end it afterwards. Raises ``RuntimeError`` if it does not become ready."""
    file, data = home / "everyhop.yaml", home / "data"
    file.write_text(topology, encoding="utf-8")
    data.mkdir(mode=0o700)
    command = [*_CLI, "up", str(file), "--data", str(data), "--seal-file", str(data / "seal.key")]
    with (home / "up.log").open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=ROOT, start_new_session=True
        )
        try:
            try:
                wait(lambda: _is_ready(process, home), patience, "the mesh to be ready")
            except RuntimeError as error:
                raise RuntimeError(f"{error}; everyhop said:\n{(home / 'up.log').read_text()[-2000:]}") from error
            yield Mesh(data, process.pid)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _is_ready(process: subprocess.Popen[bytes], home: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"everyhop ended with status {process.returncode}")
    return "Every hop is encrypted." in (home / "up.log").read_text(errors="replace")


def _events(data: Path) -> list[Logged]:
    found: list[Logged] = []
    for path in (data / "everyhop.log.1", data / "everyhop.log"):
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                fields = cast("dict[str, object]", json.loads(line))
                at = datetime.fromisoformat(str(fields.pop("at"))).timestamp()
                found.append(Logged(at, str(fields.pop("event")), {key: str(value) for key, value in fields.items()}))
    return found


def wait(condition: Callable[[], bool], patience: float, what: str) -> None:
    """Poll until a condition holds; raises ``RuntimeError`` when ``patience`` (seconds) is over."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {patience:.0f} s for {what}")
        time.sleep(0.05)


def free_ports(count: int) -> list[int]:
    """Ports on loopback that were free a moment ago, all different."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used so far (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
