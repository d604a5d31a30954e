"""A runner without processes: they live until they are stopped or a test ends them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from everyhop.errors import EveryhopError
from everyhop.ports import ProcessSpec, RunningProcess


@dataclass
class _Life:
    status: int | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)


class FakeRunner:
    """Implements ``ports.Runner`` in memory. ``started`` and ``stopped`` tell what was asked for, in order."""

    def __init__(self, *, cannot_run: Sequence[str] = ()) -> None:
        """Starting a name in ``cannot_run`` fails."""
        self.started: list[ProcessSpec] = []
        self.stopped: list[str] = []
        self.logs: dict[str, list[str]] = {}
        self.cannot_run = set(cannot_run)
        self._lives: dict[RunningProcess, _Life] = {}
        self._last_pid = 1000

    def adopt(self, spec: ProcessSpec) -> RunningProcess:
        """A process that an earlier life left behind."""
        return self._live(spec, adopted=True)

    def end(self, name: str, status: int = 1) -> None:
        """The process of this name ends by itself."""
        for process, life in self._lives.items():
            if process.name == name and not life.over.is_set():
                life.status = None if process.adopted else status
                life.over.set()

    def _live(self, spec: ProcessSpec, *, adopted: bool) -> RunningProcess:
        self._last_pid += 1
        process = RunningProcess(spec.name, self._last_pid, spec.digest(), adopted)
        self._lives[process] = _Life()
        return process

    async def running(self) -> Sequence[RunningProcess]:
        return sorted(
            (process for process, life in self._lives.items() if not life.over.is_set()),
            key=lambda process: (process.name, process.pid),
        )

    async def start(self, spec: ProcessSpec) -> RunningProcess:
        if spec.name in self.cannot_run or not spec.command:
            raise EveryhopError("process-failed", f"expected to execute {spec.name}, got a fake that cannot")
        self.started.append(spec)
        return self._live(spec, adopted=False)

    async def wait(self, process: RunningProcess) -> int | None:
        if (life := self._lives.get(process)) is None:
            return None
        await life.over.wait()
        return life.status

    async def stop(self, process: RunningProcess, *, grace: float = 10.0) -> None:
        self.stopped.append(process.name)
        if (life := self._lives.get(process)) and not life.over.is_set():
            life.status = None if process.adopted else -15
            life.over.set()

    async def log(self, name: str, *, lines: int = 100) -> Sequence[str]:
        return self.logs.get(name, [])[-lines:] if lines > 0 else []

    async def trim_logs(self) -> Sequence[str]:
        return []
