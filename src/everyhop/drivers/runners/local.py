"""Processes on this machine that outlive a crash of everyhop.

Rules: every process leads a session of its own and carries a mark (see :mod:`.processes`), so that a later life
finds it without a file that could be stale; there is no moment in which a process runs and is not known. Only what
carries this instance's mark, or was started by this object, is ever signalled. A process gets a short list of
variables from everyhop's environment and what its specification says, never a passphrase or credential of everyhop.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from everyhop.drivers.runners import logs, processes
from everyhop.drivers.runners.processes import Handle, Mark
from everyhop.errors import EveryhopError
from everyhop.ports import ProcessSpec, RunningProcess

INHERITED = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV")
"""What a process may see of everyhop's own environment. PYTHONPATH and LD_* are left out: they change which code a
program runs, and must be asked for in its specification."""

_KILL_SECONDS = 5.0
"""How long the kernel may take to end a process after SIGKILL before we say that it did not."""


class LocalRunner:
    """Runs processes on this machine (implements ``ports.Runner``)."""

    def __init__(self, data: Path, instance: str) -> None:
        """``data`` is the data directory (logs go to ``<data>/logs``); ``instance`` names this everyhop for good and
        should be unguessable, as whoever knows it can pass a process off as ours. Raises ``ValueError`` unless it
        is made of letters, digits, '.', '_' and '-'."""
        if not processes.WORD.match(instance):
            raise ValueError("expected an instance of letters, digits, '.', '_' and '-'")
        self._data = data
        self._logs = data / "logs"
        self._instance = instance
        self._children: dict[RunningProcess, subprocess.Popen[bytes]] = {}
        self._births: dict[RunningProcess, int] = {}
        self._one_at_a_time = asyncio.Lock()  # a process half started must not be taken for one of an earlier life

    async def running(self) -> Sequence[RunningProcess]:
        """Every live process of this instance, sorted by name: this object's own, and leaders found by their mark."""
        async with self._one_at_a_time:
            births = await asyncio.to_thread(self._leaders)
            own = [process for process, child in self._children.items() if child.poll() is None]
            pids = {process.pid for process in own}
            adopted = [process for process in births if process.pid not in pids]
            known = {process: birth for process, birth in self._births.items() if process in self._children}
            self._births = known | {process: births[process] for process in adopted}
        return sorted([*own, *adopted], key=lambda process: (process.name, process.pid))

    def _leaders(self) -> dict[RunningProcess, int]:
        """Marked processes that lead their session, with their births."""
        found: dict[RunningProcess, int] = {}
        for pid in processes.pids():
            if processes.session_of(pid) != pid:
                continue
            birth, mark = processes.birth_of(pid), processes.mark_of(pid)
            if birth is None or mark is None or mark.instance != self._instance:
                continue
            # A child may lead a session of its own: each of PostgreSQL's does.
            if (parent := processes.parent_of(pid)) and processes.mark_of(parent) == mark:
                continue
            if processes.birth_of(pid) == birth:  # still the same process after reading its mark: the mark is its
                found[RunningProcess(mark.name, pid, mark.digest, adopted=True)] = birth
        return found

    async def start(self, spec: ProcessSpec) -> RunningProcess:
        """Start a process; returns once it executes. Raises ``('process-failed')`` if it cannot be executed or its
        specification asks for what is not given; the text holds no argument and no value of its environment."""
        if not processes.WORD.match(spec.name) or not spec.command:
            raise EveryhopError(
                "process-failed", f"expected a name of letters, digits, '.', '_', '-' and a command, got {spec.name!r}"
            )
        beginning = asyncio.create_task(self._start(spec))
        try:
            return await asyncio.shield(beginning)
        except asyncio.CancelledError:
            await asyncio.wait({beginning})  # a process half started must not be left unknown
            raise

    async def _start(self, spec: ProcessSpec) -> RunningProcess:
        mark = Mark(self._instance, spec.name, spec.digest())
        async with self._one_at_a_time:
            child = await asyncio.to_thread(self._spawn, spec, mark)
            process = RunningProcess(spec.name, child.pid, mark.digest)
            self._forget(spec.name)
            self._children[process] = child
            if (birth := processes.birth_of(child.pid)) is not None:
                self._births[process] = birth
        return process

    def _forget(self, name: str) -> None:
        """Drop what is known of ended children of this name: their exit status was there to be asked for."""
        for process in [old for old, child in self._children.items() if old.name == name and child.poll() is not None]:
            del self._children[process]
            self._births.pop(process, None)

    def _spawn(self, spec: ProcessSpec, mark: Mark) -> subprocess.Popen[bytes]:
        directory = spec.directory or str(self._data)
        environment = _environment(spec, mark)
        with ExitStack() as stack:
            try:
                log = logs.open_log(self._logs / f"{spec.name}.log")
                stack.callback(os.close, log)
                memory_file = mark.memory_file()
                stack.callback(os.close, memory_file)
                return subprocess.Popen(
                    spec.command,
                    cwd=directory,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(memory_file,),
                    start_new_session=True,
                )
            except OSError as error:
                raise _not_executed(spec, directory, error) from None
            except ValueError:
                raise EveryhopError(
                    "process-failed",
                    f"expected a command and environment without NUL bytes for {spec.name}, got one with",
                ) from None

    async def wait(self, process: RunningProcess) -> int | None:
        """Wait until it has ended; its exit status (``-n`` if signal n ended it), or None if it was adopted."""
        child = self._children.get(process)
        if (handle := self._hold(process)) is not None:
            with handle:
                await handle.wait()
        return child.poll() if child else None

    def _hold(self, process: RunningProcess) -> Handle | None:
        """A hold on exactly this process, or None if it has ended: its number may be somebody else's by now."""
        handle = processes.hold(process.pid)
        if handle is None:
            return None
        birth = self._births.get(process)
        if birth is not None:
            same = processes.birth_of(process.pid) == birth
        else:
            same = processes.mark_of(process.pid) == self._mark(process)
        # Read after taking hold, and it still lives: what was read belongs to the process that is held.
        if not same or handle.ended:
            handle.close()
            return None
        return handle

    def _mark(self, process: RunningProcess) -> Mark:
        return Mark(self._instance, process.name, process.digest)

    async def stop(self, process: RunningProcess, *, grace: float = 10.0) -> None:
        """End it and its children: SIGTERM to the leader, then to those it left behind; SIGKILL to whoever is left
        after ``grace`` seconds, also when the leader had ended before. Raises ``('process-failed')`` if one stays."""
        deadline = asyncio.get_running_loop().time() + grace
        mark = self._mark(process)
        with ExitStack() as stack:
            kin: list[Handle] = []
            if (leader := self._hold(process)) is not None:
                stack.enter_context(leader)
                kin = await asyncio.to_thread(processes.hold_session, leader)
                await _end([leader], signal.SIGTERM, deadline)
                kin.append(leader)
            kin += await asyncio.to_thread(processes.hold_marked, mark)
            for handle in kin:
                stack.callback(handle.close)
            await _end(kin, signal.SIGTERM, deadline)
            deadline = asyncio.get_running_loop().time() + _KILL_SECONDS
            # Again and again: one that is being killed may have had a child a moment ago.
            while left := [handle for handle in kin if not handle.ended]:
                if not await _end(left, signal.SIGKILL, deadline):
                    raise EveryhopError(
                        "process-failed",
                        f"expected {process.name} to end after SIGKILL, got {len(left)} processes that stay",
                        hint="they belong to another user or hang in the kernel; look at them with ps",
                    )
                kin = await asyncio.to_thread(processes.hold_marked, mark)
                for handle in kin:
                    stack.callback(handle.close)
        if child := self._children.get(process):
            child.poll()

    async def log(self, name: str, *, lines: int = 100) -> Sequence[str]:
        """The newest lines of a process's log, oldest first; empty for an unknown name."""
        if not processes.WORD.match(name):
            return []
        return await asyncio.to_thread(logs.tail, self._logs / f"{name}.log", lines)

    async def trim_logs(self, *, limit: int = logs.LIMIT) -> Sequence[str]:
        """Cut the logs that have outgrown ``limit`` bytes (10 MiB); returns the names of their processes."""
        return await asyncio.to_thread(
            lambda: [path.stem for path in sorted(self._logs.glob("*.log")) if logs.trim(path, limit)]
        )


