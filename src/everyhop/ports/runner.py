"""Processes that everyhop starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A process to run: a change of any field means another process."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    directory: str = ""
    """Working directory; empty: the data directory."""

    def digest(self) -> str:
        """A short stable hash of the whole specification: tells a running process of an older one apart."""
        import hashlib
        import json

        text = json.dumps([self.name, self.command, dict(sorted(self.environment.items())), self.directory])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class RunningProcess:
    """A live process that everyhop started, now or in an earlier life."""

    name: str
    pid: int
    digest: str
    adopted: bool = False


class Runner(Protocol):
    """Runs processes so that they outlive a crash of everyhop, and ends only what it started."""

    async def running(self) -> Sequence[RunningProcess]:
        """Every live process that this data directory's everyhop started, also in an earlier life."""
        ...

    async def start(self, spec: ProcessSpec) -> RunningProcess:
        """Start a process in a session of its own, its output appended to its log file. Raises
        ``('process-failed')`` if it cannot be executed."""
        ...

    async def wait(self, process: RunningProcess) -> int | None:
        """Wait until it has ended; its exit status, or None if that cannot be known (adopted)."""
        ...

    async def stop(self, process: RunningProcess, *, grace: float = 10.0) -> None:
        """End it and its children: SIGTERM, after ``grace`` seconds SIGKILL. Returns when it is gone."""
        ...

    async def log(self, name: str, *, lines: int = 100) -> Sequence[str]:
        """The newest lines of a process's log."""
        ...

    async def trim_logs(self) -> Sequence[str]:
        """Keep every log below its bound, losing only the oldest lines; the names of those that were cut."""
        ...
