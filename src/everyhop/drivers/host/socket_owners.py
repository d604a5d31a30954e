"""Which process holds a socket: by the files that processes have open, as far as the kernel lets us look.

Rules: without privilege that is our own user's processes. What is found is remembered with the process's birth, so that
a number given to another process is not mistaken for it; what was looked for in vain is not looked for again. A socket
is looked for first where others were found, so that the usual look touches a handful of processes and not all.
Source: proc_pid_fd(5), proc_pid_stat(5).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

_SOCKET = re.compile(r"socket:\[(\d+)\]\Z")
_STARTED = 19
"""Where the start time stands in /proc/<pid>/stat, counted from the state's letter, the first field after the name."""

MarkOf = Callable[[int], str]
"""The name under which everyhop started a process (by pid), or an empty string."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process, not one number: ``birth`` is when it started, in clock ticks since boot."""

    pid: int
    birth: int
    name: str
    mark: str


class SocketOwners:
    """Finds the processes of sockets, and remembers. All calls block: use a thread from async code."""

    def __init__(self, mark_of: MarkOf) -> None:
        """``mark_of`` is asked once for each process that holds a socket."""
        self._mark_of = mark_of
        self._owners: dict[int, Process] = {}
        self._in_vain: set[int] = set()

    def find(self, inodes: Collection[int]) -> dict[int, Process]:
        """The processes of these sockets, by inode; those that cannot be seen are missing. Sockets that are not asked
        for are forgotten."""
        alive = {process for process in set(self._owners.values()) if _birth(process.pid) == process.birth}
        self._owners = {inode: one for inode, one in self._owners.items() if inode in inodes and one in alive}
        self._in_vain &= set(inodes)
        missing = set(inodes) - self._owners.keys() - self._in_vain
        if missing:
            self._search(sorted(process.pid for process in alive), missing)
        if missing:
            self._search(sorted(_pids()), missing)
        self._in_vain |= missing
        return dict(self._owners)

    def glance(self, inodes: Collection[int]) -> dict[int, Process]:
        """The processes of sockets that may be gone in a moment: only those that held others are looked through."""
        missing = set(inodes)
        self._search(sorted({process.pid for process in self._owners.values()}), missing)
        return {inode: one for inode, one in self._owners.items() if inode in inodes}

    def _search(self, pids: Collection[int], missing: set[int]) -> None:
        """Look through the open files of processes; what is found is no longer ``missing``. A socket that several
        processes hold (a server and its workers) belongs to the first."""
        for pid in pids:
            held = missing.intersection(_sockets(pid))
            process = self._process(pid) if held else None
            if process is not None:
                self._owners |= dict.fromkeys(held, process)
                missing -= held
            if not missing:
                return

    def _process(self, pid: int) -> Process | None:
        known = next((one for one in self._owners.values() if one.pid == pid), None)
        birth = _birth(pid)
        if birth is None or (known and known.birth == birth):
            return known if birth is not None else None
        try:
            name = Path(f"/proc/{pid}/comm").read_text(errors="replace").rstrip("\n")
        except OSError:
            return None
        return Process(pid, birth, "".join(one if one.isprintable() else "?" for one in name), self._mark_of(pid))


def _pids() -> Iterator[int]:
    with os.scandir("/proc") as entries:
        yield from (int(entry.name) for entry in entries if entry.name.isdigit())


def _sockets(pid: int) -> Iterator[int]:
    """The inodes of the sockets that a process has open; none if it has ended or may not be looked at."""
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                try:
                    target = os.readlink(entry.path)  # noqa: PTH115  # tens of thousands a look: no object for each
                except OSError:  # closed meanwhile
                    continue
                if found := _SOCKET.match(target):
                    yield int(found[1])
    except OSError:
        return


def _birth(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The command stands in brackets and may itself hold spaces and brackets.
    fields = stat.rpartition(b")")[2].split()
    return int(fields[_STARTED]) if len(fields) > _STARTED else None
