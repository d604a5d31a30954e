"""The socket table of this machine, joined to users, processes and everyhop's marks (implements ``ports.Sockets``).

Rules: no privilege is needed, and what is not visible without one is left empty. Netlink is asked first, and the text
files of /proc where a sandbox forbids it. All of it happens in a thread: the event loop never waits for the kernel.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from everyhop.core.flow import ITSELF
from everyhop.drivers.host import proc_net, sock_diag
from everyhop.drivers.host.socket_owners import MarkOf, Process, SocketOwners
from everyhop.errors import EveryhopError
from everyhop.ports import Socket

_ROOT = 0
_BETWEEN_LOOKS = 0.002
"""Seconds: a request that is answered at once lives a few milliseconds."""


class KernelSockets:
    """The kernel's TCP sockets (implements ``ports.Sockets``)."""

    def __init__(self, mark_of: MarkOf = lambda _: "") -> None:
        """``mark_of`` tells the name under which everyhop started a process. This process itself bears the mark
        :data:`everyhop.core.flow.ITSELF`."""
        own = os.getpid()
        self._owners = SocketOwners(lambda pid: ITSELF if pid == own else mark_of(pid))
        self._users: dict[int, str] = {}
        self._one_at_a_time = asyncio.Lock()

    async def snapshot(self) -> Sequence[Socket]:
        """Listening and connected TCP sockets now. Raises ``('probe-failed')`` if the kernel does not tell."""
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._look)

    async def catch(self, ports: Collection[int], *, seconds: float = 1.0) -> Sequence[Socket]:
        """Callers of these ports whose connections live too short for a snapshot: looks again and again for a while.
        Every caller once; one that was gone before its process could be seen is left out. Empty where netlink is not to
        be had."""
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._catch, ports, seconds)

    def _catch(self, ports: Collection[int], seconds: float) -> list[Socket]:
        caught: dict[int, Socket] = {}
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                fresh = [one for port in ports for one in sock_diag.calling(port) if one.inode not in caught]
            except OSError:
                break
            if fresh:  # at once: it may be over in a millisecond
                held = self._owners.glance({one.inode for one in fresh})
                caught |= {one.inode: one for one in self._joined(fresh, held) if one.inode}
            time.sleep(_BETWEEN_LOOKS)
        return list(caught.values())

    def _look(self) -> list[Socket]:
        sockets = _dump()
        return self._joined(sockets, self._owners.find({one.inode for one in sockets if one.inode}))

    def _joined(self, sockets: Sequence[Socket], owners: Mapping[int, Process]) -> list[Socket]:
        found: list[Socket] = []
        for one in sockets:
            # A socket without an inode has no owner any more, whatever user the kernel then writes (0).
            user = self._user(one.uid) if one.inode else ""
            owner = owners.get(one.inode)
            if owner is None and one.remote is not None and self._sees(one.uid):
                found.append(replace(one, inode=0))  # closed between the list and the look at its owner
            elif owner is None:
                found.append(replace(one, user=user))
            else:
                found.append(replace(one, user=user, pid=owner.pid, process=owner.name, mark=owner.mark))
        return found

    def _sees(self, uid: int) -> bool:
        """Whether the kernel shows us who holds the sockets of a user."""
        return os.geteuid() in (_ROOT, uid)

    def _user(self, uid: int) -> str:
        if uid not in self._users:
            try:
                self._users[uid] = pwd.getpwuid(uid).pw_name
            except KeyError:
                self._users[uid] = str(uid)
        return self._users[uid]


def _dump() -> list[Socket]:
    try:
        return sock_diag.dump()
    except OSError:
        pass
    try:
        return proc_net.dump()
    except OSError as error:
        raise EveryhopError(
            "probe-failed",
            f"expected the kernel's socket table, got {(error.strerror or 'a refusal').lower()}",
            hint="netlink (sock_diag) or /proc/net/tcp must be readable where everyhop runs",
        ) from None
