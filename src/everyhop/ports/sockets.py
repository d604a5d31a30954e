"""The socket table of this machine: who listens, who talks to whom, and whose they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from everyhop.core.hop import Address


@dataclass(frozen=True, slots=True)
class Socket:
    """One TCP socket of this machine's network namespace, as the kernel lists it."""

    local: Address
    remote: Address | None
    """None: it listens."""
    state: str
    """``listen``, ``established``, ``time-wait``, ...: the kernel's names in lower case."""
    uid: int
    user: str = ""
    """The user's name, if there is one."""
    inode: int = 0
    pid: int | None = None
    """The process, where the kernel lets us see it."""
    process: str = ""
    """Its name."""
    mark: str = ""
    """The name under which everyhop started it (``web``, ``envoy-web``), if it did."""


class Sockets(Protocol):
    """The socket table of this machine. Needs no privilege; what is not visible without one is left empty."""

    async def snapshot(self) -> Sequence[Socket]:
        """Listening and connected TCP sockets now. Raises ``('probe-failed')`` if the kernel does not tell."""
        ...