async def _end(handles: Sequence[Handle], number: signal.Signals, deadline: float) -> bool:
    """Signal the processes and wait for them until the loop's clock shows ``deadline``; True if all have ended."""
    left = [handle for handle in handles if not handle.ended]
    for handle in left:
        handle.signal(number)
    try:
        async with asyncio.timeout_at(deadline):
            for handle in left:
                await handle.wait()
    except TimeoutError:
        return all(handle.ended for handle in left)
    return True


def _environment(spec: ProcessSpec, mark: Mark) -> Mapping[str, str]:
    """What a process sees. Raises ``('process-failed')`` for names that are everyhop's alone."""
    for name in spec.environment:
        if name.startswith("EVERYHOP_PASSPHRASE") or name in (processes.VARIABLE, "CREDENTIALS_DIRECTORY"):
            raise EveryhopError(
                "process-failed",
                f"expected an environment for {spec.name} without everyhop's own variables, got {name}",
                hint="give the service a secret of its own under another name",
            )
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {"PATH": os.defpath, **inherited, **spec.environment, processes.VARIABLE: str(mark)}


def _not_executed(spec: ProcessSpec, directory: str, error: OSError) -> EveryhopError:
    reason = (error.strerror or "an unknown fault").lower()
    if error.filename == directory and directory != spec.command[0]:
        return EveryhopError(
            "process-failed",
            f"expected a directory to run {spec.name} in, got {reason}: {directory}",
            hint="create the directory, or correct it in the topology",
        )
    return EveryhopError(
        "process-failed",
        f"expected to execute {spec.command[0]!r} as {spec.name}, got {reason}",
        hint="check the command's name, that it is installed and executable, and the service's PATH",
    )
