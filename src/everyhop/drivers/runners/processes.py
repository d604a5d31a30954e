"""Finding our own processes again, and never touching anybody else's.

Rules: a process is ours if it carries our mark, never because a file says so. The mark travels twice with every
process we start and so with its children: as the environment variable ``EVERYHOP_PROCESS`` and as the name of an
empty memory file that it holds open. Both are there because each can get lost alone: PostgreSQL's children, nginx
and others write their title over their environment, and many programs close files that they do not know. A process
is held by a pidfd, so that a number which was given to somebody else meanwhile is never signalled.

Limit: the kernel hides both marks of a program with set-user-id or file capabilities from an unprivileged everyhop.
Source: proc(5), pidfd_open(2), pidfd_send_signal(2), memfd_create(2).
"""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

VARIABLE = "EVERYHOP_PROCESS"
"""The environment variable that carries the mark."""

WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
"""What instances, names and digests are made of: safe in a file name, and without the mark's separator."""

_ENVIRONMENT_LIMIT = 1 << 20
_MEMORY_FILE = "/memfd:everyhop:"


@dataclass(frozen=True, slots=True)
class Mark:
    """Whose process this is: the everyhop instance, the process's name, and the digest of what was started."""

    instance: str
    name: str
    digest: str

    def __str__(self) -> str:
        return f"{self.instance}:{self.name}:{self.digest}"

    @classmethod
    def parse(cls, text: str) -> Mark | None:
        """Read a mark; None for anything that is not one."""
        words = text.split(":")
        return cls(*words) if len(words) == 3 and all(WORD.match(word) for word in words) else None

    def memory_file(self) -> int:
        """Open the empty memory file that carries the mark; the caller closes it."""
        return os.memfd_create(f"everyhop:{self}")


def pids() -> Iterator[int]:
    """Every process there is, except this one."""
    own = os.getpid()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != own:
            yield int(entry.name)


def mark_of(pid: int) -> Mark | None:
    """The mark a process carries; None if it has none, has ended, or may not be looked at."""
    return _mark_in_environment(pid) or _mark_in_files(pid)


def _mark_in_environment(pid: int) -> Mark | None:
    prefix = f"{VARIABLE}=".encode()
    with suppress(OSError), Path(f"/proc/{pid}/environ").open("rb") as file:
        for entry in file.read(_ENVIRONMENT_LIMIT).split(b"\0"):
            if entry.startswith(prefix):
                return Mark.parse(os.fsdecode(entry.removeprefix(prefix)))
    return None


def _mark_in_files(pid: int) -> Mark | None:
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                target = str(entry.readlink())
                if target.startswith(_MEMORY_FILE):
                    return Mark.parse(target.removeprefix(_MEMORY_FILE).removesuffix(" (deleted)"))
    return None


def birth_of(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if there is none. With the pid, it names one process."""
    fields = _stat(pid)
    return fields[19] if fields else None


def parent_of(pid: int) -> int | None:
    """The process that started it, or that took it over; None if there is no such process."""
    fields = _stat(pid)
    return fields[1] if fields else None


def _stat(pid: int) -> list[int]:
    """The fields of /proc/<pid>/stat from the third on, the letter of the state as 0; empty if there is no process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return []
    # The command stands in brackets and may itself hold spaces and brackets.
    return [0, *map(int, stat.rpartition(b")")[2].split()[1:])]


def session_of(pid: int) -> int | None:
    """The session a process belongs to; None if there is no such process."""
    try:
        return os.getsid(pid)
    except OSError:
        return None


class Handle:
    """A hold on one process, not on a number: signals reach it or nobody. Close it, or use it with ``with``."""

    def __init__(self, pid: int) -> None:
        """Raises ``ProcessLookupError`` if there is no such process."""
        self.pid = pid
        self._fd = os.pidfd_open(pid)

    def __enter__(self) -> Handle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go; does nothing the second time."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def ended(self) -> bool:
        """True once the process has ended, also when nobody has asked for its status yet."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(0))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; a process that has ended or belongs to another user is left as it is."""
        with suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(self._fd, number)

    async def wait(self) -> None:
        """Return when the process has ended."""
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        loop.add_reader(self._fd, over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(self._fd)


def hold(pid: int) -> Handle | None:
    """A hold on a process that lives now, or None."""
    try:
        handle = Handle(pid)
    except OSError:
        return None
    if handle.ended:
        handle.close()
        return None
    return handle


def hold_marked(mark: Mark) -> list[Handle]:
    """A hold on every live process that carries a mark. The mark is read again after taking hold: then it is its."""
    found: list[Handle] = []
    for pid in pids():
        if mark_of(pid) == mark and (handle := hold(pid)):
            if mark_of(pid) == mark and not handle.ended:
                found.append(handle)
            else:
                handle.close()
    return found


def hold_session(leader: Handle) -> list[Handle]:
    """A hold on every other process in a live leader's session. While the leader lives, its number is its own."""
    found: list[Handle] = []
    for pid in pids():
        if pid != leader.pid and session_of(pid) == leader.pid and (handle := hold(pid)):
            if session_of(pid) == leader.pid and not leader.ended:
                found.append(handle)
            else:
                handle.close()
    return found
