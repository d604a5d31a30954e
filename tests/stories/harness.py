"""One real everyhop for a story: the real command line as a process of its own, in a directory of its own.

Rules: what a story waits for is a fact with a deadline, never a pause. Whatever a story does, at its end nothing runs
that carries its instance's mark. When a story fails, the newest lines of all logs are part of the message.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from string import Template
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.stories.ports import free_band, free_port

import everyhop
from everyhop import app
from everyhop.app.running import end
from everyhop.core.hop import Address
from everyhop.core.literals import format_ports
from everyhop.core.plan import Plan
from everyhop.errors import EveryhopError
from everyhop.ports import Issuance, IssuanceState, RunningProcess, Store
from everyhop.services.apply import planned
from everyhop.services.inventory import Status
from everyhop.services.inventory import status as status_of

T = TypeVar("T")
APPS = Path(__file__).parent / "apps"
CRASHING = Path(__file__).parent / "crashing.py"


def until(condition: Callable[[], T], what: str, *, seconds: float = 30.0) -> T:
    """The first true value of a condition; fails when there was none in time."""
    deadline = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.03)


def filled(text: str, **values: object) -> str:
    """A topology with ``$name`` replaced: given values, ``$python``, ``$apps``, and a free port for every other
    ``$word``."""
    known: dict[str, object] = {"python": sys.executable, "apps": APPS, **values}

    class Chosen(dict[str, object]):
        def __missing__(self, key: str) -> object:
            self[key] = free_port()
            return self[key]

    return Template(text).substitute(Chosen(known))


def with_band(topology: str, band: range) -> str:
    """A topology whose mesh chooses its addresses from a band of ports, so that it meets no other mesh on one."""
    head, _, rest = f"\n{topology}".partition("\npolicy:\n")
    assert "\npolicy:" not in head + rest, "it has one policy, in lines of its own"
    return f"{head}\npolicy:\n  mesh_ports: {format_ports(band)}\n{rest}".lstrip("\n")


class Everyhop:
    """``with Everyhop(topology) as mesh:`` gives a directory; ``mesh.up()`` starts the command line on it."""

    def __init__(self, topology: str, *, environment: Mapping[str, str] | None = None) -> None:
        """``topology`` is the file's text; a band of ports is added to it, which no other mesh of this run has."""
        # Short, because Unix sockets live below it (107 bytes).
        self.home = Path(tempfile.mkdtemp(prefix="eh-", dir="/tmp"))
        self.data = self.home / "data"
        self.seal = self.home / "seal"
        self.file = self.home / "everyhop.yaml"
        self.output = self.home / "up.log"
        self.file.write_text(with_band(topology, free_band()))
        self.process: subprocess.Popen[bytes] | None = None
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(everyhop.__file__).parents[1]),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            **(environment or {}),
        }

    # --- the life of the command line -----------------------------------------------------------------------------

    def up(self, *options: str, crash: str = "") -> Self:
        """Start ``everyhop up`` in the background. With ``crash`` it kills itself there (see crashing.py)."""
        assert self.process is None or self.process.poll() is not None, "it runs already"
        program = [sys.executable, str(CRASHING)] if crash else [sys.executable, "-m", "everyhop"]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [*program, "up", str(self.file), *self._where, *options],
                env={**self._environment, "CRASH_AT": crash},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self

    def ready(self, *, seconds: float = 60.0) -> Self:
        """Wait until every hop was seen as it should be and every certificate was seen on the wire."""

        def is_ready() -> bool:
            assert self.alive, f"everyhop ended with {self.process and self.process.returncode}"
            return (found := self.look()) is not None and found.state == "running" and found.ok and served(found)

        until(is_ready, "every hop to be seen", seconds=seconds)
        return self

    @property
    def alive(self) -> bool:
        """True while the command line runs."""
        return self.process is not None and self.process.poll() is None

    def kill9(self) -> None:
        """End everyhop, and nothing else, as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def kill_process(self, name: str) -> int:
        """SIGKILL to one of the processes that everyhop has started; its pid."""
        pid = self.processes()[name]
        os.kill(pid, signal.SIGKILL)
        return pid

    def died(self, *, seconds: float = 60.0) -> None:
        """Wait until it has killed itself."""
        assert self.process is not None
        assert self.process.wait(seconds) == -signal.SIGKILL

    def died_quietly(self) -> bool:
        """True if it ended, and said that all is well."""
        assert self.process is not None
        return self.process.wait(60) == 0

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ctrl-C, and the exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    # --- asking ---------------------------------------------------------------------------------------------------

    @property
    def _where(self) -> list[str]:
        return ["--data", str(self.data), "--seal-file", str(self.seal)]

    def run(self, *arguments: str, exit_status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Another command of the command line, to its end. ``exit_status`` is what must come of it (None: anything)."""
        done = subprocess.run(
            [*self.command(*arguments), *self._where],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        if exit_status is not None:
            assert done.returncode == exit_status, f"{arguments} gave {done.returncode}: {done.stdout}{done.stderr}"
        return done

    def command(self, *arguments: str) -> list[str]:
        """The command line as anybody would call it, without this mesh's directory."""
        return [sys.executable, "-m", "everyhop", *arguments]

    def json(self, *arguments: str, exit_status: int | None = 0) -> Any:
        """The answer of a command with ``--json``."""
        return json.loads(self.run(*arguments, "--json", exit_status=exit_status).stdout)

    @property
    def workspace(self) -> app.Workspace:
        return app.Workspace(self.data, self.seal)

    def ask(self, question: Callable[[Store], Any]) -> Any:
        """The answer of an async question to the store, beside the running everyhop."""

        async def answer() -> Any:
            async with self.workspace.store() as store:
                return await question(store)

        return asyncio.run(answer())

    def look(self) -> Status | None:
        """What ``everyhop status`` shows; None before there is anything."""
        if not self.workspace.exists:
            return None
        try:
            return self.ask(lambda store: status_of(store, str(self.data), app.now()))
        except EveryhopError as error:
            if error.code.name != "not-running":
                raise
            return None

    def status(self) -> Status:
        """What ``everyhop status`` shows."""
        found = self.look()
        assert found is not None
        return found

    def plan(self) -> Plan:
        """What is planned, with its addresses."""
        return self.ask(lambda store: planned(store, str(self.data)))[1]

    def mesh_address(self, service: str) -> Address:
        """Where a service's proxy accepts mTLS."""
        return next(one.address for one in self.plan().node(service).listeners if one.name == "inbound")

    def admin(self, node: str, path: str) -> Any:
        """What a node's Envoy says on its own admin socket, as JSON."""
        connection = http.client.HTTPConnection("envoy", timeout=10)
        connection.sock = socket.socket(socket.AF_UNIX)
        with contextlib.closing(connection):
            connection.sock.connect(str(self.data / "nodes" / node / "admin.sock"))
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())

    def journal(self, state: IssuanceState | None = None) -> Sequence[Issuance]:
        """The issuance journal."""
        return self.ask(lambda store: store.issuances(state=state, limit=100_000))

    def processes(self) -> dict[str, int]:
        """What runs with this instance's mark: pids by name."""
        return {one.name: one.pid for one in self._running()}

    def _running(self) -> Sequence[RunningProcess]:
        async def find() -> Sequence[RunningProcess]:
            async with self.workspace.store() as store:
                return await self.workspace.runner(await app.instance_of(store)).running()

        return asyncio.run(find()) if self.workspace.exists else ()

    @property
    def dashboard(self) -> str:
        """Where the dashboard of this life is; empty until it is up."""
        log = self.data / "everyhop.log"
        records = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return next((one["url"] for one in reversed(records) if one["event"] == "dashboard.ready"), "")

    @property
    def roots(self) -> str:
        """The published roots (PEM), read anew."""
        return (self.data / "root.pem").read_text()

    # --- the end --------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                error.add_note(self.logs())
            if self.alive:
                self.stop()
            if self._running():
                asyncio.run(end(self.workspace, patience=30))
            assert not self._running(), f"these were left behind: {self._running()}"
        finally:
            if self.alive:
                self.kill9()
            shutil.rmtree(self.home, ignore_errors=True)

    def logs(self) -> str:
        """The newest lines of every log."""
        files = [self.output, *sorted((self.data / "logs").glob("*.log"))]
        parts = [
            f"--- {file.name}\n" + "\n".join(file.read_text().splitlines()[-25:]) for file in files if file.exists()
        ]
        return "\n".join(parts)


def served(found: Status) -> bool:
    """True if every certificate was seen on the wire and no rotation is under way."""
    quiet = found.rotation is None or found.rotation.finished
    return quiet and bool(found.certificates) and all(one.state == "served" for one in found.certificates)
