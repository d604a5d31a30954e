"""Whose the other end of a connection on this machine is.

Rules: the kernel is asked for exactly this connection, by netlink or, where a sandbox forbids it, by /proc/net/tcp.
A socket that nobody holds any more has no user, whatever the kernel then writes (0): what cannot be told is not ours.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from everyhop.core.hop import Address
from everyhop.drivers.host import proc_net, sock_diag
from everyhop.ports import Socket

_ROOT = 0


async def is_ours(caller: Address, server: Address) -> bool:
    """Whether the socket at ``caller`` that is connected to ``server`` belongs to our own user, or to root, who reads
    everything anyway. False if that cannot be told."""
    return await user_at(caller, server) in (_ROOT, os.geteuid())


async def user_at(caller: Address, server: Address) -> int | None:
    """The user (uid) whose socket at ``caller`` is connected to ``server``; None if nobody here holds one."""
    for one in await asyncio.to_thread(_calling, server.port):
        if one.inode and (one.local, one.remote) == (caller, server):
            return one.uid
    return None


def _calling(port: int) -> Sequence[Socket]:
    try:
        return sock_diag.calling(port)
    except OSError:
        pass
    try:
        return proc_net.dump()
    except OSError:
        return ()
